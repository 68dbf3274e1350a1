package upstream

// This file holds which requests the synchronous transport takes, and that it leaves none of its settings out.

import (
	"io"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestSynchronousTakesTheSimpleKindOnly(t *testing.T) {
	rt := newSynchronous(mustParse("https://upstream.example/base"), newPooled(newHTTPTransport(), time.Hour))
	for name, tt := range map[string]struct {
		change func(*http.Request)
		want   bool
	}{
		"GET":       {func(*http.Request) {}, true},
		"HEAD":      {func(r *http.Request) { r.Method = "HEAD" }, true},
		"NoBody":    {func(r *http.Request) { r.Body = http.NoBody }, true},
		"headers":   {func(r *http.Request) { r.Header = http.Header{"S-Connector-Jwt": {"a.b_c-d"}, "X": {"é\t\"", ""}} }, true},
		"POST":      {func(r *http.Request) { r.Method = "POST" }, false},
		"no method": {func(r *http.Request) { r.Method = "" }, false},
		"body":      {func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader("x")) }, false},
		"length":    {func(r *http.Request) { r.ContentLength = -1 }, false},
		"encoding":  {func(r *http.Request) { r.TransferEncoding = []string{"chunked"} }, false},
		"trailer":   {func(r *http.Request) { r.Trailer = http.Header{"X": nil} }, false},
		"close":     {func(r *http.Request) { r.Close = true }, false},
		"Upgrade":   {func(r *http.Request) { r.Header.Set("Upgrade", "websocket") }, false},
		"Expect":    {func(r *http.Request) { r.Header.Set("Expect", "100-continue") }, false},
		"hop":       {func(r *http.Request) { r.Header.Set("Connection", "x") }, false},
		"CR":        {func(r *http.Request) { r.Header["X"] = []string{"a\rb"} }, false},
		"LF":        {func(r *http.Request) { r.Header["X"] = []string{"a\nb"} }, false},
		"NUL":       {func(r *http.Request) { r.Header["X"] = []string{"a\x00b"} }, false},
		"name":      {func(r *http.Request) { r.Header["X:"] = []string{"a"} }, false},
		"no name":   {func(r *http.Request) { r.Header[""] = []string{"a"} }, false},
		"nil":       {func(r *http.Request) { r.Header = nil }, false},
		"no URL":    {func(r *http.Request) { r.URL = nil }, false},
		"scheme":    {func(r *http.Request) { r.URL.Scheme = "http" }, false},
		"host":      {func(r *http.Request) { r.URL.Host = "upstream.example:443" }, false},
	} {
		r := newRequest(t.Context(), t, "GET", &url.URL{Scheme: "https", Host: "upstream.example"})
		if tt.change(r); rt.takes(r) != tt.want {
			t.Errorf("%s: taken %v", name, !tt.want)
		}
	}
}

func TestSynchronousDialsItsUpstream(t *testing.T) {
	for base, want := range map[string]string{
		"http://upstream.example":       "upstream.example:80",
		"https://upstream.example/a":    "upstream.example:443",
		"https://upstream.example:8443": "upstream.example:8443",
		"http://[::1]:1":                "[::1]:1",
	} {
		if got := newSynchronous(mustParse(base), newPooled(newHTTPTransport(), time.Hour)).addr; got != want {
			t.Errorf("%s: %s, want %s", base, got, want)
		}
	}
	for base, want := range map[string]bool{"http://upstream.example": true, "http://übung.example": false} {
		if _, got := newTransport(Options{Base: mustParse(base), Synchronous: true}, newHTTPTransport()).(*synchronous); got != want {
			t.Errorf("%s: synchronous %v", base, got)
		}
	}
	if _, got := newTransport(Options{Base: mustParse("http://upstream.example")}, newHTTPTransport()).(*synchronous); got {
		t.Error("it can't be turned off")
	}
}

// What newHTTPTransport sets has to count for the synchronous one too: here is all that does.
func TestSynchronousLeavesNoSettingOut(t *testing.T) {
	known := []string{
		"DialContext", "TLSClientConfig", "TLSHandshakeTimeout", "MaxIdleConnsPerHost", "IdleConnTimeout", "MaxResponseHeaderBytes",
		"Protocols", "DisableCompression", // HTTP/1.1 and no compression are all that it knows
	}
	settings := reflect.ValueOf(newHTTPTransport()).Elem()
	for i := range settings.NumField() {
		field := settings.Type().Field(i)
		if field.IsExported() && !settings.Field(i).IsZero() && !slices.Contains(known, field.Name) {
			t.Errorf("%s is set, which the synchronous transport doesn't know", field.Name)
		}
	}
}
