package upstream

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/semaphore"
)

// Options configures an Upstream. Fields are required unless said otherwise.
type Options struct {
	// Name is used in metrics, spans, errors and logs.
	Name string
	// Base is the scheme and host that requests may go to. Ask puts its path before each target; RoundTrip ignores it.
	Base *url.URL
	// Timeout bounds one call, from its start until the last byte of the answer. After the header, only time spent in Read of the
	// answer's body counts.
	Timeout time.Duration
	// Slots is the maximum number of concurrent calls.
	Slots int
	// Direct lets Ask send GET and HEAD without a body in the caller's goroutine, unless Tracing is set. If false, all requests
	// go through net/http.
	Direct bool
	// Metrics counts the calls. Nil: they aren't counted.
	Metrics *Metrics
	// Tracing receives the spans. Nil: there are no spans.
	Tracing trace.TracerProvider
}

// Upstream is one upstream service. It is safe for concurrent use.
type Upstream struct {
	name      string
	span      string // the spans' name
	base      *url.URL
	timeout   time.Duration
	transport *pooled
	direct    *straight // nil: Ask goes through transport
	slots     *semaphore.Weighted
	circuit   *circuit
	metrics   ofUpstream
	tracer    trace.Tracer // nil: no spans
}

// New checks o and returns an Upstream. It makes no call. Close releases its connections.
func New(o Options) (*Upstream, error) {
	if o.Name == "" || o.Base == nil || o.Base.Host == "" || o.Base.Scheme != "http" && o.Base.Scheme != "https" {
		return nil, errors.New("upstream: Name and Base are required, and Base with a host and the scheme http or https")
	}
	if o.Timeout <= 0 || o.Slots <= 0 {
		return nil, errors.New("upstream: Timeout and Slots must be over 0")
	}
	return newUpstream(o, newHTTPTransport())
}

// newUpstream returns an Upstream that uses the settings of h.
func newUpstream(o Options, h *http.Transport) (*Upstream, error) {
	u := &Upstream{
		name: o.Name, span: o.Name, base: o.Base, timeout: o.Timeout, transport: newPooled(h, maxConnectionAge),
		slots: semaphore.NewWeighted(int64(o.Slots)), circuit: newCircuit(),
	}
	if o.Direct {
		u.direct = newStraight(o.Base, h)
	}
	if o.Metrics == nil {
		var err error
		if o.Metrics, err = NewMetrics(nil); err != nil {
			return nil, err
		}
	}
	u.metrics = o.Metrics.of(u)
	if o.Tracing != nil {
		u.tracer = o.Tracing.Tracer("roomgate/internal/upstream")
	}
	return u, nil
}

// With returns a view of the upstream for calls of one kind. It shares connections, slots and circuit. Its spans are named span,
// and timeout replaces Options.Timeout.
func (u *Upstream) With(span string, timeout time.Duration) *Upstream {
	view := *u
	view.span, view.timeout = span, timeout
	return &view
}

// Base returns the upstream's URL. The caller must not change it.
func (u *Upstream) Base() *url.URL { return u.base }

// Circuit returns the state of the circuit: "closed", "half-open" or "open".
func (u *Upstream) Circuit() string { return u.circuit.current(time.Now()) }

// Close closes the idle connections now, and those in use when their answers end, unless another request is made before. The
// Upstream stays usable.
func (u *Upstream) Close() {
	u.transport.http.CloseIdleConnections()
	if u.direct != nil {
		u.direct.idle.close()
	}
}

// RoundTrip implements http.RoundTripper: it sends the request, follows no redirect, and returns the answer. See the package
// documentation. The caller closes the answer's body. RoundTrip's error, and that of a Read of the body, wraps ErrFailed,
// ErrTimeout, ErrBusy, ErrCircuit or ErrBody, or is the error of the request's context. The error for a request to another scheme
// or host wraps none of them.
func (u *Upstream) RoundTrip(r *http.Request) (*http.Response, error) {
	c := &call{upstream: u, ctx: r.Context()}
	err := errElsewhere
	if r.URL != nil && r.URL.Scheme == u.base.Scheme && r.URL.Host == u.base.Host {
		err = u.admit(c)
	}
	if err != nil {
		if r.Body != nil {
			_ = r.Body.Close()
		}
		return nil, fmt.Errorf("%s: %w", u.name, err)
	}
	sent := r
	if u.tracer != nil {
		sent, c.span = u.traced(r)
	}
	var body *requestBody
	if r.Body != nil && r.Body != http.NoBody && r.GetBody == nil { // a body with GetBody is in memory: it can't fail
		body = newRequestBody(r.Body)
		watched := *sent
		watched.Body = body
		sent = &watched
	}
	returned := false
	defer func() {
		if !returned { // a panic
			c.end(nothing, "client", nil)
		}
	}()
	answer, err := u.transport.send(sent, u.timeout)
	u.metrics.times.Observe(time.Since(c.began).Seconds())
	if err == nil {
		if err = checked(answer.StatusCode); err != nil {
			_ = answer.Body.Close()
		}
	}
	returned = true
	if err != nil {
		return nil, c.failed(err, body)
	}
	answer.Request = r
	return c.answered(answer), nil
}

// admit begins the call, or returns ErrBusy or ErrCircuit.
func (u *Upstream) admit(c *call) error {
	if !u.slots.TryAcquire(1) {
		return ErrBusy
	}
	c.began = time.Now()
	var ok bool
	if c.ticket, ok = u.circuit.begin(c.began); !ok {
		u.slots.Release(1)
		return ErrCircuit
	}
	return nil
}

// checked refuses statuses that net/http accepts but that are no answer.
func checked(status int) error {
	switch {
	case status == http.StatusSwitchingProtocols:
		return errSwitch
	case status < 100 || status > 599:
		return errStatus
	}
	return nil
}
