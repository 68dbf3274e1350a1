package main

// A browser app that never holds a token, in a real browser. The app is on another host of the gateway's site. Pages of other origins
// must not be able to use its session.

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"roomgate/internal/fleet"
)

const sessionSecret = "tests-session-secret-0123456789-abcdef"

// site serves empty pages over TLS, for any host name, and returns the port.
func site(t *testing.T) string {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<!doctype html><title>app</title>"))
	}))
	pair, _, _ := newCertificate(t, -time.Hour, time.Hour)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	server.Config.ErrorLog = quiet()
	server.StartTLS()
	t.Cleanup(server.Close)
	u, _ := url.Parse(server.URL)
	return u.Port()
}

// tab is a page of the browser.
type tab struct {
	*browser
	seen *[]string // what the scripts of all tabs have seen
}

// open opens page in another tab.
func (b *browser) open(t *testing.T, page string, seen *[]string) *tab {
	t.Helper()
	ctx, closeTab := chromedp.NewContext(b.ctx)
	t.Cleanup(closeTab)
	opened := &tab{&browser{ctx: ctx}, seen}
	opened.run(t, chromedp.Navigate(page))
	return opened
}

// fetch makes a script of the page send a request with credentials. It returns the status and the body that the script can read, or 0
// and the script's error.
func (b *tab) fetch(t *testing.T, method, address, more string) (status int, body string) {
	t.Helper()
	type result struct {
		Status  int
		Body    string
		Headers string
	}
	script := fmt.Sprintf(`fetch(%q, {method: %q, credentials: 'include', %s})
		.then(async r => ({Status: r.status, Body: await r.text(), Headers: JSON.stringify([...r.headers])}))
		.catch(e => ({Status: 0, Body: String(e), Headers: ''}))`, address, method, more)
	got, err := chromedp.Run(b.ctx, chromedp.Evaluate[result](script, chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatal(err)
	}
	kept, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](`document.cookie + JSON.stringify(localStorage) + JSON.stringify(sessionStorage)`))
	if err != nil {
		t.Fatal(err)
	}
	*b.seen = append(*b.seen, got.Body, got.Headers, kept)
	return got.Status, got.Body
}

