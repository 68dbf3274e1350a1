package proxy

// This file lets identical room GETs share one call of Interwater: those that ask at the same time, and where the operator
// wants it those that ask a little later. Who may see the answer has been decided before, for each of them; what they share
// is only what the same license, role, path, query and headers get.

import (
	"bytes"
	"context"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/prometheus/client_golang/prometheus"
)

const (
	maxShared    = 1 << 20  // longest answer that is shared, in bytes
	maxKept      = 32 << 20 // of all answers that are kept, in bytes
	maxKeptCount = 4096
	refreshShare = 5 // an answer is renewed in the last fifth of its time
	maxJoins     = 2 // flights that fail under a follower before it makes its own call
)

// question is all that the answer may depend on.
type question struct {
	license, role                string
	path, query                  string
	hasQuery                     bool
	accept, encoding, language   string
	ifNoneMatch, ifModifiedSince string
}

// coalescer is in two places of a room request's way: enter is asked before ReverseProxy, so that those who need no call of
// their own spare it, and RoundTrip makes the calls. It is safe for concurrent use.
type coalescer struct {
	next    http.RoundTripper
	share   bool          // among those that ask at the same time
	ttl     time.Duration // how long an answer is kept; 0: not at all
	sources answerSources

	mu      sync.Mutex
	flights map[question]*flight
	kept    *simplelru.LRU[question, *kept]
	size    int // of all kept, in bytes
	writes  int // grows with every request that may change something
}

// answerSources counts answers by where they came from.
type answerSources struct{ upstream, shared, kept prometheus.Counter }

// flight is one call under way.
type flight struct {
	question  question
	done      chan struct{} // nil until the first follower; closed at the end
	followers int           // guarded by coalescer.mu
	landed    bool          // guarded by coalescer.mu
	writes    int           // the coalescer's when it began
	left      bool          // its leader's client went away; read after done
	answer    *sharedAnswer
}

// kept is an answer and when it came.
type kept struct {
	answer     *sharedAnswer
	at         time.Time
	refreshing bool
}

// sharedAnswer is never changed.
type sharedAnswer struct {
	status      int
	header      http.Header
	text        []byte
	tokenSource string
}

func newCoalescer(share bool, ttl time.Duration, m *metrics, next http.RoundTripper) *coalescer {
	c := &coalescer{next: next, share: share, ttl: ttl, sources: m.answerSources(), flights: make(map[question]*flight)}
	c.kept, _ = simplelru.NewLRU(maxKeptCount, func(_ question, k *kept) { c.size -= len(k.answer.text) }) // fails for sizes below 1 only
	return c
}

// enter returns the answer of another request's call, waiting for it if need be. Without one the request makes a call
// itself: for others too, where its exchange has a flight now, which the caller has to land in the end. The error is the
// context's.
func (c *coalescer) enter(r *http.Request, ex *exchange) (*http.Response, error) {
	if r.Method != http.MethodGet || !c.share && c.ttl == 0 {
		return nil, nil //nolint:nilnil // neither: a call of its own
	}
	q := ask(r, ex)
	for range maxJoins {
		f, leads, old := c.join(q)
		switch {
		case old != nil:
			c.sources.kept.Inc()
			return old.response(r, ex), nil
		case leads:
			ex.flight = f
			return nil, nil //nolint:nilnil // as above
		case f == nil:
			return nil, nil //nolint:nilnil // as above
		}
		select {
		case <-f.done:
		case <-r.Context().Done():
			c.leave(f)
			return nil, context.Cause(r.Context())
		}
		if f.answer != nil {
			c.sources.shared.Inc()
			return f.answer.response(r, ex), nil
		}
		if !f.left {
			break // an answer that isn't for sharing, or none: the next flight would bring no other
		}
	}
	return nil, nil //nolint:nilnil // as above
}

// RoundTrip implements http.RoundTripper. No answer from before a request that may change something is given to those who
// ask after it.
func (c *coalescer) RoundTrip(r *http.Request) (*http.Response, error) {
	switch f := exchangeOf(r).flight; {
	case f != nil:
		return c.lead(r, f)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		c.forget()
		defer c.forget()
	}
	return c.own(r)
}

// ask reads the question off a request.
func ask(r *http.Request, ex *exchange) question {
	all := func(name string) string { return strings.Join(r.Header[name], "\x00") } // which no value contains
	return question{
		license: ex.grant.License, role: ex.grant.Role, path: ex.target.path, query: ex.target.query, hasQuery: ex.target.hasQuery,
		accept: all("Accept"), encoding: all("Accept-Encoding"), language: all("Accept-Language"),
		ifNoneMatch: all("If-None-Match"), ifModifiedSince: all("If-Modified-Since"),
	}
}

