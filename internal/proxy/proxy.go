package proxy

// This file puts the handler together and is the way of every request: begin, check, route, serve, finish.

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"roomgate/internal/bridge"
	"roomgate/internal/fleet"
	"roomgate/internal/lane"
	"roomgate/internal/upstream"
)

// Options configures the gateway's handler. Fields are required unless said otherwise.
type Options struct {
	// Glory and Interwater are where requests go.
	Glory, Interwater *upstream.Upstream
	// InterwaterTimeout is the longest that a member waits for an answer that others have asked for too.
	GloryTimeout, InterwaterTimeout time.Duration
	// RoomRoutes are the ServeMux patterns that lead to Interwater.
	RoomRoutes []string
	// RejectStatuses are Interwater's answers that mean "access token rejected".
	RejectStatuses []int
	// RedactFields are JSON names taken out of room answers for members who aren't owners. Empty: none.
	RedactFields []string
	// Bridge authenticates members and supplies credentials.
	Bridge gatekeeper
	// TrustedProxies are the peers whose X-Forwarded headers are believed. Empty: none.
	TrustedProxies []netip.Prefix
	// MaxBodyBytes, MaxHeaderBytes and MaxInFlight bound what clients may send and how many may at once.
	MaxBodyBytes   int64
	MaxHeaderBytes int
	MaxInFlight    int
	// InterwaterShare is how many of the requests in flight may wait for Interwater, those among them that wait for an answer
	// that another has asked for. Zero: all.
	InterwaterShare int
	// LoginLimit is per client address and AccountLimit per account id, both for the fleet; MemberLimit is per member and
	// replica. Zero: none.
	LoginLimit, AccountLimit, MemberLimit fleet.Limit
	// Redis counts for the fleet. Nil: each replica counts for itself.
	Redis *fleet.Redis
	// APIDocs opens /openapi.json and /docs.
	APIDocs bool
	// CORSOrigins are the origins of browser clients, "*" for all. Empty: no CORS.
	CORSOrigins []string
	// Sessions seal member tokens for browsers, under the name of their cookie: one that begins with __Host- is for TLS alone. With them,
	// CORSOrigins must not be "*". Nil: there are no browser sessions.
	Sessions *bridge.Sessions
	// Draining reports that the process is about to stop: answers then ask clients to use another connection. Nil: never.
	Draining func() bool
	Log      *slog.Logger
	// RoomCoalesce lets identical room GETs that are under way at the same time share one call, under one license and role.
	RoomCoalesce bool
	// RoomCacheTTL is how long an answer to a room GET is given to others who ask the same. 0: not at all.
	RoomCacheTTL time.Duration
	// ServerTiming adds Server-Timing to room answers.
	ServerTiming bool
	// Metrics takes the package's collectors. Nil: they are not registered.
	Metrics prometheus.Registerer
	// Tracing takes the spans. Nil: there are none.
	Tracing trace.TracerProvider
}

// gatekeeper is who decides about members and their access tokens. *bridge.Bridge is one.
type gatekeeper interface {
	authorizer
	credentials
	denier
	sessionEnder
}

// Proxy is the handler of the public listener.
type Proxy struct {
	routes     *routeTable
	room       *roomHandler
	plain      plainCalls
	origins    *crossOrigin
	sessions   *sessions // nil: off
	trusted    []netip.Prefix
	bounds     bounds
	timing     bool
	draining   func() bool
	writeLimit time.Duration
	log        *slog.Logger
	audited    map[string]string
	metrics    *metrics
	tracing    tracing

	busy     int64 // of inFlight
	inFlight atomic.Int64
	own      atomic.Int64 // answers of the gateway itself, errors and pages, over HTTP/2 that their clients have yet to take
}

// New checks o and returns the handler.
func New(o Options) (*Proxy, error) {
	if o.Glory == nil || o.Interwater == nil || o.Bridge == nil || o.Log == nil {
		return nil, errors.New("proxy: Glory, Interwater, Bridge and Log are required")
	}
	if o.Draining == nil {
		o.Draining = func() bool { return false }
	}
	p := &Proxy{
		origins: newCrossOrigin(o.CORSOrigins, o.Sessions != nil), trusted: o.TrustedProxies,
		bounds: bounds{body: o.MaxBodyBytes, header: o.MaxHeaderBytes, inFlight: int64(o.MaxInFlight)},
		timing: o.ServerTiming, draining: o.Draining, writeLimit: max(writeLimit, o.GloryTimeout, o.InterwaterTimeout),
		busy: busy * int64(runtime.GOMAXPROCS(0)), log: o.Log, audited: auditEvents(), metrics: newMetrics(o.Tracing != nil), tracing: newTracing(o.Tracing),
	}
	limiters := newLimiters(o)
	if err := p.metrics.register(o.Metrics); err != nil {
		return nil, fmt.Errorf("proxy: register metrics: %w", err)
	}
	own, err := newAPIDocs(o.APIDocs)
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	toGlory := newGloryHandler(o, limiters)
	glory := &endpoint{upstream: upstreamGlory, serve: toGlory.serve}
	if err := p.addSessions(o, own, toGlory); err != nil {
		return nil, err
	}
	p.room = newRoomHandler(o, limiters.member, p.tracing, p.metrics)
	room := &endpoint{upstream: upstreamInterwater, token: true, serve: p.room.serve}
	if p.routes, err = newRouteTable(o.RoomRoutes, glory, room, own, p.origins); err != nil {
		return nil, err
	}
	return p, nil
}