// sessionOf returns the value of the session cookie, which scripts can't see; "" for none. It checks the cookie's attributes.
func (b *browser) sessionOf(t *testing.T, gate string) string {
	t.Helper()
	got, err := chromedp.Call(b.ctx, network.GetCookies, network.GetCookiesParams{URLs: []string{gate}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range got.Cookies {
		if c.Name == sessionCookie && (!c.HTTPOnly || !c.Secure || c.SameSite != "Lax" || c.Path != "/" || strings.HasPrefix(c.Domain, ".")) {
			t.Errorf("%+v", c)
		}
		if c.Name == sessionCookie {
			return c.Value
		}
	}
	return ""
}

func TestABrowserAppThatHoldsNoToken(t *testing.T) {
	t.Parallel()
	port := site(t)
	app, sibling, foreign := "https://app.example.test:"+port, "https://other.example.test:"+port, "https://evil.test:"+port
	_, certFile, keyFile := newCertificate(t, -time.Hour, time.Hour)
	stands, client := newStands(t), newClient(t)
	client.Transport.(*http.Transport).TLSClientConfig = &tls.Config{InsecureSkipVerify: true}
	environ := settings(stands, newRedis(t).Addr, "SESSION_SECRETS="+sessionSecret, "CORS_ALLOWED_ORIGINS="+app,
		"TLS_CERT_FILE="+certFile, "TLS_KEY_FILE="+keyFile)
	var gates, direct []string
	var replicas []*replica
	for range 2 {
		r := startReplica(t, environ)
		at, _ := url.Parse(r.url)
		replicas, gates, direct = append(replicas, r), append(gates, "https://api.example.test:"+at.Port()), append(direct, "https://"+at.Host)
	}
	b := newBrowser(t, chromedp.Flag("host-resolver-rules", "MAP *.test 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"), chromedp.Flag("ignore-certificate-errors", true))
	var seen []string
	one, two := b.open(t, app, &seen), b.open(t, app, &seen)
	want := func(tab *tab, method, address, more string, status int) string {
		t.Helper()
		got, body := tab.fetch(t, method, address, more)
		if got != status {
			t.Fatalf("%s %s: %d %s, want %d", method, address, got, body, status)
		}
		return body
	}
	rooms, rooms2 := gates[0]+"/v1/sessions", gates[1]+"/v1/sessions"
	demo := stands.Glory.Demo()
	login := fmt.Sprintf(`headers: {'Content-Type': 'application/json'}, body: JSON.stringify({id: %q, password: %q})`, demo.ID, demo.Password)

	want(one, "GET", rooms, "", 401)
	want(one, "POST", gates[0]+"/session/login", strings.Replace(login, demo.Password, "wrong", 1), 400)
	if body := want(one, "POST", gates[0]+"/session/login", login, 200); body != `{"data":{"result":"ok"}}` && body != `{"data":{"result":"ok"}}`+"\n" {
		t.Errorf("login: %s", body)
	}
	for range 3 {
		want(one, "GET", rooms, "", 200)
		want(two, "GET", rooms2, "", 200)
	}
	want(one, "GET", gates[0]+"/api/v1/profile", "", 200)
	token := strings.TrimPrefix(stands.Glory.LastRequest().Header.Get("Authorization"), "Bearer ")
	one.run(t, chromedp.Reload())
	want(one, "GET", rooms, "", 200)
	if body := want(one, "GET", gates[1]+"/session", "", 200); !strings.Contains(body, `"session":true,"sub":"1"`) {
		t.Errorf("session: %s", body)
	}
	stolen := b.sessionOf(t, gates[0])
	if stolen == "" || len(token) < 50 {
		t.Fatalf("cookie %q, token %q", stolen, token)
	}

	for _, origin := range []string{sibling, foreign} {
		page := b.open(t, origin, &seen)
		for _, request := range [][2]string{{"GET", rooms}, {"GET", gates[0] + "/session"}, {"POST", gates[0] + "/session/logout"}, {"POST", gates[0] + "/api/v1/anything"}} {
			if status, body := page.fetch(t, request[0], request[1], ""); status != 0 {
				t.Errorf("%s reads %s: %d %s", origin, request[1], status, body)
			}
			page.fetch(t, request[0], request[1], "mode: 'no-cors'") // the script can't read the answer, but the request arrives
			if sent := stands.Glory.LastRequest(); sent.Method == http.MethodPost && sent.Header["Authorization"] != nil {
				t.Errorf("%s posts to %s in the member's name", origin, request[1])
			}
		}
		// A form needs no script and no preflight.
		page.run(t, chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`document.body.innerHTML = '<form method=post enctype=text/plain action=%s/session/logout>'; document.forms[0].submit()`, gates[0])),
			chromedp.WaitReady(chromedp.CSS("pre")))
		want(one, "GET", rooms, "", 200)
	}
	for _, r := range replicas {
		for _, e := range r.log.events("audit") {
			if e["event"] == "logout" {
				t.Errorf("logged out by another page: %v", e)
			}
		}
	}

	replay := func(gate string) answer {
		return withCookie(t, client, http.MethodGet, gate+"/v1/info", sessionCookie+"="+stolen)
	}
	for _, gate := range direct {
		replay(gate).want(t, 200)
	}
	want(one, "POST", gates[0]+"/session/logout", "", 200)
	done := time.Now()
	want(two, "GET", rooms2, "", 401)
	if left := b.sessionOf(t, gates[0]); left != "" {
		t.Error("the cookie is still there")
	}
	for _, gate := range direct {
		eventually(t, "the stolen cookie is out", func() bool { return replay(gate).status == 401 })
	}
	if took := time.Since(done); took > 5*fleet.DenyDelay {
		t.Errorf("out after %v", took)
	}
	if body := want(two, "GET", gates[1]+"/session", "", 200); !strings.Contains(body, `"session":false`) {
		t.Errorf("session after the logout: %s", body)
	}
	want(two, "POST", gates[1]+"/session/login", login, 200)
	want(one, "GET", rooms, "", 200)
	for _, text := range seen {
		if strings.Contains(text, token) || strings.Contains(text, stolen) || strings.Contains(text, "eyJ") {
			t.Errorf("a script has seen a token: %s", text)
		}
	}
}

// withCookie sends a request with a Cookie header and no body.
func withCookie(t *testing.T, client *http.Client, method, address, cookie string) answer {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Cookie", cookie)
	a, err := send(client, request)
	if err != nil {
		t.Fatal(err)
	}
	return a
}
