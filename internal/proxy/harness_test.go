package proxy

// The tests of this package run a gateway on a real socket. They write a client's bytes by hand. The upstreams are the sandbox's
// stand-ins, or handlers of the test.

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"roomgate/internal/bridge"
	"roomgate/internal/lane"
	"roomgate/internal/sandbox"
	"roomgate/internal/upstream"
	"roomgate/tests"
)

const (
	// patience is how long a test waits for what must happen. Only a failing test waits that long.
	patience = 20 * time.Second
	asMember = "Authorization: Bearer good"
)

var fastLane = flag.Bool("fast-lane", true, "run gateways with FAST_LANE, unless a test sets it itself")

// fakeBridge is a bridge without cryptography. It knows one member. It gets access tokens from issue, and uses each until it is rejected.
// A test can set the functions below, each to answer the step of its name.
type fakeBridge struct {
	issue func() string

	authenticate, authorize, credential, reject, refuse, logout func() error
	role                                                        string   // "": member
	bearer                                                      string   // another member token that counts, beside "good"
	stale                                                       []string // access tokens that were fetched before any rejection

	mu      sync.Mutex // guards current and steps
	current string     // the access token in use; "": none
	steps   []string   // the calls so far, in order
}

func (g *fakeBridge) step(format string, args ...any) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.steps = append(g.steps, fmt.Sprintf(format, args...))
}

// asked returns the steps that begin with prefix.
func (g *fakeBridge) asked(prefix string) []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(g.steps), func(s string) bool { return !strings.HasPrefix(s, prefix) })
}

func (g *fakeBridge) Authenticate(_ context.Context, authorization []string) (bridge.Member, error) {
	g.step("authenticate")
	switch {
	case g.authenticate != nil:
		return bridge.Member{}, g.authenticate()
	case len(authorization) == 0:
		return bridge.Member{}, bridge.ErrNoMemberToken
	case g.bearer != "" && slices.Equal(authorization, []string{"Bearer " + g.bearer}):
	case !slices.Equal(authorization, []string{"Bearer good"}):
		return bridge.Member{}, bridge.ErrMemberToken
	}
	return bridge.Member{Subject: "7"}, nil
}

func (g *fakeBridge) CheckBearer(_ context.Context, authorization []string) error {
	switch {
	case slices.Equal(authorization, []string{"Bearer denied"}):
		return bridge.ErrDenied
	case slices.Equal(authorization, []string{"Bearer out"}):
		return bridge.ErrLoggedOut
	}
	return nil
}

func (g *fakeBridge) Verify(ctx context.Context, authorization []string) (bridge.Member, error) {
	return g.Authenticate(ctx, authorization)
}

func (g *fakeBridge) Logout(_ context.Context, m bridge.Member, all bool) error {
	g.step("logout %s %v", m.Subject, all)
	if g.logout != nil {
		return g.logout()
	}
	return nil
}

func (g *fakeBridge) Authorize(_ context.Context, m bridge.Member, _ bridge.Request) (bridge.Grant, error) {
	g.step("authorize %s", m.Subject)
	if g.authorize != nil {
		return bridge.Grant{}, g.authorize()
	}
	return bridge.Grant{License: "default", Role: cmp.Or(g.role, bridge.RoleMember)}, nil
}

