package proxy

// What room GETs with the same question share, and what they must not share.

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

	"roomgate/internal/upstream"
)

// office is a sharing whose calls wait until the test lets them go on.
type office struct {
	*sharing
	mu     sync.Mutex // guards calls
	calls  int
	let    chan struct{}                // each value lets one call go on; nil: calls don't wait
	answer func(n int) (*answer, error) // returns the answer to the nth call, from 1
}

// spoken returns an answer that may be shared.
func spoken(status int, text string) *answer {
	return &answer{status: status, text: []byte(text), length: int64(len(text)), shared: true}
}

func newOffice(ttl time.Duration) *office {
	o := &office{let: make(chan struct{}), answer: func(n int) (*answer, error) { return spoken(200, fmt.Sprint("answer ", n)), nil }}
	o.sharing = newSharing(true, ttl, 10*time.Second, newMetrics(false))
	return o
}

func (o *office) call(ctx context.Context) (*answer, error) {
	o.mu.Lock()
	o.calls++
	n := o.calls
	o.mu.Unlock()
	if o.let != nil {
		select {
		case <-o.let:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return o.answer(n)
}

// underWay returns the number of flights.
func (o *office) underWay() (n int) {
	for i := range o.shards {
		n += len(o.shards[i].flights)
	}
	return n
}

// flight returns the flight that is under way.
func (o *office) flight() *flight {
	for i := range o.shards {
		for _, f := range o.shards[i].flights {
			return f
		}
	}
	return nil
}

func (o *office) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.calls
}

// got is the outcome of one question.
type got struct {
	status int
	body   string
	err    error
	took   time.Duration
}

// usual is the question of most tests.
var usual = question{method: http.MethodGet, license: "default", role: "member", path: "/v1/sessions/a"}

// ask asks in the background. The channel gets the outcome.
func (o *office) ask(ctx context.Context, q question) <-chan got {
	done := make(chan got, 1)
	go func() {
		began := time.Now()
		a, err := o.get(ctx, &q, o.call)
		if err != nil {
			done <- got{err: err, took: time.Since(began)}
			return
		}
		response := a.response(nil)
		body, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		done <- got{a.status, string(body), err, time.Since(began)}
	}()
	return done
}

func TestIdenticalRequestsShareOneCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(0)
		var all []<-chan got
		for range 50 {
			all = append(all, o.ask(t.Context(), usual))
		}
		synctest.Wait()
		close(o.let)
		for _, a := range all {
			if got := <-a; got.err != nil || got.status != 200 || got.body != "answer 1" {
				t.Errorf("%+v", got)
			}
		}
		if got := <-o.ask(t.Context(), usual); got.body != "answer 2" {
			t.Errorf("a later request gets the earlier answer: %+v", got)
		}
		if o.count() != 2 || o.underWay() != 0 {
			t.Errorf("%d calls, %d flights", o.count(), o.underWay())
		}
	})
}

func TestOtherQuestionsAreNotShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(time.Minute)
		o.let = nil
		changes := []func(*question){
			func(*question) {}, func(q *question) { q.license = "other" }, func(q *question) { q.role = "owner" },
			func(q *question) { q.path = "/v1/sessions/b" }, func(q *question) { q.query, q.hasQuery = "a=1", true },
			func(q *question) { q.hasQuery = true }, func(q *question) { q.host = "other.example" }, func(q *question) { q.proto = "https" },
		}
		for i := range questionHeaders {
			changes = append(changes, func(q *question) { q.header[i] = "x" })
		}
		for range 2 {
			for i, change := range changes {
				q := usual
				change(&q)
				if got := <-o.ask(t.Context(), q); got.body != fmt.Sprint("answer ", i+1) {
					t.Errorf("question %d: %+v", i, got)
				}
			}
		}
	})
}

// A failure is shared like an answer: nobody repeats a call that has just failed.
func TestAnErrorIsForAllWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(time.Minute)
		o.answer = func(int) (*answer, error) { return nil, upstream.ErrFailed }
		var all []<-chan got
		for range 5 {
			all = append(all, o.ask(t.Context(), usual))
		}
		synctest.Wait()
		close(o.let)
		for _, a := range all {
			if got := <-a; !errors.Is(got.err, upstream.ErrFailed) {
				t.Errorf("%+v", got)
			}
		}
		if o.count() != 1 {
			t.Errorf("%d calls for 5 requests", o.count())
		}
		if <-o.ask(t.Context(), usual); o.count() != 2 {
			t.Error("an error is kept")
		}
	})
}

