package sandbox

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"
)

const docHealth = docOK

// raw sends one GET over a bare connection. It returns all bytes until the connection's end, and the error that ended it.
func raw(t *testing.T, baseURL, path string) (string, error) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(baseURL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: sandbox\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(conn)
	return string(b), err
}

func TestFaultAnswers(t *testing.T) {
	s, c := start(t, Options{})
	for name, tc := range map[string]struct {
		fault  Fault
		status int
		body   string
		header string // "Name: value" that must be there
	}{
		"nothing":        {Fault{}, 200, docHealth, ""},
		"status":         {Fault{Status: 503, RetryAfter: 7}, 503, `{"code":"503","message":"Service Unavailable"}`, "Retry-After: 7"},
		"status, body":   {Fault{Status: 500, Body: "trace", ContentType: "text/plain"}, 500, "trace", "Content-Type: text/plain"},
		"body":           {Fault{Body: `{"a":1}`}, 200, `{"a":1}`, "Content-Type: " + jsonType},
		"status, none":   {Fault{Status: 204}, 204, "", ""},
		"header":         {Fault{Header: map[string]string{"X-A": "b"}}, 200, docHealth, "X-A: b"},
		"redirect":       {Fault{Redirect: "http://elsewhere.invalid/"}, 302, "", "Location: http://elsewhere.invalid/"},
		"redirect, 307":  {Fault{Redirect: "//e", Status: 307}, 307, "", "Location: //e"},
		"garbage":        {Fault{Kind: KindGarbage}, 200, garbage, "Content-Type: text/html; charset=utf-8"},
		"garbage, 502":   {Fault{Kind: KindGarbage, Status: 502}, 502, garbage, ""},
		"empty":          {Fault{Kind: KindEmpty}, 200, "", ""},
		"huge":           {Fault{Kind: KindHuge, Size: 100_000}, 200, `"` + strings.Repeat("a", 99_998) + `"`, ""},
		"trickle":        {Fault{Kind: KindTrickle, Interval: time.Nanosecond}, 200, docHealth, ""},
		"trickle, other": {Fault{Kind: KindTrickle, Interval: time.Nanosecond, Status: 400, Body: "no"}, 400, "no", ""},
		"cookie":         {Fault{Kind: KindCookie}, 200, docHealth, "Set-Cookie: session=sandbox; Path=/; HttpOnly"},
		"other path":     {Fault{Path: "/other", Status: 500}, 200, docHealth, ""},
		"prefix":         {Fault{Path: "/public*", Status: 500, Body: "x"}, 500, "x", ""},
		"other prefix":   {Fault{Path: "/api/*", Status: 500}, 200, docHealth, ""},
		"exact path":     {Fault{Path: healthPath, Status: 500, Body: "x"}, 500, "x", ""},
		"other method":   {Fault{Method: "POST", Status: 500}, 200, docHealth, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s.Glory.SetFaults(tc.fault)
			a := send(t, c, "GET", s.GloryURL+healthPath, "")
			if a.status != tc.status || a.body != tc.body || a.err != nil {
				t.Errorf("got %d %.80q %v", a.status, a.body, a.err)
			}
			if name, want, _ := strings.Cut(tc.header, ": "); a.header.Get(name) != want {
				t.Errorf("%s: %q, want %q", name, a.header.Get(name), want)
			}
		})
	}
}

func TestFaultErrorsHaveTheFormOfTheAPI(t *testing.T) {
	s, c := start(t, Options{})
	s.Interwater.SetFaults(Fault{Status: 500})
	send(t, c, "GET", s.InterwaterURL+infoRoute, "").
		wantJSON(t, 500, `{"status":false,"message":"Internal Server Error"}`)
}

func TestTheFirstFaultAppliesUntilItsTimesAreOver(t *testing.T) {
	s, c := start(t, Options{})
	s.Glory.SetFaults(Fault{Status: 500, Times: 2}, Fault{Status: 501, Times: 1}, Fault{Path: "/x", Status: 502})
	if f := s.Glory.Faults(); len(f) != 3 || f[0].Times != 2 {
		t.Errorf("faults %+v", f)
	}
	for _, want := range []int{500, 500, 501, 200, 200} {
		if a := send(t, c, "GET", s.GloryURL+healthPath, ""); a.status != want {
			t.Errorf("status %d, want %d", a.status, want)
		}
	}
	if f := s.Glory.Faults(); len(f) != 1 || f[0].Status != 502 {
		t.Errorf("faults left: %+v", f)
	}
}

func TestDelay(t *testing.T) {
	s, c := start(t, Options{})
	s.Glory.SetFaults(Fault{Delay: 50 * time.Millisecond})
	began := time.Now()
	demo, _ := json.Marshal(s.Demo)
	// Use a login, because the delay must not lose its body.
	memberToken(t, send(t, c, "POST", s.GloryURL+loginPath, string(demo)))
	if took := time.Since(began); took < 50*time.Millisecond {
		t.Errorf("answered after %v", took)
	}
}

