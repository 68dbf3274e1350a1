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

	"roomgate/internal/bridge"
)

// Options configures the gateway's handler. Fields are required unless said otherwise.
type Options struct {
	Glory, Interwater               *url.URL
	GloryTimeout, InterwaterTimeout time.Duration
	// RoomRoutes are the ServeMux patterns that lead to Interwater.
	RoomRoutes []string
	// RejectStatuses are Interwater's answers that mean "access token rejected".
	RejectStatuses []int
	// Bridge authenticates members and supplies credentials.
	Bridge *bridge.Bridge
	// TrustedProxies are the peers whose X-Forwarded headers are believed. Empty: none.
	TrustedProxies []netip.Prefix
	// MaxBodyBytes, MaxHeaderBytes and MaxInFlight bound what clients may send and how many may at once.
	MaxBodyBytes   int64
	MaxHeaderBytes int
	MaxInFlight    int
	// Draining reports that the process is about to stop: answers then ask clients to use another connection. Nil: never.
	Draining func() bool
	Log      *slog.Logger
	// Metrics takes the package's collectors. Nil: they are not registered.
	Metrics prometheus.Registerer
}

// Proxy is the handler of the public listener.
type Proxy struct {
	http.Handler
	transports []*http.Transport
}

// New checks o and returns the handler. Close releases its connections.
func New(o Options) (*Proxy, error) {
	if o.Glory == nil || o.Interwater == nil || o.Bridge == nil || o.Log == nil {
		return nil, errors.New("proxy: Glory, Interwater, Bridge and Log are required")
	}
	if o.Draining == nil {
		o.Draining = func() bool { return false }
	}
	m, err := newMetrics(o.Metrics)
	if err != nil {
		return nil, fmt.Errorf("proxy: register metrics: %w", err)
	}
	toGlory, toInterwater := bridge.NewTransport(), bridge.NewTransport()
	glory := newGloryProxy(o, timeLimit{next: toGlory, limit: o.GloryTimeout, upstream: upstreamGlory})
	room := &roomHandler{authorizer: o.Bridge, next: newRoomProxy(o, &credentialTransport{
		credentials: o.Bridge,
		reject:      o.RejectStatuses,
		next:        timeLimit{next: toInterwater, limit: o.InterwaterTimeout, upstream: upstreamInterwater},
	})}
	routes, err := newRouteTable(o.RoomRoutes, glory, room)
	if err != nil {
		return nil, err
	}
	return &Proxy{
		Handler:    observe(o, m, recovered(o.Log, limits(o, routes))),
		transports: []*http.Transport{toGlory, toInterwater},
	}, nil
}

// Close closes idle connections to the upstreams.
func (p *Proxy) Close() {
	for _, t := range p.transports {
		t.CloseIdleConnections()
	}
}