func (g *fakeBridge) Credential(context.Context, bridge.Grant) (bridge.Credential, error) {
	g.step("credential")
	if g.credential != nil {
		if err := g.credential(); err != nil {
			return bridge.Credential{}, err
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	source := "memory"
	if g.current == "" {
		g.current, source = g.issue(), "fetched"
	}
	return bridge.NewCredential(source, g.current), nil
}

func (g *fakeBridge) Reject(_ context.Context, c, before bridge.Credential) error {
	if before.Value() != "" && !slices.Contains(g.stale, c.Value()) {
		g.step("refuse %s", c.Value())
		if g.refuse != nil {
			return g.refuse()
		}
		return &bridge.NoCredential{Refused: true, RetryAfter: time.Minute, Err: errNotFound}
	}
	g.step("reject %s", c.Value())
	if g.reject != nil {
		return g.reject()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.current == c.Value() {
		g.current = ""
	}
	return nil
}

// setup is Options with the addresses of upstreams in place of the upstreams.
type setup struct {
	Options
	Glory, Interwater *url.URL
	lane              bool // put the lane before net/http; the default is -fast-lane
}

// unread turns the lane off, so net/http reads requests that the lane would refuse. It is for rules that the lane doesn't know, or that
// hold for HTTP/2, too.
func unread(s *setup) { s.lane = false }

// connected returns the setup's Options with new upstreams. Their connections are closed at the end of the test.
func (s setup) connected(t testing.TB) Options {
	t.Helper()
	metrics, err := upstream.NewMetrics(s.Metrics)
	if err != nil {
		t.Fatal(err)
	}
	to := func(name string, base *url.URL, timeout time.Duration) *upstream.Upstream {
		u, err := upstream.New(upstream.Options{
			Name: name, Base: base, Timeout: cmp.Or(timeout, patience), Slots: max(1, s.MaxInFlight), Direct: *fastLane,
			Metrics: metrics, Tracing: s.Tracing,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(u.Close)
		return u
	}
	o := s.Options
	o.Glory, o.Interwater = to(upstreamGlory, s.Glory, s.GloryTimeout), to(upstreamInterwater, s.Interwater, s.InterwaterTimeout)
	o.InterwaterTimeout = cmp.Or(o.InterwaterTimeout, patience)
	return o
}

// handler returns a new handler with new upstreams.
func (s setup) handler(t testing.TB) *Proxy {
	t.Helper()
	p, err := New(s.connected(t))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// asking is an asker that uses a RoundTripper.
type asking struct {
	http.RoundTripper
	base *url.URL
}

// Ask implements asker.
func (a asking) Ask(ctx context.Context, r *upstream.Request) (*upstream.Answer, error) {
	sent, err := http.NewRequestWithContext(ctx, r.Method, a.base.String()+r.Target, r.Body)
	if err != nil {
		return nil, err
	}
	sent.Header["User-Agent"] = []string{""}
	for _, f := range r.Fields {
		sent.Header[f.Name] = append(slices.Clip(slices.DeleteFunc(sent.Header[f.Name], func(v string) bool { return v == "" })), f.Value)
	}
	got, err := a.RoundTrip(sent)
	if err != nil {
		return nil, err
	}
	answer := &upstream.Answer{Status: got.StatusCode, Length: got.ContentLength, Body: got.Body}
	for name, values := range got.Header {
		for _, value := range values {
			answer.Fields = append(answer.Fields, upstream.Field{Name: name, Value: value})
		}
	}
	return answer, nil
}

// wired is handler with rt in place of both upstreams.
func (s setup) wired(t testing.TB, rt http.RoundTripper) *Proxy {
	t.Helper()
	o := s.connected(t)
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	limiters := newLimiters(o)
	glory, room := newGloryHandler(o, limiters), newRoomHandler(o, limiters.member, tracing{}, p.metrics)
	glory.reverse.Transport, room.reverse.Transport.(*fetcher).interwater = rt, asking{rt, o.Interwater.Base()}
	p.routes.glory.serve, p.routes.room.serve = glory.serve, room.serve
	return p
}

// gateway is a running gateway. Its upstreams are the stand-ins, unless the test has replaced them.
type gateway struct {
	*fakeBridge
	*sandbox.Sandbox
	addr    string
	handler *Proxy
	logs    *logs
	lane    *sync.Map // from a client's address to a channel, which is closed when the lane has finished the client's request
}

// answerPlain is Proxy.AnswerPlain. It records in g.lane when it has finished.
func (g *gateway) answerPlain(w *lane.Writer, r *lane.Request) string {
	over := make(chan struct{})
	defer close(over)
	g.lane.Store(r.Peer.String(), over)
	return g.handler.AnswerPlain(w, r)
}

// logged waits until the request of a client is logged. The lane logs after it has written the answer.
func (g *gateway) logged(conn net.Conn) {
	if over, ok := g.lane.Load(conn.LocalAddr().String()); ok {
		<-over.(chan struct{})
	}
}

// start runs a gateway until the end of the test.
func start(t *testing.T, change ...func(*setup)) *gateway {
	t.Helper()
	upstreams, err := sandbox.Start(sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { upstreams.Close() })
	g := &gateway{fakeBridge: &fakeBridge{}, Sandbox: upstreams, logs: &logs{news: make(chan struct{}, 1)}, lane: new(sync.Map)}
	t.Cleanup(func() { tests.Audit(t, g.logs.String()) })
	g.issue = func() string { return issueToken(t, upstreams) }
	o := setup{Glory: mustParse(upstreams.GloryURL), Interwater: mustParse(upstreams.InterwaterURL), lane: *fastLane, Options: Options{
		GloryTimeout: patience, InterwaterTimeout: patience,
		RoomRoutes:     []string{"GET /v1/info", "GET /v1/sessions", "GET /v1/sessions/{room_name}"},
		RejectStatuses: []int{401, 403},
		Bridge:         g.fakeBridge, MaxBodyBytes: 1 << 20, MaxHeaderBytes: 16 << 10, MaxInFlight: 100,
		Log: g.log(),
	}}
	for _, f := range change {
		f(&o)
	}
	handler := o.handler(t)
	server := httptest.NewUnstartedServer(handler)
	if g.handler = handler; o.lane {
		options := lane.Options{
			MaxHeaderBytes: o.MaxHeaderBytes, Answer: g.answerPlain, HandedOver: handler.HandedOver, Refused: handler.Refused,
			WriteTimeout: handler.WriteTimeout(),
		}
		if len(o.CORSOrigins) > 0 {
			options.Permission = handler.Permission
		}
		server.Listener = lane.Listen(server.Listener, options)
		server.Config.ConnState = lane.ConnState
	}
	server.Config.DisableGeneralOptionsHandler = true // as in cmd/gateway
	server.Config.MaxHeaderBytes = o.MaxHeaderBytes
	server.Config.ErrorLog = slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug)
	server.Start()
	t.Cleanup(server.Close)
	g.addr = server.Listener.Addr().String()
	return g
}

// serving returns the handler of a gateway whose Glory routes are answered by serve.
func serving(t *testing.T, log *slog.Logger, serve func(*writer, *http.Request)) http.Handler {
	t.Helper()
	nowhere := mustParse("http://127.0.0.1:1")
	p := setup{Glory: nowhere, Interwater: nowhere, Options: Options{
		InterwaterTimeout: time.Second, Bridge: &fakeBridge{}, Log: log, MaxBodyBytes: 1 << 20, MaxHeaderBytes: 16 << 10, MaxInFlight: 100,
	}}.handler(t)
	p.routes.glory.serve = serve
	return p
}

// nowhere returns an upstream for tests that send nothing to it.
func nowhere(t testing.TB) *upstream.Upstream {
	t.Helper()
	u, err := upstream.New(upstream.Options{Name: "nowhere", Base: mustParse("http://127.0.0.1:1"), Timeout: patience, Slots: 1})
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func mustParse(raw string) *url.URL {
	u, err := url.Parse(raw)
	if err != nil {
		panic(err)
	}
	return u
}

// issueToken gets an access token from the stand-in of Interwater.
func issueToken(t *testing.T, s *sandbox.Sandbox) string {
	license := s.Interwater.Licenses()[0]
	body, _ := json.Marshal(map[string]any{"accessKey": license.AccessKey, "secretKey": license.SecretKey, "expires": 60})
	transport := &http.Transport{DisableKeepAlives: true}
	response, err := (&http.Client{Transport: transport}).Post(s.InterwaterURL+"/v1/auth", "application/json", bytes.NewReader(body))
	if err != nil {
		t.Error(err)
		return "none"
	}
	defer response.Body.Close()
	var answer struct{ Data struct{ AccessToken string } }
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || answer.Data.AccessToken == "" {
		t.Errorf("no access token: status %d, %v", response.StatusCode, err)
	}
	return answer.Data.AccessToken
}

// scripted runs h in place of an upstream.
func scripted(t *testing.T, h http.HandlerFunc) *url.URL {
	t.Helper()
	server := httptest.NewUnstartedServer(h)
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	server.Start()
	t.Cleanup(server.Close)
	return mustParse(server.URL)
}

// reply is an answer as the client got it.
type reply struct {
	status  int // 0: the connection was closed without an answer
	header  http.Header
	trailer http.Header
	body    string
	broken  bool  // the body broke off
	interim []int // statuses of the informational answers before it
	raw     string
}

// do sends a request without a body. It adds a Host unless lines has one.
func (g *gateway) do(t *testing.T, method, target string, lines ...string) reply {
	t.Helper()
	if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "Host:") }) {
		lines = append([]string{"Host: gateway.test"}, lines...)
	}
	return g.raw(t, method+" "+target+" HTTP/1.1\r\n"+strings.Join(lines, "\r\n")+"\r\n\r\n")
}

// get sends a member's GET.
func (g *gateway) get(t *testing.T, target string, lines ...string) reply {
	t.Helper()
	return g.do(t, http.MethodGet, target, append([]string{asMember}, lines...)...)
}

// raw sends bytes as they are and reads one answer.
func (g *gateway) raw(t *testing.T, request string) reply {
	t.Helper()
	conn := g.dial(t)
	defer conn.Close()
	// The gateway refuses some requests by their first lines, and doesn't read the rest.
	_, _ = io.WriteString(conn, request)
	method, _, _ := strings.Cut(request, " ")
	got := read(t, conn, method)
	g.logged(conn)
	return got
}

func (g *gateway) dial(t *testing.T) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", g.addr)
	if err != nil {
		t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(patience))
	return conn
}

// read reads the final answer and any informational ones before it.
func read(t *testing.T, conn net.Conn, method string) reply {
	t.Helper()
	var raw bytes.Buffer
	in, got := bufio.NewReader(io.TeeReader(conn, &raw)), reply{}
	for {
		response, err := http.ReadResponse(in, &http.Request{Method: method})
		if err != nil {
			if raw.Len() > 0 {
				t.Errorf("%v in %q", err, raw.String())
			}
			return got
		}
		if response.StatusCode < 200 && response.StatusCode != http.StatusSwitchingProtocols {
			got.interim = append(got.interim, response.StatusCode)
			continue
		}
		body, err := io.ReadAll(response.Body)
		got.status, got.header, got.trailer = response.StatusCode, response.Header, response.Trailer
		got.body, got.broken, got.raw = string(body), err != nil, raw.String()
		return got
	}
}

// wantError checks what all of the gateway's own errors have in common.
func (r reply) wantError(t *testing.T, status int) {
	t.Helper()
	if r.status != status {
		t.Fatalf("status %d, want %d; body %q", r.status, status, r.body)
	}
	var envelope map[string]string
	if err := json.Unmarshal([]byte(r.body), &envelope); err != nil || len(envelope) != 2 ||
		envelope["code"] != fmt.Sprint(status) || envelope["message"] == "" {
		t.Errorf("%d: body %q is not the envelope", status, r.body)
	}
	for name, want := range map[string]string{
		"Content-Type": "application/json; charset=utf-8", "X-Content-Type-Options": "nosniff",
	} {
		if got := r.header[name]; !slices.Equal(got, []string{want}) {
			t.Errorf("%d: %s is %q, want %q", status, name, got, want)
		}
	}
	if len(r.header["X-Request-Id"]) != 1 {
		t.Errorf("%d: X-Request-Id is %q", status, r.header["X-Request-Id"])
	}
}

// roomsSeen returns method and target of each room request that reached the stand-in.
func (g *gateway) roomsSeen() []string {
	var seen []string
	for _, r := range g.Interwater.RoomRequests() {
		seen = append(seen, r.Method+" "+r.RequestURI)
	}
	return seen
}

// await receives a value, and fails the test if none comes.
func await[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatal("waited in vain")
		panic("unreachable")
	}
}

func itoa(n int) string { return strconv.Itoa(n) }

func quietLog() *slog.Logger { return slog.New(slog.DiscardHandler) }
