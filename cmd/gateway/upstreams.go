package main

import (
	"net/url"
	"time"

	"go.opentelemetry.io/otel/trace"

	"roomgate/internal/config"
	"roomgate/internal/upstream"
)

// upstreams are the two services behind the gateway.
type upstreams struct{ glory, interwater *upstream.Upstream }

// newUpstreams makes both upstreams and opens no connection. metrics and spans may be nil. The caller closes the upstreams.
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

// upstreamShare returns how many of the requests in flight may wait for one upstream. From 1,024 on, it keeps an eighth for the other
// upstream, so that one that hangs doesn't block both.
func upstreamShare(maxInFlight int) int {
	if maxInFlight < 1024 {
		return maxInFlight
	}
	return maxInFlight - maxInFlight/8
}

// circuits returns the state of each upstream's circuit by its name: closed, half-open or open.
func (u upstreams) circuits() map[string]string {
	return map[string]string{"glory": u.glory.Circuit(), "interwater": u.interwater.Circuit()}
}

// close closes the idle connections.
func (u upstreams) close() {
	u.glory.Close()
	u.interwater.Close()
}
