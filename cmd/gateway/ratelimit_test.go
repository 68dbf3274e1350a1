package main

// Password guessing against a fleet. An account has one count, whatever the addresses and replicas. If Redis dies, each replica has its
// own count.

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"roomgate/internal/sandbox"
)

const glorysLogin = "/public-api/v1/login"

// tries are logins sent to a fleet.
type tries struct {
	began   time.Time
	passed  atomic.Int64 // answered by Glory
	refused atomic.Int64 // 429
	ended   chan struct{}
}

// tryLogins sends n logins with wrong passwords, eight at a time, to the replicas in turn. account and address return the account and
// the X-Forwarded-For of the i-th. half is closed when half of them are answered.
func tryLogins(t *testing.T, f *gateways, n int, account, address func(i int) string) (got *tries, half chan struct{}) {
	t.Helper()
	got, half = &tries{began: time.Now(), ended: make(chan struct{})}, make(chan struct{})
	client, next := newClient(t), new(atomic.Int64)
	var answered atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				got.try(t, client, f.replicas[i%len(f.replicas)].url, account(i), address(i))
				if answered.Add(1) == int64(n/2) {
					close(half)
				}
			}
		})
	}
	go func() { wg.Wait(); close(got.ended) }()
	return got, half
}

// try sends one login.
func (got *tries) try(t *testing.T, client *http.Client, url, account, address string) {
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+glorysLogin, strings.NewReader(fmt.Sprintf(`{"id":%q,"password":"wrong"}`, account)))
	if err != nil {
		t.Error(err)
		return
	}
	request.Header.Set("X-Forwarded-For", address)
	response, err := client.Do(request)
	if err != nil {
		t.Error(err)
		return
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusBadRequest:
		got.passed.Add(1)
	case http.StatusTooManyRequests:
		got.refused.Add(1)
		if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err != nil || seconds < 1 || seconds > 60 {
			t.Errorf("Retry-After %q", response.Header.Get("Retry-After"))
		}
		if response.Header.Get("RateLimit") == "" || response.Header.Get("RateLimit-Policy") == "" {
			t.Errorf("no RateLimit fields: %v", response.Header)
		}
	default:
		t.Errorf("status %d", response.StatusCode)
	}
}

// want waits until all n logins are answered. From least to most of them must have passed. On each of replicas, one more may pass for
// each refill since the start.
func (got *tries) want(t *testing.T, stands *sandbox.Sandbox, n, least, most, replicas int, refill time.Duration) {
	t.Helper()
	<-got.ended
	passed, refused := int(got.passed.Load()), int(got.refused.Load())
	if calls := stands.Glory.Calls(glorysLogin); calls != passed || passed+refused != n {
		t.Errorf("Glory saw %d logins; %d of %d were answered by it, %d refused", calls, passed, n, refused)
	}
	if most += replicas * int(time.Since(got.began)/refill); passed < least || passed > most {
		t.Errorf("%d reached Glory, want %d to %d", passed, least, most)
	}
	t.Logf("%d of %d reached Glory in %v", passed, n, time.Since(got.began))
}

// behindProxy starts a fleet of three that trusts this machine's X-Forwarded-For. REDIS_TIMEOUT is long, so that Redis never counts as
// slow.
func behindProxy(t *testing.T, own ...string) (*gateways, *sandbox.Sandbox, *sandbox.RedisServer) {
	t.Helper()
	stands, redis := newStands(t), newRedis(t)
	return startFleet(t, 3, settings(stands, redis.Addr, append(own, "TRUSTED_PROXIES=127.0.0.0/8", "REDIS_TIMEOUT=5s")...)), stands, redis
}

func always(s string) func(int) string { return func(int) string { return s } }

// rotated returns one of 30 addresses, after another that the client claims.
func rotated(i int) string { return fmt.Sprintf("6.6.6.%d, 203.0.113.%d", i%256, i%30) }

func TestOneAccountHasOneCountInTheFleet(t *testing.T) {
	t.Parallel()
	f, stands, _ := behindProxy(t)
	got, _ := tryLogins(t, f, 300, func(i int) string { return []string{"demo", "DEMO", " demo"}[i%3] }, rotated)
	got.want(t, stands, 300, 10, 10, 1, 6*time.Second)
	if a, err := call(t.Context(), newClient(t), http.MethodPost, f.replicas[0].url+glorysLogin, "", `{"id":"other","password":"wrong"}`); err != nil || a.status != http.StatusBadRequest {
		t.Errorf("another account: %v %+v", err, a)
	}
}

func TestOneAccountHasACountAReplicaWithoutRedis(t *testing.T) {
	t.Parallel()
	f, stands, redis := behindProxy(t)
	got, half := tryLogins(t, f, 300, always("demo"), rotated)
	<-half
	if err := redis.Kill(); err != nil {
		t.Fatal(err)
	}
	// Each replica's own count includes what it has let through before. So at most 3 × 10 pass in all, not 4 × 10.
	got.want(t, stands, 300, 20, 30, 3, 6*time.Second)
}

func TestOneAddressHasOneCountInTheFleet(t *testing.T) {
	t.Parallel()
	f, stands, _ := behindProxy(t, "LOGIN_RATE_LIMIT=5/1m", "ACCOUNT_RATE_LIMIT=0")
	account := func(i int) string { return fmt.Sprint("stuffed-", i) }
	got, _ := tryLogins(t, f, 100, account, func(i int) string { return fmt.Sprintf("6.6.6.%d, 203.0.113.7", i) })
	got.want(t, stands, 100, 5, 5, 1, 12*time.Second)
	before := stands.Glory.Calls("/public-api/v1/join")
	a, err := call(t.Context(), newClient(t), http.MethodPost, f.replicas[1].url+"/public-api/v1/join", "", "{}")
	if err != nil || a.status != http.StatusBadRequest || stands.Glory.Calls("/public-api/v1/join") != before+1 {
		t.Errorf("another address joins: %v %+v", err, a)
	}
}
