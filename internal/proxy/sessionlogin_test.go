package proxy

// A login or join that begins a session. Only the cookie contains the token.

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"roomgate/internal/fleet"
	"roomgate/internal/sandbox"
)

// post sends a JSON body.
func (g *gateway) post(t *testing.T, target, body string, lines ...string) reply {
	t.Helper()
	head := append([]string{"POST " + target + " HTTP/1.1", "Host: gateway.test", "Content-Type: application/json", fmt.Sprint("Content-Length: ", len(body))}, lines...)
	return g.raw(t, strings.Join(head, "\r\n")+"\r\n\r\n"+body)
}

// mintToken returns a member token as Glory could issue it.
func mintToken(t testing.TB) string {
	t.Helper()
	upstreams, err := sandbox.Start(sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer upstreams.Close()
	return upstreams.Glory.MintToken("1", time.Hour)
}

// setCookie returns the session's cookie that the answer sets, and its attributes.
func (r reply) setCookie(t *testing.T) (value, attributes string) {
	t.Helper()
	if len(r.header["Set-Cookie"]) != 1 {
		t.Fatalf("Set-Cookie: %q", r.header["Set-Cookie"])
	}
	pair, attributes, _ := strings.Cut(r.header["Set-Cookie"][0], "; ")
	name, value, _ := strings.Cut(pair, "=")
	if name != hostSession {
		t.Fatalf("Set-Cookie: %q", pair)
	}
	return value, attributes
}

func TestALoginOrJoinBeginsASession(t *testing.T) {
	g, _ := startSessions(t)
	for by, body := range map[string]string{
		"join": `{"id":"j","password":"p","name":"홍길동","nickname":"n","email":"e@example.com"}`, "login": `{"id":"` + g.Glory.Demo().ID + `","password":"` + g.Glory.Demo().Password + `"}`,
	} {
		a := g.post(t, "/session/"+by+"?a=b", body, "Cookie: a=b; "+hostSession+"=old", "Accept-Encoding: gzip")
		if a.status != 200 || a.body != `{"data":{"result":"ok"}}`+"\n" && a.body != `{"data":{"result":"ok"}}` || a.header.Get("Cache-Control") != "no-store" {
			t.Fatalf("%s: %d %s %v", by, a.status, a.body, a.header)
		}
		value, attributes := a.setCookie(t)
		var age int
		if _, err := fmt.Sscanf(attributes, "Path=/; Max-Age=%d; HttpOnly; Secure; SameSite=Lax", &age); err != nil || age < 7190 || age > 7200 {
			t.Errorf("%s: %s: %v", by, attributes, err)
		}
		sent := g.Glory.LastRequest()
		if sent.RequestURI != "/public-api/v1/"+by+"?a=b" || sent.Header.Get("Cookie") != "a=b" {
			t.Errorf("%s: Glory got %s %v", by, sent.RequestURI, sent.Header)
		}
		session, err := sealer(t, hostSession, "a").Open(value)
		if err != nil || strings.Contains(a.raw, session.Token()) || strings.Count(session.Token(), ".") != 2 {
			t.Errorf("%s: %v\n%s", by, err, a.raw)
		}
		access := g.event(t)
		events := g.audited(t)
		if last := events[len(events)-1]; last["event"] != "session_begun" || last["reason"] != by || last["sub"] == "" || access["sub"] != last["sub"] || access["upstream"] != "glory" {
			t.Errorf("%s: audited %v, %v", by, last, access)
		}
		if strings.Contains(g.logs.String(), value) || strings.Contains(g.logs.String(), session.Token()) {
			t.Errorf("%s: logged", by)
		}
	}
}

func TestAFailedLoginIsGlorysAndSetsNoCookie(t *testing.T) {
	g, _ := startSessions(t)
	for _, tt := range []struct {
		fault  *sandbox.Fault
		status int
		body   string
	}{
		{nil, 400, `{"code":"400","message":"ID/PASSWORD 정보가 일치하지 않습니다 !"}`},
		{&sandbox.Fault{Status: 500}, 500, ""},
		{&sandbox.Fault{Kind: sandbox.KindReset}, 502, ""},
	} {
		if tt.fault != nil {
			g.Glory.SetFaults(*tt.fault)
		}
		const body = `{"id":"test-user-1","password":"wrong"}`
		a, own := g.post(t, "/session/login", body), g.post(t, "/public-api/v1/login", body)
		if a.status != tt.status || a.status != own.status || a.body != own.body || tt.body != "" && strings.TrimSpace(a.body) != tt.body || a.header["Set-Cookie"] != nil || a.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%d %s %v, Glory's own %d %s", a.status, a.body, a.header, own.status, own.body)
		}
	}
}

