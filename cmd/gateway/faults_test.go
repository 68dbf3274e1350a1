package main

// A fleet under load while Redis or the token endpoint fails in every known way. Requests that a token in memory can serve don't fail,
// and nothing is flooded with calls.

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"roomgate/internal/sandbox"
	"roomgate/tests"
)

// link is a proxy before a Redis. It can make the Redis slow.
type link struct {
	*toxiproxy.Proxy
}

func newLink(t *testing.T, to string) *link {
	t.Helper()
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()), zerolog.Nop())
	l := &link{toxiproxy.NewProxy(server, "redis", "127.0.0.1:0", to)}
	if err := l.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		l.Toxics.ResetToxics(context.Background()) // else delayed data would outlive the link
		l.Stop()
	})
	return l
}

// slow delays every answer by five seconds.
func (l *link) slow(t *testing.T) {
	t.Helper()
	toxic := `{"type":"latency","stream":"downstream","attributes":{"latency":5000}}`
	if _, err := l.Toxics.AddToxicJson(strings.NewReader(toxic)); err != nil {
		t.Fatal(err)
	}
}

// redisFaults returns the ways in which a running fleet loses Redis, by name.
func redisFaults() map[string]func(*testing.T, *sandbox.RedisServer, *link) {
	command := func(args ...any) func(*testing.T, *sandbox.RedisServer, *link) {
		return func(t *testing.T, server *sandbox.RedisServer, _ *link) {
			t.Helper()
			client := redis.NewClient(&redis.Options{Addr: server.Addr})
			defer client.Close()
			if err := client.Do(t.Context(), args...).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	return map[string]func(*testing.T, *sandbox.RedisServer, *link){
		"none":   func(*testing.T, *sandbox.RedisServer, *link) {},
		"killed": func(_ *testing.T, s *sandbox.RedisServer, _ *link) { s.Kill() },
		"frozen": func(_ *testing.T, s *sandbox.RedisServer, _ *link) { s.Freeze() },
		"slow":   func(t *testing.T, _ *sandbox.RedisServer, l *link) { l.slow(t) },
		// A replica takes no writes, even if its master doesn't exist.
		"read-only": command("REPLICAOF", "127.0.0.1", "1"),
		"password": func(t *testing.T, s *sandbox.RedisServer, l *link) {
			command("CONFIG", "SET", "requirepass", "another")(t, s, l)
			// Open connections stay logged in, so close them.
			l.Stop()
			l.Start()
		},
		"flushed": func(t *testing.T, s *sandbox.RedisServer, _ *link) {
			client := redis.NewClient(&redis.Options{Addr: s.Addr})
			tick := time.NewTicker(time.Second)
			t.Cleanup(func() { tick.Stop(); client.Close() })
			go func() {
				for t.Context().Err() == nil {
					client.FlushAll(t.Context())
					select {
					case <-tick.C:
					case <-t.Context().Done():
					}
				}
			}()
		},
	}
}

// Tokens expire during the fault, and still no request fails.
func TestRedisFaultsUnderLoad(t *testing.T) {
	t.Parallel()
	faults := redisFaults()
	if !tests.Whole() { // one that refuses connections, and one that doesn't answer
		faults = map[string]func(*testing.T, *sandbox.RedisServer, *link){"killed": faults["killed"], "frozen": faults["frozen"]}
	}
	for name, inject := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			underRedisFault(t, inject)
		})
	}
}