// Hit-for-miss: after the first answer that must not be shared, nobody waits for another's call.
func TestAQuestionWithoutASharedAnswerIsAskedByEachAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(time.Minute)
		o.answer = func(n int) (*answer, error) {
			a := spoken(200, fmt.Sprint("answer ", n))
			a.shared = false
			return a, nil
		}
		first := o.ask(t.Context(), usual)
		synctest.Wait()
		waiting := o.ask(t.Context(), usual)
		synctest.Wait()
		o.let <- struct{}{}
		if got := <-first; got.body != "answer 1" {
			t.Errorf("%+v", got)
		}
		var rest []<-chan got
		for range 39 {
			rest = append(rest, o.ask(t.Context(), usual))
		}
		synctest.Wait()
		if o.count() != 41 {
			t.Errorf("%d calls for 41 requests: some wait for others", o.count())
		}
		close(o.let)
		for _, a := range append(rest, waiting) {
			if got := <-a; got.err != nil || got.status != 200 {
				t.Errorf("%+v", got)
			}
		}
		// After a while, requests share a call again: the upstream's answer may have changed.
		time.Sleep(apartTime)
		o.let = make(chan struct{})
		o.answer = func(int) (*answer, error) { return spoken(200, "for all"), nil }
		before := o.count()
		one, other := o.ask(t.Context(), usual), o.ask(t.Context(), usual)
		synctest.Wait()
		close(o.let)
		if a, b := <-one, <-other; a.body != "for all" || b.body != "for all" || o.count() != before+1 {
			t.Errorf("%+v, %+v, %d calls", a, b, o.count()-before)
		}
	})
}

// A long answer is for the one who asked first. Others who already wait get it whole, unless it is too long.
func TestALongAnswerIsSharedUpToABound(t *testing.T) {
	for length, shared := range map[int]bool{maxShared: true, maxShared + 1: false} {
		synctest.Test(t, func(t *testing.T) {
			o := newOffice(0)
			o.answer = func(int) (*answer, error) {
				a := spoken(200, "x")
				a.rest, a.length = io.NopCloser(strings.NewReader(strings.Repeat("x", length-1))), -1
				return a, nil
			}
			one, other := o.ask(t.Context(), usual), o.ask(t.Context(), usual)
			synctest.Wait()
			close(o.let)
			a, b := <-one, <-other
			if len(a.body) != length || len(b.body) != length || (o.count() == 1) != shared {
				t.Errorf("%d bytes: %d and %d arrived, %d calls", length, len(a.body), len(b.body), o.count())
			}
		})
	}
}

func TestACallGoesOnWithoutTheClientThatBeganIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(0)
		ctx, leave := context.WithCancel(t.Context())
		first := o.ask(ctx, usual)
		synctest.Wait()
		others := []<-chan got{o.ask(t.Context(), usual), o.ask(t.Context(), usual)}
		impatient, gone := context.WithCancel(t.Context())
		follower := o.ask(impatient, usual)
		synctest.Wait()
		gone()
		if got := <-follower; !errors.Is(got.err, context.Canceled) {
			t.Errorf("a member who has left: %+v", got)
		}
		leave()
		synctest.Wait()
		close(o.let)
		for _, a := range others {
			if got := <-a; got.err != nil || got.body != "answer 1" {
				t.Errorf("%+v", got)
			}
		}
		if <-first; o.count() != 1 {
			t.Errorf("%d calls", o.count())
		}
	})
}

func TestAPanicIsAnErrorForThoseWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(0)
		o.answer = func(int) (*answer, error) { panic("boom") }
		go func() {
			defer func() { _ = recover() }()
			_, _ = o.get(t.Context(), &usual, o.call)
		}()
		synctest.Wait()
		waiting := o.ask(t.Context(), usual)
		synctest.Wait()
		close(o.let)
		if got := <-waiting; !errors.Is(got.err, errPanic) || got.took > 0 || o.underWay() != 0 {
			t.Errorf("%+v, %d flights", got, o.underWay())
		}
	})
}

func TestACallEndsWhenNobodyIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(0)
		one, leave := context.WithCancel(t.Context())
		other, leaveToo := context.WithCancel(t.Context())
		first := o.ask(one, usual)
		synctest.Wait()
		second := o.ask(other, usual)
		synctest.Wait()
		leave()
		synctest.Wait()
		leaveToo()
		if a, b := <-first, <-second; !errors.Is(a.err, context.Canceled) || !errors.Is(b.err, context.Canceled) {
			t.Errorf("%+v, %+v", a, b)
		}
		if o.underWay() != 0 {
			t.Error("the flight is still there")
		}
		close(o.let)
		if got := <-o.ask(t.Context(), usual); got.body != "answer 2" {
			t.Errorf("%+v", got)
		}
	})
}

func TestASecondCallEndsWhenNobodyIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, fail := newOffice(0), make(chan struct{})
		go func() {
			_, _ = o.get(t.Context(), &usual, func(context.Context) (*answer, error) {
				<-fail
				return nil, errors.New("the first call fails")
			})
		}()
		time.Sleep(joinTime)
		ctx, leave := context.WithCancel(t.Context())
		second := o.ask(ctx, usual)
		synctest.Wait()
		leave() // the first member still waits for either answer
		synctest.Wait()
		close(fail)
		if got := <-second; got.err == nil || got.took > 0 {
			t.Errorf("%+v", got)
		}
	})
}

