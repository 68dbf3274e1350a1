package proxy

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestKeptAnswerIsRenewedByOneWhileOthersGetTheOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(time.Second)
		expect := func(want string) {
			t.Helper()
			if got := <-o.ask(t.Context(), usual); got.body != want || got.status != 200 {
				t.Errorf("%+v, want %s", got, want)
			}
		}
		first := o.ask(t.Context(), usual)
		o.let <- struct{}{}
		<-first
		time.Sleep(800*time.Millisecond - time.Nanosecond)
		expect("answer 1") // and no call
		time.Sleep(time.Nanosecond)
		renewing := o.ask(t.Context(), usual)
		synctest.Wait()
		expect("answer 1")
		time.Sleep(200*time.Millisecond - time.Nanosecond)
		expect("answer 1")
		time.Sleep(time.Nanosecond)
		late := o.ask(t.Context(), usual) // the TTL is over: waits for the refresh
		synctest.Wait()
		o.let <- struct{}{}
		if a, b := <-renewing, <-late; a.body != "answer 2" || b.body != "answer 2" {
			t.Errorf("%+v, %+v", a, b)
		}
		expect("answer 2")
		o.answer = func(int) (*answer, error) { return spoken(500, "broken"), nil }
		time.Sleep(time.Second)
		broken := o.ask(t.Context(), usual)
		o.let <- struct{}{}
		if got := <-broken; got.status != 500 {
			t.Errorf("%+v", got)
		}
		again := o.ask(t.Context(), usual)
		o.let <- struct{}{} // the error wasn't kept, so there is another call
		<-again
	})
}

func TestKeptAnswersAreBounded(t *testing.T) {
	o := newOffice(time.Hour)
	o.let = nil
	o.answer = func(int) (*answer, error) { return spoken(200, strings.Repeat("x", maxShared)), nil }
	for i := range 100 {
		q := usual
		q.path = fmt.Sprint("/v1/sessions/", i)
		<-o.ask(t.Context(), q)
	}
	size, kept := 0, 0
	for i := range o.shards {
		size, kept = size+o.shards[i].size, kept+o.shards[i].kept.Len()
	}
	if size == 0 || size > maxKept || size != kept*maxShared {
		t.Errorf("%d bytes in %d answers", size, kept)
	}
}

// Kept answers are bounded by the lengths of their texts, so a text must not hold a larger buffer.
func TestAKeptAnswerHoldsNoLentMemory(t *testing.T) {
	o, loans := newOffice(time.Minute), new(lender)
	got, err := o.get(t.Context(), &usual, func(context.Context) (*answer, error) {
		a := loans.answer(true)
		a.status, a.shared, a.memory = http.StatusOK, true, loans.text()
		a.text = append(a.memory[:0], "short"...)
		return a, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	kept, err := o.get(t.Context(), &usual, o.call)
	if err != nil || kept != got || string(kept.text) != "short" || cap(kept.text) > 100 || kept.memory != nil || kept.lent {
		t.Errorf("%+v, capacity %d, %v", kept, cap(kept.text), err)
	}
}