// Faults that wait must end when the client leaves, and on Close.
func TestWaitingEnds(t *testing.T) {
	for name, fault := range map[string]Fault{
		"hang":    {Kind: KindHang},
		"delay":   {Delay: time.Hour},
		"trickle": {Kind: KindTrickle, Interval: time.Hour},
	} {
		for _, leaves := range []string{"client", "server"} {
			t.Run(name+", "+leaves, func(t *testing.T) {
				s, c := start(t, Options{})
				s.Interwater.SetFaults(fault)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				ended := make(chan error, 1)
				go func() {
					body := authBody(s.Interwater.Licenses()[0], "")
					req, _ := http.NewRequestWithContext(ctx, "POST", s.InterwaterURL+authRoute, strings.NewReader(body))
					resp, err := c.Do(req)
					if err == nil {
						_, err = io.ReadAll(resp.Body)
						resp.Body.Close()
					}
					ended <- err
				}()
				eventually(t, func() bool { return s.Interwater.AuthCalls() == 1 })
				if leaves == "client" {
					cancel()
				} else if err := s.Close(); err != nil {
					t.Error(err)
				}
				if err := <-ended; err == nil {
					t.Error("an answer came")
				}
			})
		}
	}
}

// eventually waits until another goroutine makes cond true.
func eventually(t *testing.T, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(10 * time.Second)
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("it never happened")
		}
	}
}

func TestBrokenConnections(t *testing.T) {
	s, c := start(t, Options{})
	set := func(f Fault) { s.Glory.SetFaults(f) }

	set(Fault{Kind: KindReset})
	if got, err := raw(t, s.GloryURL, healthPath); got != "" || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("reset: %q, %v", got, err)
	}
	set(Fault{Kind: KindReset, Body: "HTTP/1.1 200 OK\r\nCon"})
	if got, err := raw(t, s.GloryURL, healthPath); got != "HTTP/1.1 200 OK\r\nCon" || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("reset within the header: %q, %v", got, err)
	}
	set(Fault{Kind: KindCut})
	a := send(t, c, "GET", s.GloryURL+healthPath, "")
	if a.status != 200 || a.body != docHealth[:len(docHealth)/2] || !errors.Is(a.err, io.ErrUnexpectedEOF) {
		t.Errorf("cut: %d %q %v", a.status, a.body, a.err)
	}
	set(Fault{Kind: KindUpgrade})
	if got, err := raw(t, s.GloryURL, healthPath); err != nil || !strings.HasPrefix(got, "HTTP/1.1 101 ") {
		t.Errorf("upgrade: %q, %v", got, err)
	}
	set(Fault{Kind: KindRaw, Body: "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"})
	if got, err := raw(t, s.GloryURL, healthPath); err != nil || !strings.HasSuffix(got, "2\r\n\r\nab") {
		t.Errorf("raw: %q, %v", got, err)
	}
}

func TestBombInflates(t *testing.T) {
	s, c := start(t, Options{})
	s.Glory.SetFaults(Fault{Kind: KindBomb, Size: 1 << 20})
	a := send(t, c, "GET", s.GloryURL+healthPath, "")
	if a.header.Get("Content-Encoding") != "gzip" || len(a.body) > 1<<15 {
		t.Errorf("%d bytes, %v", len(a.body), a.header)
	}
	zip, err := gzip.NewReader(strings.NewReader(a.body))
	if err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, zip); n != 1<<20 || err != nil {
		t.Errorf("inflates to %d bytes, %v", n, err)
	}
}

func TestTheAccessTokenIsLeaked(t *testing.T) {
	s, c := start(t, Options{})
	token := authToken(t, s, c)
	get := func(f Fault, trace *httptrace.ClientTrace) *http.Response {
		s.Interwater.SetFaults(f)
		ctx := httptrace.WithClientTrace(t.Context(), trace)
		req, _ := http.NewRequestWithContext(ctx, "GET", s.InterwaterURL+sessionsRoute, nil)
		req.Header.Set(leakHeader, token)
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		resp.Body = io.NopCloser(bytes.NewReader(body))
		return resp
	}
	noTrace := &httptrace.ClientTrace{}
	var hint string
	resp := get(Fault{Kind: KindEarlyHints}, &httptrace.ClientTrace{
		Got1xxResponse: func(code int, h textproto.MIMEHeader) error { hint = h.Get(leakHeader); return nil },
	})
	if hint != token || resp.Header.Get(leakHeader) != "" || resp.StatusCode != 200 {
		t.Errorf("early hints: hint %q, then %d %v", hint, resp.StatusCode, resp.Header)
	}
	if resp = get(Fault{Kind: KindTrailer}, noTrace); resp.Trailer.Get(leakHeader) != token || resp.StatusCode != 200 {
		t.Errorf("trailer: %d, %v", resp.StatusCode, resp.Trailer)
	}
	resp = get(Fault{Kind: KindEcho}, noTrace)
	body, _ := io.ReadAll(resp.Body)
	if resp.Header.Get(leakHeader) != token || !strings.Contains(string(body), token) {
		t.Errorf("echo: %v %s", resp.Header, body)
	}
	if resp = get(Fault{Kind: KindCookie}, noTrace); resp.Header.Get(leakHeader) != leakMarker || len(resp.Cookies()) != 2 {
		t.Errorf("cookie: %v", resp.Header)
	}
}

