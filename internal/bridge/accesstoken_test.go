package bridge

// Fetches of access tokens: what is sent, which answers are accepted, and the class of each failure.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"roomgate/internal/sandbox"
	"roomgate/internal/secret"
	"roomgate/internal/tokencache"
)

// issuerOf returns the issuer for the license of these tests.
func issuerOf(t *testing.T, interwater *url.URL, role string) *issuer {
	t.Helper()
	grant, err := newGrant(license(), role, at(t, interwater))
	if err != nil {
		t.Fatal(err)
	}
	return grant.issuer
}

func TestAccessTokenIsFetched(t *testing.T) {
	s := upstreams(t)
	issued, err := issuerOf(t, mustParse(s.InterwaterURL), RoleMember).fetch(t.Context())
	if err != nil || issued.Life != time.Hour || strings.Count(issued.Value.Reveal(), ".") != 2 {
		t.Errorf("%+v, %v", issued, err)
	}
}

// Issue 16: several frameworks answer a POST with 201. That counted as garbage, and all requests got 503.
func TestAnySuccessBringsAnAccessToken(t *testing.T) {
	s := upstreams(t)
	for _, status := range []int{200, 201, 202, 203} {
		s.Interwater.SetFaults(sandbox.Fault{Status: status, Body: `{"status":true,"data":{"accessToken":"a"}}`})
		issued, err := issuerOf(t, mustParse(s.InterwaterURL), RoleMember).fetch(t.Context())
		if err != nil || issued.Value.Reveal() != "a" || issued.Life != time.Hour {
			t.Errorf("%d: %+v, %v", status, issued, err)
		}
	}
}

func TestRequestForAnAccessTokenIsExact(t *testing.T) {
	for role, want := range map[string]string{
		RoleMember: `{"accessKey":"ACCESS-KEY-CANARY","secretKey":"SECRET-KEY-CANARY","expires":60}`,
		RoleOwner:  `{"accessKey":"ACCESS-KEY-CANARY","secretKey":"SECRET-KEY-CANARY","expires":60,"isOwner":true}`,
	} {
		var line, body string
		var header http.Header
		interwater := scripted(t, func(w http.ResponseWriter, r *http.Request) {
			text, _ := io.ReadAll(r.Body)
			line, body, header = r.Method+" "+r.RequestURI, string(text), r.Header
			_, _ = io.WriteString(w, `{"status":true,"data":{"accessToken":"a"}}`)
		})
		if _, err := issuerOf(t, interwater.JoinPath("base/"), role).fetch(t.Context()); err != nil {
			t.Error(err)
		}
		if line != "POST /base/v1/auth" || body != want {
			t.Errorf("%s: %s %s, want %s", role, line, body, want)
		}
		for name, value := range map[string]string{"Content-Type": "application/json", "Accept": "application/json"} {
			if !slices.Equal(header[name], []string{value}) {
				t.Errorf("%s: %q", name, header[name])
			}
		}
		if len(header["Accept-Encoding"])+len(header["Authorization"])+len(header["S-Connector-Jwt"]) > 0 {
			t.Errorf("%v", header)
		}
	}
}

// classOf fails the test if err isn't a FetchError or shows a secret.
func classOf(t *testing.T, rule string, err error) (tokencache.Class, time.Duration) {
	t.Helper()
	failure, ok := errors.AsType[*tokencache.FetchError](err)
	if !ok {
		t.Errorf("%s: %v is no FetchError", rule, err)
		return "", 0
	}
	for _, canary := range []string{"CANARY", "127.0.0.1:", "eyJ"} {
		if canary == "127.0.0.1:" && failure.Class == tokencache.Transient {
			continue // operators may see which connection broke
		}
		if strings.Contains(err.Error(), canary) {
			t.Errorf("%s: the error says %v", rule, err)
		}
	}
	return failure.Class, failure.RetryAfter
}

