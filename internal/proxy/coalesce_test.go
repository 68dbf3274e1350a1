package proxy

// This file holds what identical room GETs share, and all that they must not.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"roomgate/internal/bridge"
)

// shared is a coalescer before an upstream that answers when it is let.
type shared struct {
	*coalescer
	mu    sync.Mutex
	calls int
	let   chan struct{} // nil: at once
	// answer makes the upstream's nth answer.
	answer func(r *http.Request, n int) (*http.Response, error)
}

func text(status int, body string, header ...string) (*http.Response, error) {
	h := http.Header{"Content-Type": {"application/json"}}
	for i := 0; i < len(header); i += 2 {
		h.Add(header[i], header[i+1])
	}
	return &http.Response{StatusCode: status, Header: h, Body: newWholeBody([]byte(body)), ContentLength: int64(len(body))}, nil
}

func newShared(ttl time.Duration) *shared {
	s := &shared{let: make(chan struct{}), answer: func(_ *http.Request, n int) (*http.Response, error) { return text(200, fmt.Sprint("answer ", n)) }}
	s.coalescer = newCoalescer(true, ttl, newMetrics(false), upstreamFunc(func(r *http.Request) (*http.Response, error) {
		s.mu.Lock()
		s.calls++
		n := s.calls
		s.mu.Unlock()
		if s.let != nil {
			select {
			case <-s.let:
			case <-r.Context().Done():
				return nil, r.Context().Err()
			}
		}
		return s.answer(r, n)
	}))
	return s
}

func (s *shared) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

// asked is one request and what came of it.
type asked struct {
	status int
	header http.Header
	body   string
	err    error
}

// get asks in the background; what is read from the channel is the outcome.
func (s *shared) get(ctx context.Context, change ...func(*http.Request, *exchange)) <-chan asked {
	ex := &exchange{target: target{path: "/v1/sessions/a"}, grant: bridge.Grant{License: "default", Role: bridge.RoleMember}}
	r := (&http.Request{Method: http.MethodGet, Header: http.Header{"Accept": {"application/json"}}}).WithContext(ctx)
	for _, f := range change {
		f(r, ex)
	}
	r = withExchange(r, ex)
	done := make(chan asked, 1)
	go func() {
		answer, err := s.enter(r, ex)
		leads := answer == nil && err == nil
		if leads {
			answer, err = s.RoundTrip(r)
		}
		if err != nil {
			done <- asked{err: err}
			return
		}
		body, err := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if leads {
			answer.Header.Del("Content-Type") // as ReverseProxy does with others: nobody else may notice
		}
		done <- asked{answer.StatusCode, answer.Header, string(body), err}
	}()
	return done
}

func TestIdenticalRequestsShareOneCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShared(0)
		var all []<-chan asked
		for range 50 {
			all = append(all, s.get(t.Context()))
		}
		synctest.Wait()
		close(s.let)
		for _, a := range all {
			if got := <-a; got.err != nil || got.status != 200 || got.body != "answer 1" {
				t.Errorf("%+v", got)
			}
		}
		if got := <-s.get(t.Context()); got.body != "answer 2" {
			t.Errorf("an answer from before is given to one who asks later: %+v", got)
		}
		if s.count() != 2 || len(s.flights) != 0 {
			t.Errorf("%d calls, %d flights", s.count(), len(s.flights))
		}
	})
}

func TestOtherQuestionsAreNotShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShared(time.Minute)
		s.let = nil
		header := func(name string, values ...string) func(*http.Request, *exchange) {
			return func(r *http.Request, _ *exchange) { r.Header[name] = values }
		}
		changes := []func(*http.Request, *exchange){
			func(*http.Request, *exchange) {},
			func(_ *http.Request, ex *exchange) { ex.grant.License = "other" },
			func(_ *http.Request, ex *exchange) { ex.grant.Role = bridge.RoleOwner },
			func(_ *http.Request, ex *exchange) { ex.target.path = "/v1/sessions/b" },
			func(_ *http.Request, ex *exchange) { ex.target.query, ex.target.hasQuery = "a=1", true },
			func(_ *http.Request, ex *exchange) { ex.target.hasQuery = true },
			header("Accept", "text/html"), header("Accept", "application/json", "text/html"), header("Accept-Encoding", "gzip"),
			header("Accept-Language", "ko"), header("If-None-Match", `"a"`), header("If-Modified-Since", "Sun, 22 Nov 2026 00:00:00 GMT"),
		}
		for range 2 {
			for i, change := range changes {
				if got := <-s.get(t.Context(), change); got.body != fmt.Sprint("answer ", i+1) {
					t.Errorf("question %d: %+v", i, got)
				}
			}
		}
	})
}

