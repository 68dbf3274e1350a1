package main

// This file makes the upstreams out of settings.

import (
	"net/url"
	"time"

	"go.opentelemetry.io/otel/trace"

	"roomgate/internal/config"
	"roomgate/internal/upstream"
)

// upstreams are the two services behind the gateway.
type upstreams struct{ glory, interwater *upstream.Upstream }

// newUpstreams calls nobody. The caller closes them. Nil metrics and spans: there are none.
func newUpstreams(cfg *config.Config, metrics *upstream.Metrics, spans trace.TracerProvider) (u upstreams, err error) {
	make := func(name string, base *url.URL, timeout time.Duration) (*upstream.Upstream, error) {
		return upstream.New(upstream.Options{
			Name: name, Base: base, Timeout: timeout, Slots: upstreamShare(cfg.MaxInFlight), Direct: cfg.FastLane && name == "interwater", Metrics: metrics, Tracing: spans,
		})
	}
	if u.glory, err = make("glory", cfg.GloryURL, cfg.GloryTimeout); err != nil {
		return u, err
	}
	u.interwater, err = make("interwater", cfg.InterwaterURL, cfg.InterwaterTimeout)
	return u, err
}

// upstreamShare is how many of the requests in flight may be at one upstream, or wait for its answers. Where there is room, an
// eighth is kept for the other, so that one that hangs doesn't shut both.
func upstreamShare(maxInFlight int) int {
	if maxInFlight < 1024 {
		return maxInFlight
	}
	return maxInFlight - maxInFlight/8
}

// circuits are the states of their circuits, by name: closed, half-open or open.
func (u upstreams) circuits() map[string]string {
	return map[string]string{"glory": u.glory.Circuit(), "interwater": u.interwater.Circuit()}
}

// close closes their idle connections.
func (u upstreams) close() {
	u.glory.Close()
	u.interwater.Close()
}
