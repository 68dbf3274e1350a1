package proxy

import (
	"testing"
	"time"

	"roomgate/internal/fleet"
)

// eventually waits until the condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	late, tick := time.After(patience), time.NewTicker(10*time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func TestRateLimitFields(t *testing.T) {
	for _, tt := range []struct {
		e             fleet.LimitError
		policy, state string
	}{
		{fleet.LimitError{Name: "login", Limit: fleet.Limit{Burst: 30, Per: time.Minute}, RetryAfter: 1500 * time.Millisecond}, `"login";q=30;w=60`, `"login";r=0;t=2`},
		{fleet.LimitError{Name: "member", Limit: fleet.Limit{Burst: 100, Per: time.Second}, RetryAfter: time.Nanosecond}, `"member";q=100;w=1`, `"member";r=0;t=1`},
		{fleet.LimitError{Name: "account", Limit: fleet.Limit{Burst: 1, Per: 100 * time.Millisecond}, RetryAfter: 100 * time.Millisecond}, `"account";q=1;w=1`, `"account";r=0;t=1`},
	} {
		if got := rateLimitPolicy(&tt.e); got != tt.policy {
			t.Errorf("RateLimit-Policy %s, want %s", got, tt.policy)
		}
		if got := rateLimitState(&tt.e); got != tt.state {
			t.Errorf("RateLimit %s, want %s", got, tt.state)
		}
	}
}