func TestFailuresOfAuthHaveAClass(t *testing.T) {
	s := upstreams(t)
	elsewhere := scripted(t, func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		t.Errorf("a redirect was followed with %s", body)
	})
	issuer := issuerOf(t, mustParse(s.InterwaterURL), RoleMember)
	for _, tt := range []struct {
		rule       string
		fault      sandbox.Fault
		class      tokencache.Class
		retryAfter time.Duration
	}{
		{"401", sandbox.Fault{Status: 401}, tokencache.Denied, 0},
		{"403", sandbox.Fault{Status: 403}, tokencache.Denied, 0},
		{"403 for a while", sandbox.Fault{Status: 403, RetryAfter: 9}, tokencache.Denied, 9 * time.Second},
		{"429", sandbox.Fault{Status: 429}, tokencache.Throttled, 0},
		{"429 for a while", sandbox.Fault{Status: 429, RetryAfter: 5}, tokencache.Throttled, 5 * time.Second},
		{"503", sandbox.Fault{Status: 503}, tokencache.Transient, 0},
		{"503 for a while", sandbox.Fault{Status: 503, RetryAfter: 2}, tokencache.Throttled, 2 * time.Second},
		{"500", sandbox.Fault{Status: 500}, tokencache.Transient, 0},
		{"502", sandbox.Fault{Status: 502}, tokencache.Transient, 0},
		{"400", sandbox.Fault{Status: 400}, tokencache.Transient, 0},
		{"404", sandbox.Fault{Status: 404}, tokencache.Transient, 0},
		{"201 without a token", sandbox.Fault{Status: 201, Body: `{"status":true,"data":{}}`}, tokencache.Garbage, 0},
		{"204", sandbox.Fault{Status: 204}, tokencache.Garbage, 0},
		{"redirect", sandbox.Fault{Redirect: elsewhere.String()}, tokencache.Garbage, 0},
		{"redirect that keeps the body", sandbox.Fault{Redirect: elsewhere.String(), Status: 307}, tokencache.Garbage, 0},
		{"permanent redirect", sandbox.Fault{Redirect: elsewhere.String(), Status: 308}, tokencache.Garbage, 0},
		{"HTML", sandbox.Fault{Kind: sandbox.KindGarbage}, tokencache.Garbage, 0},
		{"nothing", sandbox.Fault{Kind: sandbox.KindEmpty}, tokencache.Garbage, 0},
		{"too much", sandbox.Fault{Kind: sandbox.KindHuge, Size: 1 << 20}, tokencache.Garbage, 0},
		{"compressed", sandbox.Fault{Kind: sandbox.KindBomb, Size: 1 << 20}, tokencache.Garbage, 0},
		{"too much of an error", sandbox.Fault{Kind: sandbox.KindHuge, Size: 1 << 20, Status: 401}, tokencache.Denied, 0},
		{"broken off", sandbox.Fault{Kind: sandbox.KindReset}, tokencache.Transient, 0},
		{"cut", sandbox.Fault{Kind: sandbox.KindCut}, tokencache.Transient, 0},
		{"no HTTP", sandbox.Fault{Kind: sandbox.KindRaw, Body: "CANARY"}, tokencache.Transient, 0},
		{"no header", sandbox.Fault{Kind: sandbox.KindRaw, Body: "HTTP/1.1 200 OK\r\nCANARY\r\n\r\n"}, tokencache.Transient, 0},
		{"another protocol", sandbox.Fault{Kind: sandbox.KindUpgrade}, tokencache.Transient, 0},
		{"status false", sandbox.Fault{Token: &sandbox.TokenFault{StatusFalse: true}}, tokencache.Garbage, 0},
		{"expired", sandbox.Fault{Token: &sandbox.TokenFault{TTL: -time.Minute}}, tokencache.Garbage, 0},
		{"empty token", sandbox.Fault{Token: &sandbox.TokenFault{Raw: json.RawMessage(`""`)}}, tokencache.Garbage, 0},
		{"a number", sandbox.Fault{Token: &sandbox.TokenFault{Raw: json.RawMessage(`123`)}}, tokencache.Garbage, 0},
		{"null", sandbox.Fault{Token: &sandbox.TokenFault{Raw: json.RawMessage(`null`)}}, tokencache.Garbage, 0},
		{"line ends", sandbox.Fault{Token: &sandbox.TokenFault{Raw: json.RawMessage(`"a b\r\n"`)}}, tokencache.Garbage, 0},
	} {
		s.Interwater.SetFaults(tt.fault)
		_, err := issuer.fetch(t.Context())
		if class, wait := classOf(t, tt.rule, err); class != tt.class || wait != tt.retryAfter {
			t.Errorf("%s: %s, %s; want %s, %s", tt.rule, class, wait, tt.class, tt.retryAfter)
		}
	}
}

