package proxy

// Fuzzing for headers that slip through, in both directions. The oracle reads the bytes on the wire by its own rules. It shares no list
// or parser with the code under test.

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"roomgate/internal/bridge"
)

const (
	fuzzCredential  = "the-gateways-own-credential"
	fuzzMemberToken = "the-members-own-token"
)

// steadyBridge admits one member and always returns the same credential. It records no steps, unlike fakeBridge.
type steadyBridge struct{}

func (steadyBridge) Authenticate(_ context.Context, authorization []string) (bridge.Member, error) {
	if len(authorization) != 1 || authorization[0] != "Bearer "+fuzzMemberToken {
		return bridge.Member{}, bridge.ErrMemberToken
	}
	return bridge.Member{Subject: "7"}, nil
}

func (steadyBridge) CheckBearer(context.Context, []string) error { return nil }

func (steadyBridge) Verify(context.Context, []string) (bridge.Member, error) {
	return bridge.Member{}, nil
}

func (steadyBridge) Logout(context.Context, bridge.Member, bool) error { return nil }

func (steadyBridge) Authorize(context.Context, bridge.Member, bridge.Request) (bridge.Grant, error) {
	return bridge.Grant{License: "default", Role: bridge.RoleMember}, nil
}

func (steadyBridge) Credential(context.Context, bridge.Grant) (bridge.Credential, error) {
	return bridge.NewCredential("memory", fuzzCredential), nil
}

func (steadyBridge) Reject(_ context.Context, _, before bridge.Credential) error {
	if before.Value() == "" {
		return nil
	}
	return &bridge.NoCredential{Refused: true, RetryAfter: time.Minute, Err: errNotFound}
}

// wire is an upstream without a socket. It records the bytes of each request, and answers with given bytes.
type wire struct {
	sent   []string
	answer string
}

// RoundTrip implements http.RoundTripper.
func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	var bytes bytes.Buffer
	if err := r.Write(&bytes); err != nil {
		return nil, err
	}
	w.sent = append(w.sent, bytes.String())
	return http.ReadResponse(bufio.NewReader(strings.NewReader(w.answer)), r)
}

// fuzzGateway returns the whole handler, with a wire in place of both upstreams.
func fuzzGateway(f *testing.F, upstream http.RoundTripper) http.Handler {
	p := setup{Glory: mustParse("http://glory.test"), Interwater: mustParse("http://interwater.test"), Options: Options{
		RoomRoutes: []string{"GET /v1/info"}, RejectStatuses: []int{401, 403}, Bridge: steadyBridge{},
		MaxBodyBytes: 1 << 20, MaxHeaderBytes: 16 << 10, MaxInFlight: 100, Log: slog.New(slog.DiscardHandler),
	}}.wired(f, upstream)
	return p
}

// lines splits a header block as it is on the wire into lower-case names and values.
func headerLines(message string) (names, values []string) {
	head, _, _ := strings.Cut(message, "\r\n\r\n")
	for line := range strings.SplitSeq(head, "\r\n") {
		if name, value, ok := strings.Cut(line, ":"); ok && !strings.Contains(name, " ") {
			names, values = append(names, strings.ToLower(name)), append(values, strings.TrimSpace(value))
		}
	}
	return names, values
}

var (
	// upRoom are the headers that may reach Interwater. Those of a body are among them, for an operator's own routes.
	upRoom = " accept accept-encoding accept-language user-agent if-none-match if-modified-since traceparent tracestate" +
		" content-type content-encoding content-language" +
		" host s-connector-jwt x-forwarded-for x-forwarded-host x-forwarded-proto x-request-id via "
	backRoom = " content-type content-length content-encoding content-language etag last-modified vary date retry-after" +
		" cache-control x-request-id x-content-type-options "
	hopByHop = " connection keep-alive proxy-connection te trailer transfer-encoding upgrade http2-settings expect" +
		" proxy-authenticate proxy-authorization forwarded "
	// exact are headers that each upstream gets exactly once, with their values.
	exact = map[string]*regexp.Regexp{
		"x-forwarded-for":   regexp.MustCompile(`^192\.0\.2\.1$`),
		"x-forwarded-host":  regexp.MustCompile(`^gateway\.test$`),
		"x-forwarded-proto": regexp.MustCompile(`^http$`),
		"x-request-id":      regexp.MustCompile(`^[A-Za-z0-9._-]{1,128}$`),
		"traceparent":       regexp.MustCompile(`^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`),
	}
	notAlphanumeric = regexp.MustCompile(`[^a-z0-9]`)
)

// judge returns what is wrong in a request to the upstream.
func judge(sent, host string, toRoom bool) (faults []string) {
	names, values := headerLines(sent)
	count := map[string]int{}
	for i, name := range names {
		count[name]++
		if want := exact[name]; want != nil && !want.MatchString(values[i]) {
			faults = append(faults, name+" is "+values[i])
		}
		if name == "host" && values[i] != host {
			faults = append(faults, "another host: "+values[i])
		}
		if notAlphanumeric.ReplaceAllString(name, "") == "sconnectorjwt" && (!toRoom || name != "s-connector-jwt" || values[i] != fuzzCredential) {
			faults = append(faults, "the client's credential: "+name)
		}
		if toRoom && !strings.Contains(upRoom, " "+name+" ") || strings.Contains(hopByHop, " "+name+" ") {
			faults = append(faults, name+" gets through")
		}
	}
	for name := range exact {
		if count[name] != 1 {
			faults = append(faults, name+" is not there once")
		}
	}
	if toRoom && (count["s-connector-jwt"] != 1 || strings.Contains(sent, fuzzMemberToken)) {
		faults = append(faults, "the credential is not there once, or the member token is")
	}
	return faults
}