// A success of Glory that differs from its document must not leak the token.
func TestAnOddSuccessShowsNoToken(t *testing.T) {
	token := mintToken(t)
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	_, _ = zip.Write([]byte(`{"data":{"result":"ok","token":"` + token + `"}}`))
	_ = zip.Close()
	for name, tt := range map[string]struct {
		status int
		header map[string]string
		body   string
		want   int
		shown  string
	}{
		"as documented":    {200, nil, `{"data":{"result":"ok","token":"` + token + `"}}`, 200, `{"data":{"result":"ok"}}`},
		"created, more":    {201, nil, `{"token":"x","data":{"a":1.0,"token":"` + token + `","b":{"token":1}}}`, 201, `{"data":{"a":1.0,"b":{}}}`},
		"in headers":       {200, map[string]string{"Authorization": "Bearer " + token, "X-Auth-Token": token, "Etag": `"x"`}, `{"data":{"result":"ok","token":"` + token + `"}}`, 200, `{"data":{"result":"ok"}}`},
		"under two names":  {200, nil, `{"data":{"token":"` + token + `","accessToken":"` + token + `"}}`, 502, ""},
		"twice":            {200, nil, `{"data":{"token":"` + token + `","token":"x"}}`, 502, ""},
		"elsewhere":        {200, nil, `{"token":"` + token + `"}`, 502, ""},
		"none":             {200, nil, `{"data":{"result":"ok"}}`, 502, ""},
		"no JWT":           {200, nil, `{"data":{"token":"abc"}}`, 502, ""},
		"no string":        {200, nil, `{"data":{"token":["` + token + `"]}}`, 502, ""},
		"HTML":             {200, nil, `<p>` + token, 502, ""},
		"empty":            {200, nil, ``, 502, ""},
		"compressed":       {200, map[string]string{"Content-Encoding": "gzip"}, packed.String(), 502, ""},
		"long":             {200, nil, `{"data":{"token":"` + token + `","x":"` + strings.Repeat("x", maxTokenAnswer) + `"}}`, 502, ""},
		"too long a token": {200, nil, `{"data":{"token":"` + strings.Repeat("A", 4000) + token + `"}}`, 502, ""},
	} {
		g, _ := startSessions(t, func(o *setup) {
			o.Glory = scripted(t, func(w http.ResponseWriter, _ *http.Request) {
				for n, v := range tt.header {
					w.Header().Set(n, v)
				}
				w.WriteHeader(tt.status)
				_, _ = w.Write([]byte(tt.body))
			})
		})
		a := g.post(t, "/session/login", `{"id":"a","password":"b"}`)
		if a.status != tt.want || tt.want < 300 && a.body != tt.shown || (a.header["Set-Cookie"] != nil) != (tt.want < 300) {
			t.Errorf("%s: %d %s %v", name, a.status, a.body, a.header)
		}
		if strings.Contains(a.raw, token) || a.header["Etag"] != nil {
			t.Errorf("%s: the answer shows the token: %s", name, a.raw)
		}
		if tt.want < 300 {
			if value, _ := a.setCookie(t); strings.Contains(value, token) {
				t.Errorf("%s: the cookie has the token in clear", name)
			}
		}
	}
}