func TestTokenFaults(t *testing.T) {
	s, c := start(t, Options{})
	body := authBody(s.Interwater.Licenses()[0], "")
	auth := func(f TokenFault) answer {
		s.Interwater.SetFaults(Fault{Path: authRoute, Token: &f})
		defer s.Interwater.SetFaults()
		return send(t, c, "POST", s.InterwaterURL+authRoute, body)
	}
	// Claims are in seconds from now, with a tolerance for the test's own slowness.
	for name, tc := range map[string]struct {
		fault    TokenFault
		iat, exp any // seconds from now; nil: absent
		works    bool
	}{
		"nothing":    {TokenFault{}, 0.0, 3600.0, true},
		"short":      {TokenFault{TTL: 90 * time.Second}, 0.0, 90.0, true},
		"rounded":    {TokenFault{TTL: 89*time.Second + time.Millisecond}, 0.0, 90.0, true},
		"backwards":  {TokenFault{TTL: -time.Minute}, 0.0, -60.0, false},
		"behind":     {TokenFault{Skew: -5 * time.Hour}, -18000.0, -14400.0, true},
		"ahead":      {TokenFault{Skew: 5 * time.Hour}, 18000.0, 21600.0, true},
		"no exp":     {TokenFault{NoExp: true}, 0.0, nil, true},
		"no iat":     {TokenFault{NoIat: true}, nil, 3600.0, true},
		"expired":    {TokenFault{Expired: true}, -7201.0, -3601.0, false},
		"both, none": {TokenFault{NoExp: true, NoIat: true}, nil, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			token := accessToken(t, auth(tc.fault))
			got := decode(t, part(t, token, 1))
			for claim, want := range map[string]any{"iat": tc.iat, "exp": tc.exp} {
				v, there := got[claim].(float64)
				if want == nil {
					if there {
						t.Errorf("%s = %v, want none", claim, v)
					}
					continue
				}
				if off := v - float64(time.Now().Unix()) - want.(float64); !there || off > 1 || off < -30 {
					t.Errorf("%s is %v s off", claim, off)
				}
			}
			a := send(t, c, "GET", s.InterwaterURL+infoRoute, "", leakHeader, token)
			if (a.status == 200) != tc.works {
				t.Errorf("the token gets %d", a.status)
			}
		})
	}
	for _, value := range []string{`""`, `123`, `null`, `"a b"`, `"a\r\nX-Evil: 1"`, `{"a":1}`} {
		auth(TokenFault{Raw: json.RawMessage(value)}).
			wantJSON(t, 200, `{"status":true,"data":{"accessToken":`+value+`}}`)
	}
	auth(TokenFault{StatusFalse: true}).wantJSON(t, 200, `{"status":false,"message":"no token today"}`)
}

func TestFaultsSurviveJSON(t *testing.T) {
	want := []Fault{{
		Path: "/v1/*", Method: "GET", Times: 3, Kind: KindTrickle, Delay: 250 * time.Millisecond, Status: 299,
		Body: "b", ContentType: "text/x", Header: map[string]string{"A": "b"}, RetryAfter: 4, Redirect: "//r",
		Size: 5, Interval: time.Second,
		Token: &TokenFault{
			TTL: time.Minute, Skew: -time.Hour, Expired: true, NoExp: true, NoIat: true,
			Raw: json.RawMessage(`null`), StatusFalse: true,
		},
	}, {}}
	b, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(b, []byte(`"delay":"250ms"`)) || !bytes.Contains(b, []byte(`"skew":"-1h0m0s"`)) || !bytes.HasSuffix(b, []byte(",{}]")) {
		t.Errorf("JSON is %s", b)
	}
	got, err := parseFaults(bytes.NewReader(b))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}
}

func TestSetFaultsPanicsOnAnUnknownKind(t *testing.T) {
	g, err := NewGlory(Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	g.SetFaults(Fault{Kind: "surprise"})
}
