package main

// The load is an open model: a request is due at its time, whether or not earlier ones are answered, and its duration counts from
// then.

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"math"
	"net"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	members    = 64
	loginShare = 100 // one in so many requests is a login: a POST, which nobody may repeat
)

// paths are the paths that members ask for. They name only rooms of the stand-in that never close.
var paths = []string{
	"/v1/sessions", "/v1/info", "/v1/sessions/gsda11", "/v1/sessions/daily%20standup",
	"/v1/sessions/%EC%A3%BC%EA%B0%84%ED%9A%8C%EC%9D%98", "/v1/sessions/100%25%20%EC%B6%9C%EC%84%9D",
}

// sample is one request as its client saw it.
type sample struct {
	due      time.Time
	took     time.Duration // from due to the end of the answer
	h2       bool
	repeated bool // the client's transport sent it more than once
	login    bool
	failure  string // "" for a 200
}

// load sends requests at a fixed rate.
type load struct {
	bases   [2]string // clear text for HTTP/1.1, TLS for HTTP/2; requests alternate
	clients [2]*http.Client
	members []member

	mu   sync.Mutex
	done []sample // in the order in which they ended; guarded by mu
	stop func()   // ends sending and waits for the answers
}

// startLoad makes members and begins to send rate requests a second.
func (f *fleet) startLoad(ctx context.Context, rate int) (*load, error) {
	everybody, err := f.join(ctx, members)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(f.roots) {
		return nil, errors.New("the balancer's certificate can't be read")
	}
	l := &load{members: everybody}
	for i := range l.clients {
		var speaks http.Protocols
		speaks.SetHTTP1(i == 0)
		speaks.SetHTTP2(i == 1)
		l.clients[i] = &http.Client{Timeout: 15 * time.Second, Transport: &http.Transport{
			Protocols: &speaks, MaxIdleConnsPerHost: 512, IdleConnTimeout: 30 * time.Second,
			TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		}}
	}
	l.bases = [2]string{"http://" + f.addr(portPlain), "https://" + f.addr(portTLS)}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() { defer close(ended); l.send(ctx, rate) }()
	l.stop = sync.OnceFunc(func() { cancel(); <-ended })
	return l, nil
}

// send sends requests until ctx ends. After a pause of the machine it sends all overdue requests at once.
func (l *load) send(ctx context.Context, rate int) {
	var under sync.WaitGroup
	defer under.Wait()
	began := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for i := 0; ; i++ {
		due := began.Add(time.Duration(i) * time.Second / time.Duration(rate))
		if wait := time.Until(due); wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
				return
			}
		} else if ctx.Err() != nil {
			return
		}
		// The end of the load must not fail requests in flight.
		under.Go(func() { l.one(context.WithoutCancel(ctx), i, due) })
	}
}

// one sends the i-th request.
func (l *load) one(ctx context.Context, i int, due time.Time) {
	side, turn := i%2, i/2
	m := l.members[turn%members]
	method, path, token, body := http.MethodGet, paths[(turn+turn/members)%len(paths)], m.token, ""
	if i%loginShare == loginShare-1-(i/loginShare)%2 { // by both protocols alike
		m = l.members[i/loginShare%members]
		method, path, token, body = http.MethodPost, "/public-api/v1/login", "", m.login
	}
	attempts := 0
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { attempts++ }})
	status, answer, err := ask(ctx, l.clients[side], method, l.bases[side]+path, token, body)
	x := sample{due: due, took: time.Since(due), h2: side == 1, repeated: attempts > 1, login: body != ""}
	switch {
	case err != nil:
		x.failure = cause(err)
	case status != http.StatusOK:
		x.failure = fmt.Sprintf("%d %.100s", status, strings.TrimSpace(string(answer)))
	}
	if x.login && x.failure != "" {
		x.failure = "login: " + x.failure
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.done = append(l.done, x)
}

// cause returns what broke an exchange, without addresses, so that equal causes have equal texts.
func cause(err error) string {
	if broken, ok := errors.AsType[*net.OpError](err); ok {
		return broken.Op + ": " + broken.Err.Error()
	}
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return "timeout"
	}
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		err = inner
	}
	return err.Error()
}

// samples returns the requests that have ended so far.
func (l *load) samples() []sample {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.done)
}

// tally sums samples up.
type tally struct {
	requests, failed, h2, repeated int
	logins                         int // failed ones
	causes                         map[string]int
	took                           []time.Duration
}

func tallyOf(list []sample) tally {
	t := tally{requests: len(list), causes: map[string]int{}}
	for _, x := range list {
		t.took = append(t.took, x.took)
		if x.h2 {
			t.h2++
		}
		if x.repeated {
			t.repeated++
		}
		if x.failure != "" {
			t.failed++
			t.causes[x.failure]++
			if x.login {
				t.logins++
			}
		}
	}
	slices.Sort(t.took)
	return t
}

// success returns the share of good answers in percent, rounded down to three places, so that one failure in a million isn't
// 100 %. Without requests it is 100.
func (t tally) success() float64 {
	if t.requests == 0 {
		return 100
	}
	return float64(100_000*(t.requests-t.failed)/t.requests) / 1000
}

// quantile returns a quantile of the durations in milliseconds; 0 without requests.
func (t tally) quantile(q float64) int64 {
	if len(t.took) == 0 {
		return 0
	}
	return t.took[int(math.Ceil(q*float64(len(t.took))))-1].Milliseconds()
}

// why lists the causes of failures, the most frequent first.
func (t tally) why() string {
	names := slices.SortedFunc(maps.Keys(t.causes), func(a, b string) int { return t.causes[b] - t.causes[a] })
	var parts []string
	for _, name := range names {
		parts = append(parts, fmt.Sprintf("%d × %s", t.causes[name], name))
	}
	return strings.Join(parts, "; ")
}
