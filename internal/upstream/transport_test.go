package upstream

import (
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestTransportGoesThroughNoProxy(t *testing.T) {
	proxy := listen(t, func(p *peer) { t.Errorf("the proxy saw %v", p.request()) })
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"} {
		t.Setenv(name, proxy.base.String())
	}
	t.Setenv("NO_PROXY", "")
	// net/http reads the environment only once, possibly before this test.
	if h := newHTTPTransport(); h.Proxy != nil {
		t.Error("the settings have a proxy")
	}
	both(t, func(t *testing.T, k kind) {
		u := &rawUpstream{base: mustParse("http://upstream.invalid")}
		if got := ask(t.Context(), t, k.with(t, u), "GET", u.base); got != "error" {
			t.Errorf("an address that does not exist: %s", got)
		}
	})
}

// By then the name may have other addresses.
func TestConnectionsAreRenewed(t *testing.T) {
	for age, conns := range map[time.Duration]int32{0: 5, time.Hour: 1} {
		both(t, func(t *testing.T, k kind) {
			u := listen(t, serveOK)
			rt := k.with(t, u)
			if rt.transport = newPooled(newHTTPTransport(), age); k == synch {
				rt.direct.idle.age = age
			}
			for range 5 {
				want(t, ask(t.Context(), t, rt, "GET", u.base), "200 [good]")
			}
			u.wantCounts(t, conns, 5)
		})
	}
}

func TestCompressionIsNeitherAskedForNorUndone(t *testing.T) {
	var zipped strings.Builder
	z := gzip.NewWriter(&zipped)
	_, _ = io.WriteString(z, strings.Repeat("a", 1000))
	_ = z.Close()
	both(t, func(t *testing.T, k kind) {
		asked := make(chan []string, 1)
		u := listen(t, func(p *peer) {
			asked <- p.request().Header["Accept-Encoding"]
			p.send("%sContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s", okHead, zipped.Len(), zipped.String())
		})
		want(t, ask(t.Context(), t, k.with(t, u), "GET", u.base), "200 ["+zipped.String()+"]")
		if got := <-asked; len(got) > 0 {
			t.Errorf("asked for %q", got)
		}
	})
}

func TestNoRedirectIsFollowed(t *testing.T) {
	both(t, func(t *testing.T, k kind) {
		elsewhere := listen(t, serveOK)
		for _, status := range []int{301, 302, 303, 307, 308} {
			u := listen(t, func(p *peer) {
				p.request()
				p.send("HTTP/1.1 %d Elsewhere\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n", status, elsewhere.base)
			})
			want(t, ask(t.Context(), t, k.with(t, u), "GET", u.base), fmt.Sprintf("%d []", status))
		}
		elsewhere.wantCounts(t, 0, 0)
	})
}

func TestHTTP1AndModernTLSAlone(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) }))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	u := &rawUpstream{base: mustParse(server.URL), roots: x509.NewCertPool()}
	u.roots.AddCert(server.Certificate())
	both(t, func(t *testing.T, k kind) {
		want(t, ask(t.Context(), t, k.with(t, u, func(h *http.Transport) {
			if h.TLSClientConfig.MinVersion != tls.VersionTLS12 || h.TLSClientConfig.InsecureSkipVerify {
				t.Errorf("%+v", h.TLSClientConfig)
			}
		}), "GET", u.base), "200 [HTTP/1.1]")
	})
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