func TestLicenseThatInterwaterDoesNotKnowIsDenied(t *testing.T) {
	s := upstreams(t)
	wrong := license()
	wrong.SecretKey = secret.New("wrong-CANARY")
	grant, err := newGrant(wrong, RoleMember, at(t, mustParse(s.InterwaterURL)))
	if err != nil {
		t.Fatal(err)
	}
	_, err = grant.issuer.fetch(t.Context())
	if class, _ := classOf(t, "wrong secret", err); class != tokencache.Denied {
		t.Errorf("%s", class)
	}
}

func TestAnswerOfAuthIsReadStrictly(t *testing.T) {
	for text, ok := range map[string]bool{
		`{"status":true,"data":{"accessToken":"a"}}`:                                        true,
		`{"data":{"x":[{}],"accessToken":"a"},"status":true,"message":"m"}`:                 true,
		`{"status":true,"data":{"accessToken":"~!@#$%^&*()_+{}|:<>?,./;'[]=-` + "`" + `"}}`: true,
		`{"status":true,"data":{"AccessToken":"a"}}`:                                        false,
		`{"status":true,"data":{"accesstoken":"a"}}`:                                        false,
		`{"Status":true,"data":{"accessToken":"a"}}`:                                        false,
		`{"status":true,"Data":{"accessToken":"a"}}`:                                        false,
		`{"status":true,"accessToken":"a"}`:                                                 false,
		`{"status":"true","data":{"accessToken":"a"}}`:                                      false,
		`{"status":1,"data":{"accessToken":"a"}}`:                                           false,
		`{"status":[true],"data":{"accessToken":"a"}}`:                                      false,
		`{"status":null,"data":{"accessToken":"a"}}`:                                        false,
		`{"status":false,"data":{"accessToken":"a"}}`:                                       false,
		`{"data":{"accessToken":"a"}}`:                                                      false,
		`{"status":true,"status":true,"data":{"accessToken":"a"}}`:                          false,
		`{"status":true,"data":{"accessToken":"a","accessToken":"b"}}`:                      false,
		`{"status":true,"data":{"accessToken":"a"},"data":{"accessToken":"b"}}`:             false,
		`{"status":true,"data":{"accessToken":"a"}} {}`:                                     false,
		`[{"status":true,"data":{"accessToken":"a"}}]`:                                      false,
		`{"status":true,"data":[{"accessToken":"a"}]}`:                                      false,
		`{"status":true,"data":"a"}`:                                                        false,
		`{"status":true,"data":null}`:                                                       false,
		`{"status":true}`:                                                                   false, `{}`: false, `null`: false, ``: false, `{"status":true,"data":{"accessToken":"a"}`: false,
		`{"status":true,"data":{"accessToken":" "}}`:                         false,
		`{"status":true,"data":{"accessToken":"a "}}`:                        false,
		`{"status":true,"data":{"accessToken":"a\nb"}}`:                      false,
		`{"status":true,"data":{"accessToken":"a\u0000b"}}`:                  false,
		`{"status":true,"data":{"accessToken":"a\u007f"}}`:                   false,
		`{"status":true,"data":{"accessToken":"가"}}`:                         false,
		`{"status":true,"data":{"accessToken":"\ud800"}}`:                    false,
		`{"status":true,"data":{"accessToken":["a"]}}`:                       false,
		`{"status":true,"data":{"accessToken":true}}`:                        false,
		answerWith(strings.Repeat("a", 8<<10)):                               true,
		answerWith(strings.Repeat("a", 8<<10+1)):                             false,
		answerWith("a") + strings.Repeat(" ", 64<<10-len(answerWith("a"))):   true,
		answerWith("a") + strings.Repeat(" ", 64<<10-len(answerWith("a"))+1): false,
	} {
		interwater := scripted(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) })
		issued, err := issuerOf(t, interwater, RoleMember).fetch(t.Context())
		if (err == nil) != ok || (issued.Value.Reveal() == "") == ok {
			t.Errorf("%.80s: %v, %v", text, issued, err)
		}
		if !ok {
			if class, _ := classOf(t, text, err); class != tokencache.Garbage {
				t.Errorf("%.80s: %s", text, class)
			}
		}
	}
}