// addSessions adds the routes of sessions to the gateway's own. Members may log out without one.
func (p *Proxy) addSessions(o Options, own map[string]*endpoint, glory *gloryHandler) (err error) {
	if p.sessions, err = newSessions(o, p.metrics); err != nil {
		return err
	}
	logout := newLogoutHandler(o, p.sessions, p.metrics).serve
	if p.sessions == nil {
		addSessionRoutes(own, logout, nil, nil, false)
	} else {
		addSessionRoutes(own, logout, p.sessions.serve, newBeginner(o, p.sessions, glory).serve, true)
	}
	return nil
}

// addSessionRoutes adds the route of logging out and, where there are sessions, theirs.
func addSessionRoutes(own map[string]*endpoint, logout, session, begin func(*writer, *http.Request), sessions bool) {
	own[logoutRoute] = &endpoint{token: true, serve: logout}
	if sessions {
		own[sessionRoute] = &endpoint{token: true, serve: session}
		own[sessionLoginRoute] = &endpoint{upstream: upstreamGlory, serve: begin}
		own[sessionJoinRoute] = &endpoint{upstream: upstreamGlory, serve: begin}
	}
}

// ServeHTTP implements http.Handler.
func (p *Proxy) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	r, end := p.tracing.server(r)
	defer end()
	w := p.begin(rw, r)
	defer p.finish(w, r)
	p.serve(w, r)
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	w.deliver()
}

// begin opens the request's call.
func (p *Proxy) begin(rw http.ResponseWriter, r *http.Request) *writer {
	p.metrics.inFlight.Inc()
	p.inFlight.Add(1)
	w := &writer{ResponseWriter: rw, proxy: p, request: r, control: *http.NewResponseController(rw)}
	w.call = call{began: time.Now(), method: r.Method, timed: p.timing, requestID: requestID(r.Header["X-Request-Id"]), forged: forged(r.Header)}
	w.call.span = spanContext(r.Context(), r.Header["Traceparent"], r.Header["Tracestate"])
	from := arrivalOf(r)
	w.call.client, w.call.forwarded = from.believe(p.trusted)
	return w
}

// serve is what comes between begin and finish. A panic becomes a 500, or breaks the answer off where it has begun.
func (p *Proxy) serve(w *writer, r *http.Request) {
	defer func() {
		switch cause := recover(); cause {
		case nil:
		case http.ErrAbortHandler: // a panic value, compared as net/http does
			panic(cause)
		default:
			p.log.Error("panic", "request_id", w.call.requestID, "panic", fmt.Sprint(cause), "stack", string(debug.Stack()))
			if w.status != 0 {
				panic(http.ErrAbortHandler)
			}
			w.fail(errPanic)
		}
	}()
	if err := p.check(w, r); err != nil {
		w.fail(err)
		return
	}
	to, err := p.routes.route(r, &w.call)
	if err != nil {
		w.fail(err)
		return
	}
	if err := p.sessions.bear(r, &w.call, to); err != nil {
		w.fail(err)
		return
	}
	r.Header.Del("Upgrade") // no route upgrades, and ReverseProxy would answer a malformed one in the upstream's name
	to.serve(w, r)
}

// finish closes the call: it is counted and logged once, however it ended.
func (p *Proxy) finish(w *writer, r *http.Request) {
	p.inFlight.Add(-1)
	if w.own {
		p.own.Add(-1)
	}
	p.metrics.inFlight.Dec()
	c, status := &w.call, w.status
	if status == 0 || c.refusal == "client_gone" {
		status = statusClientGone // aborted before an answer began
	}
	if c.target.path == "" && r.URL != nil { // refused before it was a target
		c.target.path = r.URL.EscapedPath()
	}
	p.tracing.describe(r.Context(), c, status)
	p.record(c, status, w.bytes)
}

// Refused records a request that the lane has answered: it never became a call of a handler.
func (p *Proxy) Refused(refused lane.Refusal) {
	c := &call{
		began: time.Now(), method: refused.Method, requestID: refused.RequestID, client: peerAddress(refused.RemoteAddr).String(),
		span: spanContext(context.Background(), nil, nil), target: target{path: refused.Path}, failure: refused.Err, refusal: explain(errTarget).reason,
	}
	if refused.Status == http.StatusRequestHeaderFieldsTooLarge {
		c.refusal = explain(errHeaderSize).reason
	}
	p.record(c, refused.Status, refused.Bytes)
}

// record counts, audits and logs a call that has ended.
func (p *Proxy) record(c *call, status int, bytes int64) {
	took := time.Since(c.began)
	p.metrics.request(c, status, took)
	if event, ok := p.audited[c.refusal]; ok {
		audit(p.log, event, c.refusal, c)
	}
	if c.refusal == "no_route" && probes(c.target.path) {
		audit(p.log, "attack", "token_endpoint", c)
	}
	if c.forged {
		audit(p.log, "attack", "credential_header", c)
	}
	if p.log.Enabled(context.Background(), slog.LevelInfo) {
		_ = p.log.Handler().Handle(context.Background(), event(c, status, bytes, took)) // as Logger does
	}
}