func FuzzHeadersThatNobodyDeclared(f *testing.F) {
	for _, name := range credentialSpellings {
		f.Add(name+": EVIL", name+": EVIL", uint16(0))
	}
	for _, block := range []string{
		"Connection: close, s-connector-jwt, x-forwarded-for, x-request-id, traceparent, host", "Connection: Upgrade\r\nUpgrade: h2c",
		"X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Host: e\r\nX-Forwarded-Proto: https\r\nForwarded: for=6.6.6.6\r\nX_Forwarded_For: 6.6.6.6",
		"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\ntracestate: a=b\r\ntraceparent: x",
		"X-Request-Id: a\r\nX-Request-Id: b", "Cookie: a=b\r\nTE: trailers\r\nTrailer: S-Connector-Jwt\r\nExpect: 100-continue",
		"Accept: a\r\n b\r\nAccept:c\r\nETag: \"x\"\r\nSet-Cookie: a=b", "Location: http://e/\r\nServer: x\r\nVia: 1.1 x\r\nAlt-Svc: h3",
		"ConneCtion:,  0", "Connection: ,,S-Connector-JWT,\r\n!: x", "Content-Length: 0\r\nTransfer-Encoding: chunked", "Date: now\r\nCache-Control: public\r\nWWW-Authenticate: Basic\r\nTrailer:S-Connector-Jwt: x",
	} {
		f.Add(block, block, uint16(0))
		f.Add(block, block, uint16(102)) // a redirect
		f.Add(block, block, uint16(201)) // a rejection
	}
	upstream := &wire{}
	handler := fuzzGateway(f, upstream)
	f.Fuzz(func(t *testing.T, request, answer string, status uint16) {
		for _, target := range []string{"/v1/info", "/api/v1/profile"} {
			head := "GET " + target + " HTTP/1.1\r\nHost: gateway.test\r\nAuthorization: Bearer " + fuzzMemberToken + "\r\n"
			r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(head + request + "\r\n\r\n")))
			if err != nil || r.Host != "gateway.test" || len(r.Header["Host"]) > 0 {
				return // net/http refuses it
			}
			r.RemoteAddr = "192.0.2.1:1234"
			upstream.sent, upstream.answer = nil, "HTTP/1.1 "+itoa(200+int(status)%400)+" X\r\n"+answer+"\r\n\r\n{}"
			w := httptest.NewRecorder()
			if aborted(func() { handler.ServeHTTP(w, r) }) {
				continue
			}
			toRoom, host := target == "/v1/info", "glory.test"
			if toRoom {
				host = "interwater.test"
			}
			if len(upstream.sent) > 2 || len(upstream.sent) > 1 && !toRoom {
				t.Errorf("one request became %d", len(upstream.sent))
			}
			for _, sent := range upstream.sent {
				if faults := judge(sent, host, toRoom); len(faults) > 0 {
					t.Errorf("%q is sent as %q: %q", request, sent, faults)
				}
			}
			judgeAnswer(t, w, toRoom && len(upstream.sent) > 0)
		}
	})
}

// judgeAnswer checks the answer to the client.
func judgeAnswer(t *testing.T, w *httptest.ResponseRecorder, ofRoom bool) {
	t.Helper()
	result := w.Result()
	body, _ := io.ReadAll(result.Body)
	if strings.Contains(string(body), fuzzCredential) {
		t.Errorf("the credential is in the body: %q", body)
	}
	for name, values := range result.Header {
		lower := strings.ToLower(name)
		if notAlphanumeric.ReplaceAllString(lower, "") == "sconnectorjwt" || strings.Contains(strings.Join(values, " "), fuzzCredential) {
			t.Errorf("the client gets %s: %q", name, values)
		}
		if ofRoom && !strings.Contains(backRoom, " "+lower+" ") {
			t.Errorf("%s comes back: %q", name, values)
		}
	}
	if len(result.Trailer) > 0 || len(result.Header["X-Request-Id"]) != 1 || len(result.Header["X-Content-Type-Options"]) != 1 {
		t.Errorf("trailers %v, header %v", result.Trailer, result.Header)
	}
}

// aborted runs f and reports whether it broke the answer off, as it does if the upstream's body is broken.
func aborted(f func()) (broken bool) {
	defer func() {
		if p := recover(); p == http.ErrAbortHandler {
			broken = true
		} else if p != nil {
			panic(p)
		}
	}()
	f()
	return false
}

// TestTheHeaderOracleCanFail shows that the oracle of the fuzz test finds faults.
func TestTheHeaderOracleCanFail(t *testing.T) {
	const good = "GET /v1/info HTTP/1.1\r\nHost: interwater.test\r\nX-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Host: gateway.test\r\n" +
		"X-Forwarded-Proto: http\r\nX-Request-Id: a\r\nTraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n"
	const own = "S-Connector-Jwt: " + fuzzCredential + "\r\n"
	if faults := judge(good+own+"\r\n", "interwater.test", true); len(faults) > 0 {
		t.Errorf("a good request has faults: %q", faults)
	}
	for _, more := range []string{
		"", own + own, own + "S_Connector.JWT: x\r\n", own + "Cookie: a\r\n", own + "X-Forwarded-For: 6.6.6.6\r\n", own + "Host: e\r\n",
		own + "Upgrade: h2c\r\n", own + "Accept: " + fuzzMemberToken + "\r\n", "S-Connector-Jwt: EVIL\r\n",
	} {
		if len(judge(good+more+"\r\n", "interwater.test", true)) == 0 {
			t.Errorf("%q was not found", more)
		}
	}
}