// join finds what there is to a question: a kept answer, a flight to lead or to follow, or nothing of them.
func (c *coalescer) join(q question) (f *flight, leads bool, old *sharedAnswer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ttl > 0 {
		if old := c.fresh(q); old != nil {
			return nil, false, old
		}
	}
	if f := c.flights[q]; f != nil {
		if !c.share {
			return nil, false, nil
		}
		if f.done == nil {
			f.done = make(chan struct{})
		}
		f.followers++
		return f, false, nil
	}
	f = &flight{question: q, writes: c.writes}
	c.flights[q] = f
	return f, true, nil
}

func (c *coalescer) leave(f *flight) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f.followers--
}

// lead makes the call for all.
func (c *coalescer) lead(r *http.Request, f *flight) (*http.Response, error) {
	defer c.land(f)
	answer, err := c.own(r)
	if err != nil {
		f.left = r.Context().Err() != nil
		return nil, err
	}
	if !c.wanted(f) || !mayShare(answer) {
		return answer, nil
	}
	text, whole, err := readShared(answer)
	if err != nil {
		f.left = r.Context().Err() != nil
		return nil, err
	}
	if whole {
		f.answer = &sharedAnswer{
			status: answer.StatusCode, header: maps.Clone(answer.Header), text: text, tokenSource: exchangeOf(r).tokenSource,
		}
	}
	return answer, nil
}

// land ends a flight, if it hasn't ended: those who ask from now on begin another one.
func (c *coalescer) land(f *flight) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.end(f)
}

// end is land for those who hold the lock.
func (c *coalescer) end(f *flight) {
	if f.landed {
		return
	}
	f.landed = true
	q := f.question
	if c.flights[q] == f {
		delete(c.flights, q)
	}
	if c.ttl > 0 {
		c.keep(f)
	}
	if f.done != nil {
		close(f.done)
	}
}

// fresh is the kept answer to a question, if one is young enough. Of those who find an old one the first renews it; until it
// has, the others get that one as long as its time isn't over.
func (c *coalescer) fresh(q question) *sharedAnswer {
	k, ok := c.kept.Get(q)
	if !ok {
		return nil
	}
	age := time.Since(k.at)
	if age < c.ttl && (k.refreshing || age < c.ttl-c.ttl/refreshShare) {
		return k.answer
	}
	k.refreshing = true
	return nil
}

// keep takes a flight's answer, if it is one to be kept.
func (c *coalescer) keep(f *flight) {
	if k, ok := c.kept.Peek(f.question); ok {
		k.refreshing = false
	}
	if f.answer == nil || f.answer.status != http.StatusOK || f.writes != c.writes {
		return
	}
	c.kept.Remove(f.question)
	c.kept.Add(f.question, &kept{answer: f.answer, at: time.Now()})
	for c.size += len(f.answer.text); c.size > maxKept; {
		c.kept.RemoveOldest()
	}
}

// wanted reports whether anybody but the leader has use for the answer. If not, the flight ends with that.
func (c *coalescer) wanted(f *flight) bool {
	if c.ttl > 0 {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.followers == 0 {
		c.end(f)
		return false
	}
	return true
}

// mayShare reports whether an answer is for everybody who asks the same.
func mayShare(answer *http.Response) bool {
	if len(answer.Header["Set-Cookie"]) > 0 || answer.ContentLength > maxShared {
		return false
	}
	vary, control := strings.Join(answer.Header["Vary"], ","), strings.ToLower(strings.Join(answer.Header["Cache-Control"], ","))
	return !strings.Contains(vary, "*") && !strings.Contains(control, "no-store")
}

// readShared reads an answer to its end and leaves it readable. It isn't whole where it is too long to be shared.
func readShared(answer *http.Response) (text []byte, whole bool, err error) {
	if body, ok := answer.Body.(*wholeBody); ok {
		return body.text, true, nil
	}
	text, err = io.ReadAll(io.LimitReader(answer.Body, maxShared+1))
	if err != nil {
		_ = answer.Body.Close()
		return nil, false, err
	}
	if len(text) > maxShared {
		answer.Body = readCloser{io.MultiReader(bytes.NewReader(text), answer.Body), answer.Body}
		return nil, false, nil
	}
	_ = answer.Body.Close()
	answer.Body, answer.ContentLength = newWholeBody(text), int64(len(text))
	return text, true, nil
}

// own makes the call for one.
func (c *coalescer) own(r *http.Request) (*http.Response, error) {
	answer, err := c.next.RoundTrip(r)
	if err == nil {
		c.sources.upstream.Inc()
	}
	return answer, err
}

// response is the answer for one of those who share it. Its header is everybody's and may only be read.
func (a *sharedAnswer) response(r *http.Request, ex *exchange) *http.Response {
	ex.upstream, ex.tokenSource = upstreamInterwater, a.tokenSource
	return &http.Response{
		StatusCode: a.status, Header: a.header, Body: newWholeBody(a.text), ContentLength: int64(len(a.text)), Request: r,
	}
}

// forget makes sure that no answer from before is given to anybody who asks from now on.
func (c *coalescer) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writes++
	clear(c.flights)
	c.kept.Purge()
}
