package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime"
	"runtime/debug"
	"sync"
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
	// Glory and Interwater are the upstreams.
	Glory, Interwater *upstream.Upstream
	// GloryTimeout and InterwaterTimeout are the upstreams' timeouts. A client has at least as long to take a part of an answer.
	// A member waits at most InterwaterTimeout for the answer to another member's call.
	GloryTimeout, InterwaterTimeout time.Duration
	// RoomRoutes are the ServeMux patterns of requests to Interwater.
	RoomRoutes []string
	// RejectStatuses are Interwater's answers that mean "access token rejected".
	RejectStatuses []int
	// RedactFields are JSON names that are removed from room answers for members who aren't owners. Empty: none.
	RedactFields []string
	// Bridge authenticates members and supplies credentials.
	Bridge gatekeeper
	// TrustedProxies are the peers whose X-Forwarded headers are believed. Empty: none.
	TrustedProxies []netip.Prefix
	// MaxBodyBytes, MaxHeaderBytes and MaxInFlight limit the size of requests, and how many are in flight.
	MaxBodyBytes   int64
	MaxHeaderBytes int
	MaxInFlight    int
	// InterwaterShare is how many of the requests in flight may wait for Interwater. Those that wait for another request's call
	// count, too. Zero: all.
	InterwaterShare int
	// LoginLimit is per client address and AccountLimit per account id, both for the fleet. MemberLimit is per member and
	// replica. Zero: no limit.
	LoginLimit, AccountLimit, MemberLimit fleet.Limit
	// Redis counts for the fleet. Nil: each replica counts for itself.
	Redis *fleet.Redis
	// APIDocs opens /openapi.json and /docs.
	APIDocs bool
	// CORSOrigins are the origins of browser clients, "*" for all. Empty: no CORS.
	CORSOrigins []string
	// Sessions seals member tokens in cookies for browsers. A cookie name that begins with __Host- works over TLS only. With
	// sessions, CORSOrigins must not be "*". Nil: no browser sessions.
	Sessions *bridge.Sessions
	// Draining reports that the process is about to stop. Answers then tell clients to use another connection. Nil: never.
	Draining func() bool
	Log      *slog.Logger
	// RoomCoalesce lets identical concurrent room GETs under one license and role share one call.
	RoomCoalesce bool
	// RoomCacheTTL is how long the answer to a room GET is reused for others who ask the same. 0: not at all.
	RoomCacheTTL time.Duration
	// ServerTiming adds Server-Timing to room answers.
	ServerTiming bool
	// Metrics registers the package's collectors. Nil: they are not registered.
	Metrics prometheus.Registerer
	// Tracing makes the spans. Nil: there are none.
	Tracing trace.TracerProvider
}

// gatekeeper decides about members and their access tokens. *bridge.Bridge is one.
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
	events     sync.Pool // of *eventAttrs
	audited    map[string]string
	metrics    *metrics
	tracing    tracing

	busy     int64 // with more requests in flight, awaitOthers yields
	inFlight atomic.Int64
	own      atomic.Int64 // the gateway's own answers (errors and pages) over HTTP/2 that clients haven't taken yet
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
		busy: busy * int64(runtime.GOMAXPROCS(0)), log: o.Log,
		events: sync.Pool{New: func() any { return new(eventAttrs) }}, audited: auditEvents(), metrics: newMetrics(o.Tracing != nil), tracing: newTracing(o.Tracing),
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

// addSessions adds the routes of sessions to the gateway's own. The logout route is always there: it works without sessions.
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

// addSessionRoutes adds the logout route and, if sessions are on, their routes.
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

// serve does what comes between begin and finish. A panic becomes a 500. If the answer has begun, a panic breaks it off.
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
	r.Header.Del("Upgrade") // no route upgrades, and ReverseProxy would answer a malformed Upgrade in the upstream's name
	to.serve(w, r)
}

// finish closes the call. It counts and logs each call once, however it ended.
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
	if c.target.path == "" && r.URL != nil { // refused before the target was read
		c.target.path = r.URL.EscapedPath()
	}
	p.tracing.describe(r.Context(), c, status)
	p.record(c, status, w.bytes)
}

// Refused records a request that the lane has refused. No handler has seen it.
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
		memory := p.events.Get().(*eventAttrs)
		_ = p.log.Handler().Handle(context.Background(), event(c, status, bytes, took, memory)) // Logger ignores the error, too
		clear(memory[:])
		p.events.Put(memory)
	}
}