// underRedisFault loads a fleet until its token has been replaced several times after the fault.
func underRedisFault(t *testing.T, inject func(*testing.T, *sandbox.RedisServer, *link)) {
	t.Helper()
	const life = 3 * time.Second
	stands, server := newStands(t), newRedis(t)
	l := newLink(t, server.Addr)
	stands.Interwater.SetFaults(sandbox.Fault{Path: "/v1/auth", Token: &sandbox.TokenFault{TTL: life}})
	began := time.Now()
	f := startFleet(t, 3, settings(stands, l.Listen, "MEMBER_RATE_LIMIT=0", "REDIS_TIMEOUT=250ms"))
	token, client := stands.Glory.MintToken("1", time.Hour), newClient(t)
	for _, url := range f.urls("/v1/info") {
		get(t, client, url, token).want(t, 200)
	}
	got, stop := openLoad(t, 50, f.urls("/v1/info"), token)
	eventually(t, "the fleet's first refresh", func() bool { return stands.Interwater.AuthCalls() > 1 })
	injected, before := time.Now(), stands.Interwater.AuthCalls()
	inject(t, server, l)
	eventually(t, "more tokens", func() bool { return stands.Interwater.AuthCalls() >= before+4 })
	calls, took := stands.Interwater.AuthCalls()-before, time.Since(injected)
	stop()
	if failed := failures(got.all()); len(failed) > 0 {
		t.Errorf("%d of %d failed, the first: %s", len(failed), len(got.all()), failed[0])
	}
	// Each replica may make a burst of 2 fetches, and one in each third of a token's life.
	if most := 3 * (2 + int(took/(life/3))); calls > most {
		t.Errorf("%d calls of v1/auth in %v, want at most %d", calls, took, most)
	}
	for _, r := range f.replicas {
		if lines := len(r.log.events("redis is down; going on without it")); lines > 1+int(time.Since(began)/(10*time.Second)) {
			t.Errorf("%d log lines of one outage on one replica", lines)
		}
	}
}

// A gateway starts without Redis, and uses it when it comes.
func TestRedisAbsentAtTheStart(t *testing.T) {
	t.Parallel()
	stands, server, client := newStands(t), newRedis(t), newClient(t)
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	r, _ := startProcess(t, settings(stands, server.Addr))
	token := stands.Glory.MintToken("1", time.Hour)
	get(t, client, r.url+"/v1/info", token).want(t, 200)
	eventually(t, "degraded, and ready all the same", func() bool {
		a := get(t, client, r.admin+"/readyz", "")
		return a.status == 200 && strings.Contains(a.body, "redis is down")
	})
	if err := server.Restart(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "redis is used again", func() bool { return !strings.Contains(get(t, client, r.admin+"/readyz", "").body, "redis") })
}

// The token endpoint fails from before the refresh until after expiry.
func TestTokenEndpointOutage(t *testing.T) {
	tests.Long(t)
	t.Parallel()
	for shape, newShape := range shapes() {
		t.Run(shape, func(t *testing.T) {
			t.Parallel()
			const life = 5 * time.Second
			stands, client := newStands(t), newClient(t)
			short := sandbox.Fault{Path: "/v1/auth", Token: &sandbox.TokenFault{TTL: life}}
			stands.Interwater.SetFaults(short)
			f := startFleet(t, 3, settings(stands, "", append(newShape(t), "MEMBER_RATE_LIMIT=0")...))
			token := stands.Glory.MintToken("1", time.Hour)
			issued := time.Now()
			for _, url := range f.urls("/v1/info") {
				get(t, client, url, token).want(t, 200)
			}
			stands.Interwater.SetFaults(sandbox.Fault{Path: "/v1/auth", Status: 500})
			before := stands.Interwater.AuthCalls()
			got, stop := openLoad(t, 100, f.urls("/v1/info"), token)
			lasting(t, 2*life)
			stands.Interwater.SetFaults(short)
			back := time.Now()
			eventually(t, "a 200 after the outage", func() bool { return len(failures(got.between(back, time.Now()))) < len(got.between(back, time.Now())) })
			eventually(t, "all replicas are back", func() bool {
				recent := got.between(time.Now().Add(-300*time.Millisecond), time.Now())
				return len(recent) > 10 && len(failures(recent)) == 0
			})
			stop()
			// The issuer rounds down to whole seconds, so a token may live a second less.
			if failed := failures(got.between(issued, issued.Add(life*4/5-500*time.Millisecond))); len(failed) > 0 {
				t.Errorf("%d failed while the token lived, the first: %s", len(failed), failed[0])
			}
			out := got.between(issued.Add(life), back)
			for _, x := range out {
				if x.status != 503 || x.retryAfter == "" {
					t.Fatalf("without a token: %d with Retry-After %q, want 503", x.status, x.retryAfter)
				}
			}
			var firstGood time.Time
			for _, x := range got.between(back, time.Now()) {
				if end := x.at.Add(x.took); x.status == 200 && (firstGood.IsZero() || end.Before(firstGood)) {
					firstGood = end
				}
			}
			t.Logf("%d answers without a token, p99 %v; first 200 %v after the return; %d attempts in %v",
				len(out), quantile(out, .99), firstGood.Sub(back), stands.Interwater.AuthCalls()-before, 2*life)
			if took := firstGood.Sub(back); took > 2*time.Second {
				t.Errorf("first 200 %v after the endpoint's return, want within 2 s", took)
			}
			for _, seen := range stands.Interwater.RoomRequests() {
				if seen.Header.Get("s-connector-jwt") == "" {
					t.Fatal("a room request was sent without a token")
				}
			}
		})
	}
}