func answerWith(token string) string {
	return `{"status":true,"data":{"accessToken":"` + token + `"}}`
}

func TestLifeIsTheTokensOwn(t *testing.T) {
	now := time.Unix(1_700_000_000, 500_000_000)
	for _, tt := range []struct {
		rule, claims string
		life         time.Duration // 0: a failure
	}{
		{"exp less iat", `{"iat":1700000000,"exp":1700003600}`, time.Hour},
		{"a clock far behind", `{"iat":1600000000,"exp":1600000060}`, time.Minute},
		{"a clock far ahead", `{"iat":1800000000,"exp":1800000060}`, time.Minute},
		{"fractions", `{"iat":1700000000.25,"exp":1700000001.5}`, 1250 * time.Millisecond},
		{"in another notation", `{"iat":1.7e9,"exp":17000000.6e2}`, time.Minute},
		{"no iat: from now", `{"exp":1700000060.5}`, time.Minute},
		{"no iat that can be read", `{"iat":"1700000000","exp":1700000060.5}`, time.Minute},
		{"iat of null", `{"iat":null,"exp":1700000060.5}`, time.Minute},
		{"no iat, and past", `{"exp":1600000000}`, 0},
		{"no iat, and now", `{"exp":1700000000.5}`, 0},
		{"no exp: as asked", `{"iat":1700000000}`, 7 * time.Minute},
		{"nothing", `{}`, 7 * time.Minute},
		{"exp that can't be read", `{"iat":1700000000,"exp":"1700003600"}`, 7 * time.Minute},
		{"exp of null", `{"exp":null}`, 7 * time.Minute},
		{"exp out of range", `{"iat":0,"exp":1e999}`, 7 * time.Minute},
		{"exp twice", `{"exp":1,"exp":2}`, 7 * time.Minute},
		{"exp is iat", `{"iat":1700000000,"exp":1700000000}`, 0},
		{"exp before iat", `{"iat":1700000000,"exp":1699999999}`, 0},
		{"exp of 0", `{"iat":1700000000,"exp":0}`, 0},
		{"exp below 0", `{"exp":-1}`, 0},
		{"ten years", `{"iat":1700000000,"exp":2015360000}`, 3650 * 24 * time.Hour},
		{"for ever", `{"iat":0,"exp":1e300}`, maxTokenLife},
		{"from ever", `{"iat":-1e300,"exp":1e300}`, maxTokenLife},
	} {
		life, err := lifeOf("h."+segment(tt.claims)+".s", 7*time.Minute, now)
		if life != tt.life || (err != nil) != (tt.life == 0) {
			t.Errorf("%s: %s, %v; want %s", tt.rule, life, err, tt.life)
		}
	}
	for _, opaque := range []string{"opaque", "a.b", "a.b.c", "a..c", "a." + segment("[]") + ".c", "a." + segment(`{"exp":1}`) + "=.c", "a." + segment(`{"exp":1}`) + ".c.d"} {
		if life, err := lifeOf(opaque, 7*time.Minute, now); life != 7*time.Minute || err != nil {
			t.Errorf("%s: %s, %v", opaque, life, err)
		}
	}
}

func TestLifeOfTheStandInsTokens(t *testing.T) {
	s := upstreams(t)
	issuer := issuerOf(t, mustParse(s.InterwaterURL), RoleMember)
	for _, tt := range []struct {
		fault          sandbox.TokenFault
		shortest, life time.Duration
	}{
		{sandbox.TokenFault{}, time.Hour, time.Hour},
		{sandbox.TokenFault{TTL: 30 * time.Second}, 30 * time.Second, 30 * time.Second},
		{sandbox.TokenFault{Skew: -5 * time.Minute}, time.Hour, time.Hour},
		{sandbox.TokenFault{Skew: 24 * time.Hour}, time.Hour, time.Hour},
		{sandbox.TokenFault{NoExp: true}, time.Hour, time.Hour},
		{sandbox.TokenFault{NoIat: true}, 50 * time.Minute, time.Hour}, // iat is missing, so two clocks count, and a moment has passed
	} {
		s.Interwater.SetFaults(sandbox.Fault{Token: &tt.fault})
		if issued, err := issuer.fetch(t.Context()); err != nil || issued.Life < tt.shortest || issued.Life > tt.life {
			t.Errorf("%+v: %s, %v", tt.fault, issued.Life, err)
		}
	}
}