func TestWhatIsNotForEverybodyIsNotShared(t *testing.T) {
	for rule, answer := range map[string]func(*http.Request, int) (*http.Response, error){
		"a cookie": func(*http.Request, int) (*http.Response, error) { return text(200, "x", "Set-Cookie", "a=b") },
		"Vary: *":  func(*http.Request, int) (*http.Response, error) { return text(200, "x", "Vary", "Accept, *") },
		"no-store": func(*http.Request, int) (*http.Response, error) {
			return text(200, "x", "Cache-Control", "private, No-Store")
		},
		"too long": func(*http.Request, int) (*http.Response, error) {
			a, _ := text(200, "")
			a.Body, a.ContentLength = io.NopCloser(strings.NewReader(strings.Repeat("x", maxShared+1))), -1
			return a, nil
		},
		"our error": func(*http.Request, int) (*http.Response, error) { return nil, bridge.ErrUpstreamTimeout },
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newShared(time.Minute)
			s.answer = answer
			var all []<-chan asked
			for range 5 {
				all = append(all, s.get(t.Context()))
			}
			synctest.Wait()
			close(s.let)
			for _, a := range all {
				got := <-a
				if rule == "our error" != errors.Is(got.err, bridge.ErrUpstreamTimeout) || rule == "too long" && len(got.body) != maxShared+1 {
					t.Errorf("%s: %d, %d bytes, %v", rule, got.status, len(got.body), got.err)
				}
			}
			if s.count() != 5 {
				t.Errorf("%s: %d calls for 5 requests", rule, s.count())
			}
		})
	}
}

func TestLeaderThatLeavesFailsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShared(0)
		ctx, leave := context.WithCancel(t.Context())
		leader := s.get(ctx)
		synctest.Wait()
		followers := []<-chan asked{s.get(t.Context()), s.get(t.Context()), s.get(t.Context())}
		impatient, gone := context.WithCancel(t.Context())
		follower := s.get(impatient)
		synctest.Wait()
		gone()
		if got := <-follower; !errors.Is(got.err, context.Canceled) {
			t.Errorf("the follower that left: %+v", got)
		}
		leave()
		if got := <-leader; !errors.Is(got.err, context.Canceled) {
			t.Errorf("the leader that left: %+v", got)
		}
		synctest.Wait()
		close(s.let)
		for _, a := range followers {
			if got := <-a; got.err != nil || got.body != "answer 2" {
				t.Errorf("%+v", got)
			}
		}
		if s.count() != 2 {
			t.Errorf("%d calls", s.count())
		}
	})
}

func TestNobodyJoinsAFlightFromBeforeAWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShared(time.Minute)
		before := s.get(t.Context())
		synctest.Wait()
		write := s.get(t.Context(), func(r *http.Request, _ *exchange) { r.Method = http.MethodPost })
		synctest.Wait()
		after := s.get(t.Context())
		synctest.Wait()
		close(s.let)
		if a, w, b := <-before, <-write, <-after; a.body != "answer 1" || w.body != "answer 2" || b.body != "answer 3" {
			t.Errorf("%+v, %+v, %+v", a, w, b)
		}
		if got := <-s.get(t.Context()); got.body != "answer 4" && got.body != "answer 3" {
			t.Errorf("%+v", got)
		}
		<-s.get(t.Context(), func(r *http.Request, _ *exchange) { r.Method = http.MethodDelete })
		calls := s.count()
		<-s.get(t.Context())
		if s.count() != calls+1 {
			t.Error("an answer from before a write is kept")
		}
	})
}

func TestKeptAnswerIsRenewedByOneWhileOthersGetTheOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShared(time.Second)
		expect := func(want string) {
			t.Helper()
			if got := <-s.get(t.Context()); got.body != want || got.status != 200 {
				t.Errorf("%+v, want %s", got, want)
			}
		}
		first := s.get(t.Context())
		s.let <- struct{}{}
		<-first
		time.Sleep(800*time.Millisecond - time.Nanosecond)
		expect("answer 1") // and no call
		time.Sleep(time.Nanosecond)
		renewing := s.get(t.Context())
		synctest.Wait()
		expect("answer 1")
		time.Sleep(200*time.Millisecond - time.Nanosecond)
		expect("answer 1")
		time.Sleep(time.Nanosecond)
		late := s.get(t.Context()) // the old one's time is over: waits with the one who renews
		synctest.Wait()
		s.let <- struct{}{}
		if a, b := <-renewing, <-late; a.body != "answer 2" || b.body != "answer 2" {
			t.Errorf("%+v, %+v", a, b)
		}
		expect("answer 2")
		s.answer = func(*http.Request, int) (*http.Response, error) { return text(500, "broken") }
		time.Sleep(time.Second)
		broken := s.get(t.Context())
		s.let <- struct{}{}
		if got := <-broken; got.status != 500 {
			t.Errorf("%+v", got)
		}
		again := s.get(t.Context())
		s.let <- struct{}{} // an error isn't kept: there is another call
		<-again
	})
}

func TestKeptAnswersAreBounded(t *testing.T) {
	s := newShared(time.Hour)
	s.let = nil
	s.answer = func(_ *http.Request, _ int) (*http.Response, error) { return text(200, strings.Repeat("x", maxShared)) }
	for i := range 100 {
		<-s.get(t.Context(), func(_ *http.Request, ex *exchange) { ex.target.path = fmt.Sprint("/v1/sessions/", i) })
	}
	if s.size > maxKept || s.size != s.kept.Len()*maxShared {
		t.Errorf("%d bytes in %d answers", s.size, s.kept.Len())
	}
}