// The master dies under load, and the standby takes over.
func TestSentinelFailover(t *testing.T) {
	tests.Long(t)
	t.Parallel()
	stands, s, client := newStands(t), newSentinel(t), newClient(t)
	stands.Interwater.SetFaults(sandbox.Fault{Path: "/v1/auth", Token: &sandbox.TokenFault{TTL: 6 * time.Second}})
	f := startFleet(t, 3, settings(stands, "", "REDIS_MODE=sentinel", "REDIS_URL="+s.url(), "MEMBER_RATE_LIMIT=0"))
	token := stands.Glory.MintToken("1", time.Hour)
	for _, url := range f.urls("/v1/info") {
		get(t, client, url, token).want(t, 200)
	}
	got, stop := openLoad(t, 100, f.urls("/v1/info"), token)
	eventually(t, "some answers", func() bool { return len(got.all()) > 100 })
	if err := s.master.Kill(); err != nil {
		t.Fatal(err)
	}
	standby := redis.NewClient(&redis.Options{Addr: s.standby.Addr})
	defer standby.Close()
	eventually(t, "the standby is master", func() bool {
		return strings.Contains(standby.Info(t.Context(), "replication").Val(), "role:master")
	})
	lasting(t, 8*time.Second) // more than a life
	eventually(t, "the fleet's token is in the new master", func() bool {
		return len(standby.Keys(t.Context(), "*:token").Val()) == 1
	})
	stop()
	if failed := failures(got.all()); len(failed) > 0 {
		t.Errorf("%d of %d failed, the first: %s", len(failed), len(got.all()), failed[0])
	}
	t.Logf("%d requests, %d calls of v1/auth", len(got.all()), stands.Interwater.AuthCalls())
}

// Under load, the cluster node that holds the token dies.
func TestClusterLosesANode(t *testing.T) {
	tests.Long(t)
	t.Parallel()
	stands, c, client := newStands(t), newCluster(t), newClient(t)
	stands.Interwater.SetFaults(sandbox.Fault{Path: "/v1/auth", Token: &sandbox.TokenFault{TTL: 6 * time.Second}})
	f := startFleet(t, 3, settings(stands, "", "REDIS_MODE=cluster", "REDIS_URL="+c.url(), "MEMBER_RATE_LIMIT=0"))
	token := stands.Glory.MintToken("1", time.Hour)
	for _, url := range f.urls("/v1/info") {
		get(t, client, url, token).want(t, 200)
	}
	got, stop := openLoad(t, 100, f.urls("/v1/info"), token)
	eventually(t, "some answers", func() bool { return len(got.all()) > 100 })
	var holder *sandbox.RedisServer
	eventually(t, "a node holds the token", func() bool {
		for _, node := range c.nodes {
			direct := redis.NewClient(&redis.Options{Addr: node.Addr})
			if len(direct.Keys(t.Context(), "*:token").Val()) > 0 {
				holder = node
			}
			direct.Close()
		}
		return holder != nil
	})
	if err := holder.Kill(); err != nil {
		t.Fatal(err)
	}
	lasting(t, 10*time.Second)
	stop()
	if failed := failures(got.all()); len(failed) > 0 {
		t.Errorf("%d of %d failed, the first: %s", len(failed), len(got.all()), failed[0])
	}
	t.Logf("%d requests, %d calls of v1/auth", len(got.all()), stands.Interwater.AuthCalls())
}
