package proxy

// The lane takes what real clients send, directly and through balancers. It answers as net/http does.

import (
	"maps"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// notTaken are the clients' heads that the lane hands over, with the reason in the metric.
func notTaken() map[string]string {
	return map[string]string{
		"nginx-http10":    "target",     // proxy_pass without proxy_http_version speaks HTTP/1.0, and closes each connection
		"java-httpclient": "connection", // offers h2c in the first request of each connection
		"curl-proxy":      "field",      // from a client that uses the gateway as a proxy
		"cloudflare-city": "field",      // has a city's name in UTF-8
	}
}

func TestRealClientsRequestsAreTaken(t *testing.T) {
	files, err := filepath.Glob("../lane/testdata/clients/*.http")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	registry := prometheus.NewRegistry()
	var sides [2]*side
	for i := range sides {
		s := new(side)
		s.gateway = start(t, func(o *setup) {
			o.Interwater = s.bytesUpstream.start(t)
			o.Bridge.(*fakeBridge).issue = func() string { return "a.b.c-tok" }
			o.CORSOrigins = []string{"https://app.example"}
			o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("172.64.0.0/13")}
			if o.lane = i == 1; o.lane {
				o.Metrics = registry
			}
		})
		sides[i] = s
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".http")
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			head := strings.ReplaceAll(strings.Replace(string(text), "MEMBER_TOKEN", "good", 1), "\n", "\r\n")
			result := " taken"
			if reason := notTaken()[name]; reason != "" {
				result = reason + " handed_over"
			}
			before := counted(t, registry, "roomgate_lane_requests_total")
			sameAnswer(t, sides, name, func(s *side) reply {
				got := s.raw(t, head)
				if got.status != http.StatusOK {
					t.Errorf("status %d", got.status)
				}
				return got
			})
			before[result]++
			if got := counted(t, registry, "roomgate_lane_requests_total"); !maps.Equal(got, before) {
				t.Errorf("counted %v, want %v", got, before)
			}
		})
	}
	if a, b := strings.Join(sides[0].heads, "\n"), strings.Join(sides[1].heads, "\n"); a != b {
		t.Errorf("Interwater gets different requests:\n%q\n%q", a, b)
	}
}