func TestRetryAfterHasTwoForms(t *testing.T) {
	for header, want := range map[string]time.Duration{
		"": 0, "5": 5 * time.Second, "0": 0, "-5": 0, "3600": time.Hour, "3601": time.Hour, "9999999999": time.Hour, "9223372037": time.Hour,
		"99999999999999999999999": time.Hour, "-99999999999999999999999": 0, "1.5": 0, "soon": 0, "5 s": 0, "0x10": 0,
		time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat): 0, time.Now().Add(48 * time.Hour).UTC().Format(http.TimeFormat): time.Hour,
	} {
		if got := retryAfter(header); got != want {
			t.Errorf("%q: %s, want %s", header, got, want)
		}
	}
	if got := retryAfter(time.Now().Add(time.Minute).UTC().Format(http.TimeFormat)); got < 30*time.Second || got > time.Minute {
		t.Errorf("a minute from now: %s", got)
	}
	if got := retryAfter(time.Now().Add(time.Minute).UTC().Format(time.RFC850)); got < 30*time.Second || got > time.Minute {
		t.Errorf("a minute from now in the old form: %s", got)
	}
}

func TestFetchEndsWithItsContext(t *testing.T) {
	s := upstreams(t)
	s.Interwater.SetFaults(sandbox.Fault{Kind: sandbox.KindHang})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := issuerOf(t, mustParse(s.InterwaterURL), RoleMember).fetch(ctx)
	if class, _ := classOf(t, "hang", err); class != tokencache.Transient || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	s.Interwater.SetFaults(sandbox.Fault{Kind: sandbox.KindTrickle, Interval: time.Hour})
	ctx, cancel = context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err = issuerOf(t, mustParse(s.InterwaterURL), RoleMember).fetch(ctx)
	if class, _ := classOf(t, "trickle", err); class != tokencache.Transient {
		t.Errorf("%v", err)
	}
}

func TestFailuresRepeatNothingThatWasSent(t *testing.T) {
	encrypted := httptest.NewUnstartedServer(nil)
	encrypted.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	encrypted.StartTLS()
	defer encrypted.Close()
	targets := []*url.URL{mustParse(encrypted.URL), mustParse("http://interwater.invalid"), mustParse("http://user:CANARY@interwater.invalid")}
	for _, form := range []string{"%s\r\n\r\n", "HTTP/1.1 %s\r\n\r\n", "HTTP/1.1 200 OK\r\n%s\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n%s\r\n\r\n", "HTTP/1.1 500 OK\r\n\r\n%s", "HTTP/1.1 200 OK\r\n\r\n%s", "HTTP/1.1 200 OK\r\n\r\n{%[1]q:1,%[1]q:2}", "HTTP/1.1 302 Found\r\nLocation: http://%s/\r\n\r\n", "HTTP/1.1 429 No\r\nRetry-After: %s\r\n\r\n"} {
		targets = append(targets, scripted(t, func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			var keys struct{ AccessKey, SecretKey string }
			_ = json.Unmarshal(body, &keys)
			fmt.Fprintf(conn, form, keys.SecretKey)
		}))
	}
	for _, target := range targets {
		_, err := issuerOf(t, target, RoleMember).fetch(t.Context())
		classOf(t, target.Redacted(), err)
	}
}

func TestTryLicense(t *testing.T) {
	s := upstreams(t)
	if life, err := TryLicense(t.Context(), at(t, mustParse(s.InterwaterURL)), license()); life != time.Hour || err != nil {
		t.Errorf("%s, %v", life, err)
	}
	s.Interwater.SetFaults(sandbox.Fault{Status: 403})
	if life, err := TryLicense(t.Context(), at(t, mustParse(s.InterwaterURL)), license()); life != 0 || err == nil {
		t.Errorf("%s, %v", life, err)
	}
	if _, err := TryLicense(t.Context(), at(t, mustParse(s.InterwaterURL)), License{}); err == nil {
		t.Error("a license of nothing was tried")
	}
}
