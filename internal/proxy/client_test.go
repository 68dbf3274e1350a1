package proxy

// What upstreams learn about the client: addresses that can be trusted, one request id and one trace.

import (
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestForwardedHeadersOfStrangersDoNotCount(t *testing.T) {
	g := start(t)
	lies := []string{"X-Forwarded-For: 6.6.6.6", "X-Forwarded-Host: evil.test", "X-Forwarded-Proto: https", "Forwarded: for=6.6.6.6"}
	g.get(t, "/v1/info", lies...)
	g.do(t, "GET", "/public-api/v1/health", lies...)
	for _, h := range []http.Header{g.Interwater.LastRoomRequest().Header, g.Glory.LastRequest().Header} {
		for name, want := range map[string][]string{
			"X-Forwarded-For": {"127.0.0.1"}, "X-Forwarded-Host": {"gateway.test"}, "X-Forwarded-Proto": {"http"}, "Forwarded": nil,
		} {
			if !slices.Equal(h[name], want) {
				t.Errorf("%s: %q, want %q", name, h[name], want)
			}
		}
		if e := g.event(t); e["client"] != "127.0.0.1" {
			t.Errorf("client %q", e["client"])
		}
	}
}

func TestForwardedHeadersOfTrustedProxiesCount(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	g := start(t, func(o *setup) { o.TrustedProxies = trusted })
	for _, tt := range []struct {
		rule                string
		lines               []string
		client, chain       string
		wantHost, wantProto string
	}{
		{"none", nil, "127.0.0.1", "127.0.0.1", "gateway.test", "http"},
		{"one hop", []string{"X-Forwarded-For: 5.6.7.8"}, "5.6.7.8", "5.6.7.8, 127.0.0.1", "gateway.test", "http"},
		{"the last stranger is the client", []string{"X-Forwarded-For: 6.6.6.6, 5.6.7.8"}, "5.6.7.8", "5.6.7.8, 127.0.0.1", "gateway.test", "http"},
		{"through another trusted one", []string{"X-Forwarded-For: 6.6.6.6, 5.6.7.8, 10.1.1.1"}, "5.6.7.8", "5.6.7.8, 10.1.1.1, 127.0.0.1", "gateway.test", "http"},
		{"all trusted", []string{"X-Forwarded-For: 10.2.2.2,10.1.1.1"}, "10.2.2.2", "10.2.2.2, 10.1.1.1, 127.0.0.1", "gateway.test", "http"},
		{"two lines are one list", []string{"X-Forwarded-For: 6.6.6.6", "X-Forwarded-For: 5.6.7.8"}, "5.6.7.8", "5.6.7.8, 127.0.0.1", "gateway.test", "http"},
		{"IPv6", []string{"X-Forwarded-For: 2001:db8::1, fd00::1"}, "2001:db8::1", "2001:db8::1, fd00::1, 127.0.0.1", "gateway.test", "http"},
		{"IPv4 in IPv6", []string{"X-Forwarded-For: 5.6.7.8, ::ffff:10.1.1.1"}, "5.6.7.8", "5.6.7.8, 10.1.1.1, 127.0.0.1", "gateway.test", "http"},
		{"no address", []string{"X-Forwarded-For: 5.6.7.8, unknown"}, "127.0.0.1", "127.0.0.1", "gateway.test", "http"},
		{"empty", []string{"X-Forwarded-For:"}, "127.0.0.1", "127.0.0.1", "gateway.test", "http"},
		{"an address that breaks logs", []string{"X-Forwarded-For: 5.6.7.8\" x=\""}, "127.0.0.1", "127.0.0.1", "gateway.test", "http"},
		{"host and scheme", []string{"X-Forwarded-Host: app.test", "X-Forwarded-Proto: HTTPS"}, "127.0.0.1", "127.0.0.1", "app.test", "https"},
		{"no scheme of ours", []string{"X-Forwarded-Proto: javascript"}, "127.0.0.1", "127.0.0.1", "gateway.test", "http"},
		{"two hosts are none", []string{"X-Forwarded-Host: a", "X-Forwarded-Host: b"}, "127.0.0.1", "127.0.0.1", "gateway.test", "http"},
		{"of schemes the first counts", []string{"X-Forwarded-Proto: https,http"}, "127.0.0.1", "127.0.0.1", "gateway.test", "https"},
		{"of schemes with spaces too", []string{"X-Forwarded-Proto: http , https"}, "127.0.0.1", "127.0.0.1", "gateway.test", "http"},
		{"two lines of schemes are one list", []string{"X-Forwarded-Proto: https", "X-Forwarded-Proto: http"}, "127.0.0.1", "127.0.0.1", "gateway.test", "https"},
		{"address and port", []string{"X-Forwarded-For: 203.0.113.7:4711"}, "203.0.113.7", "203.0.113.7, 127.0.0.1", "gateway.test", "http"},
		{"IPv6 in brackets and port", []string{"X-Forwarded-For: [2001:db8::1]:80"}, "2001:db8::1", "2001:db8::1, 127.0.0.1", "gateway.test", "http"},
		{"IPv6 in brackets", []string{"X-Forwarded-For: [2001:db8::1]"}, "2001:db8::1", "2001:db8::1, 127.0.0.1", "gateway.test", "http"},
		{"a trusted hop with its port", []string{"X-Forwarded-For: 5.6.7.8:1, 10.1.1.1:2, [fd00::1]:3"}, "5.6.7.8", "5.6.7.8, 10.1.1.1, fd00::1, 127.0.0.1", "gateway.test", "http"},
		{"no port of a number", []string{"X-Forwarded-For: 5.6.7.8:x"}, "127.0.0.1", "127.0.0.1", "gateway.test", "http"},
		{"IPv4 has no brackets", []string{"X-Forwarded-For: [5.6.7.8]"}, "127.0.0.1", "127.0.0.1", "gateway.test", "http"},
		{"half of the brackets", []string{"X-Forwarded-For: [2001:db8::1"}, "127.0.0.1", "127.0.0.1", "gateway.test", "http"},
	} {
		g.do(t, "GET", "/public-api/v1/health", tt.lines...)
		h := g.Glory.LastRequest().Header
		for name, want := range map[string]string{
			"X-Forwarded-For": tt.chain, "X-Forwarded-Host": tt.wantHost, "X-Forwarded-Proto": tt.wantProto,
		} {
			if !slices.Equal(h[name], []string{want}) {
				t.Errorf("%s: %s: %q, want %q", tt.rule, name, h[name], want)
			}
		}
		if e := g.event(t); e["client"] != tt.client {
			t.Errorf("%s: client %q, want %q", tt.rule, e["client"], tt.client)
		}
	}
}

func TestPeerAddress(t *testing.T) {
	for remote, want := range map[string]string{
		"1.2.3.4:5": "1.2.3.4", "[::ffff:1.2.3.4]:5": "1.2.3.4", "[fe80::1%eth0]:5": "fe80::1", "[::1]:5": "::1", "@": "invalid IP", "": "invalid IP",
	} {
		if got := peerAddress(remote).String(); got != want {
			t.Errorf("%q: %s, want %s", remote, got, want)
		}
	}
}

func TestRequestIDIsKeptIfItIsOne(t *testing.T) {
	g := start(t)
	longest := strings.Repeat("a", 128)
	for _, tt := range []struct {
		lines []string
		kept  string // "": the gateway makes a new one
	}{
		{[]string{"X-Request-Id: 0af-1_B.c"}, "0af-1_B.c"},
		{[]string{"x-request-id: a"}, "a"},
		{[]string{"X-Request-Id: " + longest}, longest},
		{[]string{"X-Request-Id: " + longest + "a"}, ""},
		{[]string{"X-Request-Id:"}, ""},
		{[]string{"X-Request-Id: a b"}, ""},
		{[]string{"X-Request-Id: a/b"}, ""},
		{[]string{"X-Request-Id: 가"}, ""},
		{[]string{`X-Request-Id: {"a"}`}, ""},
		{[]string{"X-Request-Id: a", "X-Request-Id: b"}, ""},
		{nil, ""},
	} {
		answer := g.get(t, "/v1/info", tt.lines...)
		g.do(t, "GET", "/public-api/v1/health", tt.lines...)
		id := answer.header.Get("X-Request-Id")
		switch {
		case tt.kept != "" && id != tt.kept:
			t.Errorf("%q: %q", tt.lines, id)
		case tt.kept == "" && (!isRequestID(id) || len(id) < 20 || slices.ContainsFunc(tt.lines, func(l string) bool { return strings.HasSuffix(l, id) })):
			t.Errorf("%q: %q isn't an id of the gateway's form", tt.lines, id)
		}
		if got := g.Interwater.LastRoomRequest().Header["X-Request-Id"]; !slices.Equal(got, []string{id}) {
			t.Errorf("%q: Interwater got %q, the client %q", tt.lines, got, id)
		}
		if e := g.event(t); e["request_id"] != id {
			t.Errorf("%q: the event has %q, the client %q", tt.lines, e["request_id"], id)
		}
		other := g.event(t)["request_id"]
		if got := g.Glory.LastRequest().Header["X-Request-Id"]; !slices.Equal(got, []string{other.(string)}) || (tt.kept == "") != (other != id) {
			t.Errorf("%q: Glory got %q, the event has %q, the request before %q", tt.lines, got, other, id)
		}
	}
}

func TestTraceIsContinuedOrBegun(t *testing.T) {
	form := regexp.MustCompile(`^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$`)
	g := start(t)
	const id, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	for _, tt := range []struct {
		rule      string
		lines     []string
		continued bool
		flags     string
		state     []string
	}{
		{"sampled", []string{"traceparent: 00-" + id + "-" + parent + "-01", "tracestate: a=b,c=d"}, true, "01", []string{"a=b,c=d"}},
		{"not sampled", []string{"traceparent: 00-" + id + "-" + parent + "-00"}, true, "00", nil},
		{"a later version", []string{"traceparent: cc-" + id + "-" + parent + "-01-what"}, true, "01", nil},
		{"none", nil, false, "00", nil},
		{"state without parent", []string{"tracestate: a=b"}, false, "00", nil},
		{"zero trace", []string{"traceparent: 00-00000000000000000000000000000000-" + parent + "-01"}, false, "00", nil},
		{"zero parent", []string{"traceparent: 00-" + id + "-0000000000000000-01"}, false, "00", nil},
		{"upper case", []string{"traceparent: 00-" + strings.ToUpper(id) + "-" + parent + "-01"}, false, "00", nil},
		{"garbage", []string{"traceparent: x", "tracestate: a=b"}, false, "00", nil},
	} {
		g.get(t, "/v1/info", tt.lines...)
		g.do(t, "GET", "/public-api/v1/health", tt.lines...)
		for _, h := range []http.Header{g.Interwater.LastRoomRequest().Header, g.Glory.LastRequest().Header} {
			got := form.FindStringSubmatch(strings.Join(h["Traceparent"], " and "))
			if got == nil || (got[1] == id) != tt.continued || got[2] == parent || got[3] != tt.flags ||
				strings.Trim(got[1], "0") == "" || strings.Trim(got[2], "0") == "" {
				t.Errorf("%s: Traceparent %q", tt.rule, h["Traceparent"])
				continue
			}
			if !slices.Equal(h["Tracestate"], tt.state) {
				t.Errorf("%s: Tracestate %q, want %q", tt.rule, h["Tracestate"], tt.state)
			}
			if e := g.event(t); e["trace_id"] != got[1] {
				t.Errorf("%s: the event has %q, upstream got %q", tt.rule, e["trace_id"], got[1])
			}
		}
	}
}
