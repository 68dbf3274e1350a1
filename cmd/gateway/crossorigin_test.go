package main

// What a page of another origin can read of the gateway's answers, in a browser and over HTTP/2.

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

func TestAPageReadsEveryRefusal(t *testing.T) {
	t.Parallel()
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<!doctype html><title>app</title><link rel=icon href=data:,>")
	}))
	defer app.Close()
	b, stands := newBrowser(t), newStands(t)
	r := startReplica(t, settings(stands, newRedis(t).Addr, "CORS_ALLOWED_ORIGINS="+app.URL))
	b.run(t, chromedp.Navigate(app.URL))
	good, expired := stands.Glory.MintToken("7", time.Hour), stands.Glory.MintToken("7", -time.Hour)
	for _, tt := range []struct {
		what, target, headers, want string
	}{
		{"a room", "/v1/info", "Authorization: 'Bearer " + good + "', 'X-App-Version': '1', 'If-None-Match': 'x', baggage: 'a=b', 'sentry-trace': '0-0'", "200"},
		{"an expired token", "/v1/info", "Authorization: 'Bearer " + expired + "'", `401 Bearer error="invalid_token", error_description="expired"`},
		{"a forged token", "/v1/info", "Authorization: 'Bearer " + good[:len(good)-4] + "AAAA'", `401 Bearer error="invalid_token"`},
		{"no token", "/v1/info", "", "401 Bearer"},
		{"no route", "/nowhere", "", "404"},
		{"a long header", "/v1/info", "Authorization: 'Bearer ' + 'a'.repeat(20000)", "431"},
		{"many headers", "/v1/info", "...Object.fromEntries(Array.from({length: 150}, (_, i) => ['X-' + i, '1']))", "431"},
		{"a long target", "/v1/sessions/" + strings.Repeat("a", 20000), "", "431"},
		{"a malformed path", "/v1/%2e%2e%2fauth", "", "400"},
	} {
		got, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](fmt.Sprintf(`fetch('%s', {headers: {%s}}).then(
			r => r.json().then(e => [r.status, r.headers.get('WWW-Authenticate') ?? '', e.code ?? 200, r.headers.get('X-Request-Id') ? '' : 'no id'].join(' ').trim()),
			e => String(e))`, r.url+tt.target, tt.headers), chromedp.EvalAwaitPromise))
		status, challenge, _ := strings.Cut(tt.want, " ")
		if want := strings.Join([]string{status, challenge, status}, " "); err != nil || got != want {
			t.Errorf("%s: the page reads %q, want %q (%v)", tt.what, got, want, err)
		}
	}
}

// The HTTP server's own answer would have no CORS headers, so no page could read it.
func TestHTTP2HeadThatIsTooLongIsRefusedLikeAnyOther(t *testing.T) {
	t.Parallel()
	s := newTLSArena(t, "CORS_ALLOWED_ORIGINS=https://app.example")
	transport := &http.Transport{TLSClientConfig: insecure("h2"), ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+s.addr()+"/v1/info", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Origin", "https://app.example")
	r.Header.Set("X-Long", strings.Repeat("a", 20_000))
	answer, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	body, _ := io.ReadAll(answer.Body)
	if answer.ProtoMajor != 2 || answer.StatusCode != 431 || string(body) != `{"code":"431","message":"Request header too large"}` ||
		!slices.Equal(answer.Header["Access-Control-Allow-Origin"], []string{"https://app.example"}) {
		t.Errorf("%s %d %v %s", answer.Proto, answer.StatusCode, answer.Header, body)
	}
}