// One lost packet must not hold everybody up. Further calls are made beside the first, at most one a second. All who wait take the first
// answer.
func TestNobodyJoinsACallThatIsOverASecondOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(0)
		hung := o.ask(t.Context(), usual)
		var waiting []<-chan got
		for range 19 {
			time.Sleep(joinTime / 20)
			waiting = append(waiting, o.ask(t.Context(), usual))
		}
		synctest.Wait()
		if o.count() != 1 {
			t.Fatalf("%d calls within a second", o.count())
		}
		time.Sleep(joinTime / 20)
		waiting = append(waiting, o.ask(t.Context(), usual), o.ask(t.Context(), usual))
		synctest.Wait()
		if o.count() != 2 {
			t.Fatalf("%d calls after a second", o.count())
		}
		o.let <- struct{}{} // lets one of the two calls go on; both members wait for its answer
		for i, a := range append(waiting, hung) {
			if got := <-a; got.err != nil || got.took > joinTime {
				t.Errorf("member %d: %+v", i, got)
			}
		}
		synctest.Wait()
		if o.underWay() != 0 {
			t.Error("the flight is still there")
		}
	})
}

// The memory of a flight is used again only if one request alone has had it.
func TestAFlightOfSeveralRequestsIsNotUsedAgain(t *testing.T) {
	for name, requests := range map[string]int{"one": 1, "two": 2} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOffice(0)
				slow := func(context.Context) (*answer, error) { // it doesn't end with its context
					<-o.let
					return o.answer(1)
				}
				for range requests {
					go func() { _, _ = o.get(t.Context(), &usual, slow) }()
					synctest.Wait()
					time.Sleep(joinTime) // so that the next one makes a call of its own
				}
				f := o.flight()
				for range requests {
					o.let <- struct{}{}
					synctest.Wait()
				}
				if used := f.question != usual; used != (requests == 1) {
					t.Errorf("used again: %v", used)
				}
			})
		})
	}
}

func TestNobodyWaitsForLongerThanOneTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(0)
		timeout := o.patience
		real := o.call
		hangs := func(ctx context.Context) (*answer, error) { // as upstream.Upstream does
			ctx, cancel := context.WithTimeoutCause(ctx, timeout, upstream.ErrTimeout)
			defer cancel()
			return real(ctx)
		}
		var all []<-chan got
		for range 300 {
			done := make(chan got, 1)
			all = append(all, done)
			go func() {
				began := time.Now()
				_, err := o.get(t.Context(), &usual, hangs)
				done <- got{err: err, took: time.Since(began)}
			}()
			time.Sleep(timeout / 100)
		}
		for i, a := range all {
			if got := <-a; !errors.Is(got.err, upstream.ErrTimeout) || got.took > timeout {
				t.Fatalf("member %d: %+v", i, got)
			}
		}
		if most := 3*int(timeout/time.Second) + 1; o.count() > most {
			t.Errorf("%d calls in %v", o.count(), 3*timeout)
		}
	})
}

// While the circuit lets few calls through, each of them may hang. If others joined one call a second, somebody would always wait.
func TestNobodyJoinsACallWhileTheUpstreamFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(0)
		fails := false
		o.failing = func() bool { return fails }
		first := o.ask(t.Context(), usual)
		synctest.Wait()
		second := o.ask(t.Context(), usual)
		synctest.Wait()
		if fails = true; o.count() != 1 {
			t.Fatalf("%d calls", o.count())
		}
		refused := func(context.Context) (*answer, error) { return nil, upstream.ErrCircuit }
		began := time.Now()
		if _, err := o.get(t.Context(), &usual, refused); !errors.Is(err, upstream.ErrCircuit) || time.Since(began) > 0 {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		o.let <- struct{}{} // those who already wait still get the answer
		for _, a := range []<-chan got{first, second} {
			if got := <-a; got.err != nil {
				t.Error(got.err)
			}
		}
	})
}

func TestNobodyJoinsACallFromBeforeAWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(time.Minute)
		before := o.ask(t.Context(), usual)
		synctest.Wait()
		o.forget()
		after := o.ask(t.Context(), usual)
		synctest.Wait()
		close(o.let)
		if a, b := <-before, <-after; a.body != "answer 1" || b.body != "answer 2" {
			t.Errorf("%+v, %+v", a, b)
		}
		if got := <-o.ask(t.Context(), usual); got.body != "answer 2" {
			t.Errorf("an answer from before a write is kept: %+v", got)
		}
		o.forget()
		if <-o.ask(t.Context(), usual); o.count() != 3 {
			t.Error("an answer from before a write is kept")
		}
	})
}
