package upstream

// This file holds our head of a request against net/http's.

import (
	"bytes"
	"net/http"
	"net/url"
	"testing"
	"time"
)

func FuzzHeadIsNetHTTPs(f *testing.F) {
	for _, path := range []string{"/", "", "/v1/sessions/a%2Fb?x=1&y", "//x/y", "/a b", "/é", "?", "*", "http://other/x", "/a\nb"} {
		f.Add("GET", path, "upstream.example", "Accept", "*/*", "bench")
	}
	f.Add("HEAD", "/v1/info", "", "X-A", " padded\t", "")
	f.Add("GET", "/v1/info", "other.example", "User-Agent", "", " x ")
	f.Add("GET", "/v1/info", "a b", "Host", "evil", "x")
	f.Add("GET", "/v1/info", "", "Trailer", "x", "x")
	f.Add("GET", "/v1/info", "", "content-length", "5", "x")
	f.Fuzz(func(t *testing.T, method, path, host, name, value, agent string) {
		rt := newSynchronous(mustParse("http://upstream.example"), newPooled(newHTTPTransport(), time.Hour))
		for _, u := range []*url.URL{{Path: path}, {Opaque: path}, {Path: "/", RawQuery: path}} {
			u.Scheme, u.Host = "http", "upstream.example"
			r := &http.Request{Method: method, URL: u, Host: host, Header: http.Header{
				name: {value, agent}, "User-Agent": {agent}, "X-Request-Id": {"1"}, "S-Connector-Jwt": {"token"},
			}}
			if agent == "none" {
				delete(r.Header, "User-Agent")
			}
			if !rt.takes(r) {
				continue
			}
			var ours, theirs bytes.Buffer
			err, expected := rt.writeHead(&ours, r), r.Write(&theirs)
			if (err == nil) != (expected == nil) || err == nil && ours.String() != theirs.String() {
				t.Errorf("%q, %v\n%q, %v", ours.String(), err, theirs.String(), expected)
			}
		}
	})
}
