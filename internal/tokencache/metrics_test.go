package tokencache

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"roomgate/internal/fleet"
)

// gather reads a collector. It returns the values by their label values, joined by spaces. A histogram's value is its count.
func gather(t *testing.T, c prometheus.Collector) map[string]float64 {
	t.Helper()
	r := prometheus.NewRegistry()
	if err := r.Register(c); err != nil {
		t.Fatal(err)
	}
	all := make(map[string]float64)
	for name, value := range scrape(t, r) {
		_, labels, _ := strings.Cut(name, " ")
		all[labels] = value
	}
	return all
}

// scrape reads a registry. It returns the values by name and label values, joined by spaces. A histogram's value is its count.
func scrape(t *testing.T, r prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatalf("scrape: %v", err)
	}
	all := make(map[string]float64)
	for _, family := range families {
		for _, m := range family.GetMetric() {
			name := family.GetName()
			for _, label := range m.GetLabel() {
				name += " " + label.GetValue()
			}
			all[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return all
}

// expect compares some of the values of a scrape.
func expect(t *testing.T, got, want map[string]float64) {
	t.Helper()
	for name, value := range want {
		if got[name] != value {
			t.Errorf("%s is %v, want %v", name, got[name], value)
		}
	}
}

func TestMetricsCountLookupsFetchesAndRejections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := prometheus.NewRegistry()
		c := newCache(t, Options{Metrics: r})
		k, iss := newKey(t, "s"), &issuer{life: time.Hour, takes: time.Second}
		token := takeFrom(t, Fetched, c, k, iss.fetch)
		for range 5 {
			takeFrom(t, Memory, c, k, iss.fetch)
		}
		if err := c.Reject(t.Context(), k, token, nil); err != nil {
			t.Fatal(err)
		}
		token = takeFrom(t, Fetched, c, k, iss.fetch)
		unavailable(t, Rejected, c.refuse(t.Context(), c.entry(k), token))
		unavailable(t, Rejected, c.Reject(t.Context(), k, token, nil))
		bad := newKey(t, "s", "bad")
		bad.Labels = []string{"other", "second"}
		for _, class := range []Class{Transient, Throttled, Garbage, Denied} {
			denied(t, class, c, bad, (&issuer{err: failure(class)}).fetch)
			time.Sleep(10 * time.Minute)
		}
		time.Sleep(time.Until(token.Expiry()) - 10*time.Minute)
		expect(t, scrape(t, r), map[string]float64{
			"roomgate_token_lookups_total memory hit":            5,
			"roomgate_token_lookups_total fetched hit":           2,
			"roomgate_token_lookups_total none error":            4,
			"roomgate_token_fetches_total main first ok":         2,
			"roomgate_token_fetch_seconds main first":            2,
			"roomgate_token_rejections_total main first dropped": 1,
			"roomgate_token_rejections_total main first refused": 2,
			"roomgate_token_expiry_seconds main first":           600,
			"roomgate_token_expiry_seconds other second":         0,
		})
		got := scrape(t, r)
		for _, class := range []Class{Transient, Throttled, Garbage, Denied} {
			if n := got["roomgate_token_fetches_total other second "+string(class)]; n < 1 {
				t.Errorf("no fetch counted as %s", class)
			}
		}
	})
}

func TestMetricsTellOfLocksAndTheCircuit(t *testing.T) {
	t.Parallel()
	server, r := ownRedis(t), prometheus.NewRegistry()
	c := newFleet(t, 1, server.Addr, Options{Metrics: r}, fleet.Options{Timeout: time.Second})[0]
	k, iss := newKey(t, "s"), &issuer{life: time.Hour}
	takeFrom(t, Fetched, c, k, iss.fetch)
	expect(t, scrape(t, r), map[string]float64{"roomgate_token_lock_total acquired": 1, "roomgate_redis_circuit_open": 0})
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	openCircuit(t, c)
	expect(t, scrape(t, r), map[string]float64{"roomgate_token_lock_total acquired": 1, "roomgate_redis_circuit_open": 1})
}

func TestScrapeSurvivesARotatedSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := prometheus.NewRegistry()
		c, iss := newCache(t, Options{Metrics: r}), &issuer{life: time.Hour}
		takeFrom(t, Fetched, c, newKey(t, "before"), iss.fetch)
		time.Sleep(10 * time.Minute)
		takeFrom(t, Fetched, c, newKey(t, "after"), iss.fetch) // the same labels
		expect(t, scrape(t, r), map[string]float64{"roomgate_token_expiry_seconds main first": 3599})
	})
}

func TestMetricsAreRegisteredOnceOnly(t *testing.T) {
	t.Parallel()
	r := prometheus.NewRegistry()
	newCache(t, Options{Metrics: r})
	if _, err := New(Options{Metrics: r}); err == nil {
		t.Error("a second cache could register the same metrics")
	}
}

// openCircuit calls Redis until it counts as down.
func openCircuit(t *testing.T, c *Cache) {
	t.Helper()
	eventually(t, "Redis is considered down", func() bool {
		_, _ = c.store.load(context.WithoutCancel(t.Context()), newKey(t, "any"))
		down, _ := c.RedisDown()
		return down
	})
}