func TestSessionLoginsMeetTheLimitsOfLogins(t *testing.T) {
	one := fleet.Limit{Burst: 1, Per: time.Hour}
	const body = `{"id":"a","password":"b"}`
	for limit, tt := range map[string]struct{ first, second string }{
		"login": {"/session/join", "/public-api/v1/login"}, "account": {"/public-api/v1/login", "/session/login"},
	} {
		g, _ := startSessions(t, func(o *setup) {
			if limit == "login" {
				o.LoginLimit = one
			} else {
				o.AccountLimit = one
			}
		})
		if a := g.post(t, tt.first, body); a.status == 429 {
			t.Fatalf("%s: the first is refused", limit)
		}
		if a := g.post(t, tt.second, body); a.status != 429 || !strings.HasPrefix(a.header.Get("RateLimit"), `"`+limit+`"`) {
			t.Errorf("%s: %d %v", limit, a.status, a.header)
		}
	}
	g, _ := startSessions(t)
	if a := g.post(t, "/session/login", strings.Repeat(" ", maxEntranceBody+1)); a.status != 413 {
		t.Errorf("a long body: %d", a.status)
	}
}

// fixedToken has the form of a member token. It is the same in every process, because a fuzzer's workers exchange sessions.
func fixedToken() string {
	part := base64.RawURLEncoding.EncodeToString
	return part([]byte(`{"alg":"HS384"}`)) + "." + part([]byte(`{"sub":"1","exp":4102444800}`)) + "." + part([]byte("signature"))
}

// FuzzCookie checks that only the session itself admits a request, whatever the Cookie header contains. No upstream gets the session.
func FuzzCookie(f *testing.F) {
	s := sealer(f, hostSession, "a")
	token := fixedToken()
	session := seal(f, s, token)
	p := &sessions{seals: s, origins: http.NewCrossOriginProtection(), metrics: newSessionMetrics()}
	for _, header := range []string{
		hostSession + "=" + session, "a=b; " + hostSession + "=" + session + "; c", ";;=;" + hostSession, hostSession + "=" + session + ";" + hostSession + "=",
		"x=" + session, "\x00=\xff", strings.Repeat("a=b;", 1000), hostSession + `="` + session + `"`, strings.ToLower(hostSession) + "=" + session,
	} {
		f.Add(header, "")
		f.Add("a=b", header)
	}
	f.Fuzz(func(t *testing.T, first, second string) {
		r, c := &http.Request{Method: "GET", Header: http.Header{"Cookie": {first, second}}}, &call{route: apiPrefix}
		err := p.bear(r, c, &endpoint{})
		bears := r.Header.Get("Authorization") == "Bearer "+token
		opening := 0
		for pair := range strings.SplitSeq(first+";"+second, ";") {
			if name, value, _ := strings.Cut(pair, "="); strings.Trim(name, " \t") == hostSession {
				if _, err := s.Open(strings.Trim(value, " \t")); err == nil {
					opening++
				}
			}
		}
		if bears && (err != nil || opening != 1) {
			t.Errorf("%q, %q: let in by %d sessions, %v", first, second, opening, err)
		}
		if !bears && err == nil && r.Header["Authorization"] != nil {
			t.Errorf("%q, %q: Authorization %q", first, second, r.Header["Authorization"])
		}
		for pair := range strings.SplitSeq(strings.Join(r.Header["Cookie"], ";"), ";") {
			name, value, _ := strings.Cut(pair, "=")
			if _, closed := s.Open(strings.Trim(value, " \t")); strings.EqualFold(strings.Trim(name, " \t"), hostSession) || err == nil && !bears && closed == nil {
				t.Errorf("%q, %q: goes on as %q", first, second, pair)
			}
		}
	})
}
