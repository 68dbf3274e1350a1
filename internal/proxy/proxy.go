package proxy

// This file puts the handler together.

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"roomgate/internal/fleet"
)

// gatekeeper is who decides about members and their access tokens. *bridge.Bridge is one.
type gatekeeper interface {
	authorizer
	credentials
}

// Options configures the gateway's handler. Fields are required unless said otherwise.
type Options struct {
	Glory, Interwater               *url.URL
	GloryTimeout, InterwaterTimeout time.Duration
	// UpstreamSync sends bodiless GETs and HEADs in the goroutine of the request. False: all go through http.Transport.
	UpstreamSync bool
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
	// LoginLimit is per client address and AccountLimit per account id, both for the fleet; MemberLimit is per member and
	// replica. Zero: none.
	LoginLimit, AccountLimit, MemberLimit fleet.Limit
	// Redis counts for the fleet. Nil: each replica counts for itself.
	Redis *fleet.Redis
	// APIDocs opens /openapi.json and /docs.
	APIDocs bool
	// CORSOrigins are the origins of browser clients, "*" for all. Empty: no CORS.
	CORSOrigins []string
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

// Proxy is the handler of the public listener.
type Proxy struct {
	http.Handler
	transports []transport
	gates      []*gate
}

// New checks o and returns the handler. Close releases its connections.
func New(o Options) (*Proxy, error) {
	if o.Glory == nil || o.Interwater == nil || o.Bridge == nil || o.Log == nil {
		return nil, errors.New("proxy: Glory, Interwater, Bridge and Log are required")
	}
	if o.Draining == nil {
		o.Draining = func() bool { return false }
	}
	m, t := newMetrics(o.Tracing != nil), newTracing(o.Tracing)
	limiters, err := newLimiters(o)
	if err != nil {
		return nil, err
	}
	share := upstreamShare(o.MaxInFlight)
	toGlory, toInterwater := newTransport(o.Glory, o.UpstreamSync), newTransport(o.Interwater, o.UpstreamSync)
	gloryGate := newGate(upstreamGlory, share, m, timeLimit{
		next: Traced(o.Tracing, upstreamGlory, toGlory), limit: o.GloryTimeout, upstream: upstreamGlory,
	})
	roomGate := newGate(upstreamInterwater, share, m, newGuard(o.Interwater, o.RoomRoutes, timeLimit{
		next: Traced(o.Tracing, upstreamInterwater, toInterwater), limit: o.InterwaterTimeout, upstream: upstreamInterwater,
	}))
	if err := m.register(o.Metrics, []*gate{gloryGate, roomGate}); err != nil {
		return nil, fmt.Errorf("proxy: register metrics: %w", err)
	}
	glory := &gloryHandler{limiters: limiters, next: newGloryProxy(o, gloryGate)}
	room := &roomHandler{authorizer: o.Bridge, limit: limiters.member, log: o.Log, tracing: t, next: newRoomProxy(o,
		newCoalescer(o.RoomCoalesce, o.RoomCacheTTL, m, &credentialTransport{
			credentials: o.Bridge, reject: o.RejectStatuses, tracing: t, next: roomGate,
		}))}
	origins := newCrossOrigin(o.CORSOrigins)
	pages, err := newAPIDocs(o.APIDocs)
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	routes, err := newRouteTable(o.RoomRoutes, glory, room, pages, origins)
	if err != nil {
		return nil, err
	}
	return &Proxy{
		Handler:    t.server(observe(o, m, origins, recovered(o.Log, limits(o, routes)))),
		transports: []transport{toGlory, toInterwater},
		gates:      []*gate{gloryGate, roomGate},
	}, nil
}

// upstreamShare is how many of the requests in flight may be at one upstream. Where there is room, an eighth is kept for
// the other, so that one that hangs doesn't shut both.
func upstreamShare(maxInFlight int) int {
	if maxInFlight < 1024 {
		return maxInFlight
	}
	return maxInFlight - maxInFlight/8
}

// Circuits tells of each upstream's circuit: closed, half-open or open.
func (p *Proxy) Circuits() map[string]string {
	states := make(map[string]string, len(p.gates))
	for _, g := range p.gates {
		states[g.breaker.Name()] = g.breaker.State().String()
	}
	return states
}

// Close closes idle connections to the upstreams.
func (p *Proxy) Close() {
	for _, t := range p.transports {
		t.CloseIdleConnections()
	}
}
