package bridge

// This file holds the HTTP client side: where credentials may go, and what of a failed call may be told.

import (
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestTransportGoesThroughNoProxy(t *testing.T) {
	proxy := scripted(t, func(_ http.ResponseWriter, r *http.Request) { t.Errorf("the proxy saw %s %v", r.RequestURI, r.Header) })
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"} {
		t.Setenv(name, proxy.String())
	}
	t.Setenv("NO_PROXY", "")
	// net/http reads the environment once: another test may have been first.
	if at, err := transport(t).Proxy(httptest.NewRequest("GET", "http://upstream.invalid/", nil)); at != nil || err != nil {
		t.Errorf("the transport has a proxy: %v, %v", at, err)
	}
	if _, err := newClient(transport(t)).Get("http://upstream.invalid/"); err == nil {
		t.Error("an address that does not exist was reached")
	}
}

// The name may stand for other addresses by then.
func TestConnectionsAreRenewed(t *testing.T) {
	for age, want := range map[time.Duration]int{0: 5, time.Hour: 1} {
		var seen []string
		upstream := scripted(t, func(_ http.ResponseWriter, r *http.Request) { seen = append(seen, r.RemoteAddr) })
		rt := transport(t)
		rt.Proxy = renewed(rt, age)
		for range 5 {
			answer, err := newClient(rt).Get(upstream.String())
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, answer.Body)
			_ = answer.Body.Close()
		}
		if got := len(slices.Compact(seen)); got != want {
			t.Errorf("%d connections for 5 requests when they are renewed after %v, want %d", got, age, want)
		}
	}
}

func TestTransportNeitherAsksForNorUndoesCompression(t *testing.T) {
	var asked []string
	var zipped strings.Builder
	z := gzip.NewWriter(&zipped)
	_, _ = io.WriteString(z, strings.Repeat("a", 1000))
	_ = z.Close()
	upstream := scripted(t, func(w http.ResponseWriter, r *http.Request) {
		asked = r.Header["Accept-Encoding"]
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = io.WriteString(w, zipped.String())
	})
	response, err := newClient(transport(t)).Get(upstream.String())
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if body, _ := io.ReadAll(response.Body); string(body) != zipped.String() || len(asked) > 0 {
		t.Errorf("%d bytes arrive of %d; asked for %q", len(body), zipped.Len(), asked)
	}
}

func TestClientFollowsNoRedirect(t *testing.T) {
	elsewhere := scripted(t, func(_ http.ResponseWriter, r *http.Request) { t.Errorf("followed with %v", r.Header) })
	for _, status := range []int{301, 302, 303, 307, 308} {
		upstream := scripted(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", elsewhere.String())
			w.WriteHeader(status)
		})
		response, err := newClient(transport(t)).Get(upstream.String())
		if err != nil || response.StatusCode != status {
			t.Fatalf("%d: %v, %v", status, response, err)
		}
		response.Body.Close()
	}
}

func TestTransportSpeaksHTTP1AndModernTLSOnly(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) }))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	rt := transport(t)
	rt.TLSClientConfig.RootCAs = server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	response, err := newClient(rt).Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if body, _ := io.ReadAll(response.Body); string(body) != "HTTP/1.1" {
		t.Errorf("%s", body)
	}
	if rt.TLSClientConfig.MinVersion != tls.VersionTLS12 || rt.TLSClientConfig.InsecureSkipVerify {
		t.Errorf("%+v", rt.TLSClientConfig)
	}
}

func TestPlainTellsCausesAndNoWords(t *testing.T) {
	quoted := errors.New(`malformed HTTP response "CANARY"`)
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
	for _, tt := range []struct {
		err  error
		want error
	}{
		{quoted, errNoHTTP},
		{&url.Error{Op: "Get", URL: "http://CANARY", Err: quoted}, errNoHTTP},
		{fmt.Errorf("CANARY: %w", quoted), errNoHTTP},
		{fmt.Errorf("CANARY: %w", refused), refused},
		{&url.Error{Op: "Get", URL: "http://CANARY", Err: refused}, refused},
		{fmt.Errorf("CANARY: %w", io.EOF), io.EOF},
		{fmt.Errorf("CANARY: %w", io.ErrUnexpectedEOF), io.ErrUnexpectedEOF},
		{fmt.Errorf("CANARY: %w", context.Canceled), context.Canceled},
		{fmt.Errorf("CANARY: %w", context.DeadlineExceeded), context.DeadlineExceeded},
		{http.ErrSchemeMismatch, http.ErrSchemeMismatch},
	} {
		got := Plain(tt.err)
		if !errors.Is(got, tt.want) || strings.Contains(got.Error(), "CANARY") {
			t.Errorf("%v becomes %v", tt.err, got)
		}
	}
}

func TestOutcomesAreThree(t *testing.T) {
	var got []string
	for _, err := range []error{nil, ErrMemberToken, fmt.Errorf("x: %w", ErrMemberToken), ErrUpstream, ErrUpstreamTimeout, context.Canceled} {
		got = append(got, outcome(err))
	}
	if want := []string{"admitted", "denied", "denied", "failed", "failed", "failed"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
