package upstream

import (
	"bytes"
	"net/http"
	"reflect"
	"slices"
	"testing"
)

func TestDirectConnectionsAreDialledToTheUpstream(t *testing.T) {
	for base, want := range map[string]string{
		"http://upstream.example":       "upstream.example:80",
		"https://upstream.example/a":    "upstream.example:443",
		"https://upstream.example:8443": "upstream.example:8443",
		"http://[::1]:1":                "[::1]:1",
	} {
		if got := newStraight(mustParse(base), newHTTPTransport()).addr; got != want {
			t.Errorf("%s: %s, want %s", base, got, want)
		}
	}
	if newStraight(mustParse("http://übung.example"), newHTTPTransport()) != nil {
		t.Error("a name that needs IDNA isn't refused")
	}
}

// All settings of newHTTPTransport must also apply to direct connections. known lists those that do.
func TestDirectConnectionsLeaveNoSettingOut(t *testing.T) {
	known := []string{
		"DialContext", "TLSClientConfig", "TLSHandshakeTimeout", "MaxIdleConnsPerHost", "IdleConnTimeout", "MaxResponseHeaderBytes",
		"Protocols", "DisableCompression", // direct connections know only HTTP/1.1 without compression
	}
	settings := reflect.ValueOf(newHTTPTransport()).Elem()
	for i := range settings.NumField() {
		field := settings.Type().Field(i)
		if field.IsExported() && !settings.Field(i).IsZero() && !slices.Contains(known, field.Name) {
			t.Errorf("%s is set, but direct connections ignore it", field.Name)
		}
	}
}

func TestWhatCouldEndALineIsNotSent(t *testing.T) {
	both(t, func(t *testing.T, k kind) {
		u := listen(t, serveOK)
		for _, r := range []Request{
			{Target: "/a b"}, {Target: "/a\r\nX: y"}, {Target: "http://other.example/"}, {Target: ""}, {Target: "@other.example/"},
			{Target: "/", Fields: []Field{{"X", "a\rb"}}}, {Target: "/", Fields: []Field{{"X", "a\nb"}}},
			{Target: "/", Fields: []Field{{"X", "a\x00b"}}}, {Target: "/", Fields: []Field{{"X:", "a"}}}, {Target: "/", Fields: []Field{{"", "a"}}},
		} {
			r.Method = "GET"
			if _, err := k.with(t, u).Ask(t.Context(), &r); err == nil {
				t.Errorf("%+v is sent", r)
			}
		}
		u.wantCounts(t, 0, 0)
	})
}

func FuzzHeadIsNetHTTPs(f *testing.F) {
	for _, path := range []string{"/", "", "/v1/sessions/a%2Fb?x=1&y", "//x/y", "/a b", "/é", "?", "*", "http://other/x", "/a\nb", "/a?"} {
		f.Add("GET", path, "Accept", "*/*", "bench")
	}
	f.Add("HEAD", "/v1/info", "X-A", " padded\t", "")
	f.Add("GET", "/v1/info", "User-Agent", "", " x ")
	f.Add("GET", "/v1/info", "Accept", "é", "x")
	u := &Upstream{base: mustParse("http://upstream.example/base")}
	f.Fuzz(func(t *testing.T, method, target, name, value, agent string) {
		r := &Request{Method: method, Target: target, Fields: []Field{{"User-Agent", agent}, {name, value}}}
		switch http.CanonicalHeaderKey(name) {
		case "Host", "User-Agent", "Content-Length", "Transfer-Encoding", "Trailer": // callers don't set these
			return
		}
		if !sendable(r) || !direct(r) {
			return
		}
		ours := newStraight(u.base, newHTTPTransport()).dialect.appendHead(nil, r)
		sent := &http.Request{Method: method, URL: u.at(target), Header: http.Header{name: {value}, "User-Agent": {agent}}}
		var theirs bytes.Buffer
		if err := sent.Write(&theirs); err != nil || theirs.String() != string(ours) {
			t.Errorf("%q\n%q, %v", ours, theirs.String(), err)
		}
	})
}
