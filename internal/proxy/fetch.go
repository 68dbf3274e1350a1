package proxy

// The fetcher is the only code that asks Interwater about rooms. If Interwater rejects the access token, the fetcher sends the request
// again with another one.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"roomgate/internal/bridge"
	"roomgate/internal/upstream"
)

const (
	// maxRoomAnswer is the longest answer, in bytes, that a room route passes on.
	maxRoomAnswer = 8 << 20
	// smallAnswer is the longest answer, in bytes, that is read whole before any of it is passed on. If the upstream breaks off such
	// an answer, the client gets a 502 and not a broken connection.
	smallAnswer = 64 << 10
)

// credentials supplies access tokens. *bridge.Bridge is one.
type credentials interface {
	Credential(context.Context, bridge.Grant) (bridge.Credential, error)
	Reject(ctx context.Context, c, before bridge.Credential) error
}

// asker sends a request to Interwater. *upstream.Upstream is one.
type asker interface {
	Ask(ctx context.Context, r *upstream.Request) (*upstream.Answer, error)
}

// fetcher gets answers to room requests. It is safe for concurrent use.
type fetcher struct {
	interwater  asker
	guard       *guard
	credentials credentials
	reject      []int      // statuses that mean "access token rejected"
	redaction   *redaction // nil: answers aren't redacted
	sharing     *sharing   // nil: each request makes its own call
	tracing     tracing
	calls       prometheus.Counter // answers to calls, neither shared nor kept
	share       int64              // how many requests may wait for an answer at once; 0: all
	waiting     atomic.Int64       // how many requests wait
	lender      lender
}

func newFetcher(o Options, t tracing, m *metrics) *fetcher {
	f := &fetcher{
		interwater: o.Interwater, guard: newGuard(o.RoomRoutes), credentials: o.Bridge, reject: o.RejectStatuses,
		redaction: newRedaction(o.RedactFields), sharing: newSharing(o.RoomCoalesce, o.RoomCacheTTL, o.InterwaterTimeout, m),
		tracing: t, calls: m.answers.WithLabelValues("upstream"), share: int64(o.InterwaterShare),
	}
	if f.sharing != nil {
		// While the circuit isn't closed, the only calls are probes. A member who joined a hanging probe would wait for its timeout.
		// The member's own call fails at once.
		f.sharing.failing = func() bool { return o.Interwater.Circuit() != "closed" }
	}
	return f
}

// RoundTrip implements http.RoundTripper for ReverseProxy.
func (f *fetcher) RoundTrip(r *http.Request) (*http.Response, error) {
	c := callOf(r.Context())
	// ReverseProxy's body can be closed without waiting for the client.
	c.asked.request.Body, c.asked.request.Length = r.Body, r.ContentLength
	got, err := f.fetch(r.Context(), c)
	if err != nil {
		return nil, err
	}
	c.upstream, c.tokenSource, c.answered = upstreamInterwater, got.source, got.header
	response := got.response(r)
	if got.rest != nil {
		response.Body = &notedBody{response.Body, c}
	}
	return response, nil
}

// fetch returns the answer to the call's question. It is a kept or shared answer, or that of a new call to Interwater. The table of
// errors knows the error. The slots of package upstream limit only the calls. fetch also limits the requests that wait for another's
// call. If that call hangs, they would otherwise fill the gateway.
func (f *fetcher) fetch(ctx context.Context, c *call) (*answer, error) {
	defer f.waiting.Add(-1)
	if f.waiting.Add(1) > f.share && f.share > 0 {
		return nil, errOverloaded
	}
	own := func(ctx context.Context) (*answer, error) { return f.ask(ctx, c) }
	switch {
	case f.sharing == nil:
	case c.asked.method == http.MethodGet:
		return f.sharing.get(ctx, &c.asked.question, own)
	case c.asked.method != http.MethodHead:
		// The request may change something. Whoever asks after it must not get an answer from before it.
		f.sharing.forget()
		defer f.sharing.forget()
	}
	return own(ctx)
}

// mostSent is how often a request is sent at most: with a token from memory, with one from the fleet's Redis, and with a newly
// fetched one.
const mostSent = 3

// ask makes the call. If Interwater rejects the access token, it calls again with another one. It never returns a rejection as an
// answer: the client would think that its own token was rejected, and log the member out.
func (f *fetcher) ask(ctx context.Context, c *call) (*answer, error) {
	var rejected bridge.Credential // the last one
	for sent := 1; ; sent++ {
		credential, err := f.credential(ctx, c)
		if err != nil {
			return nil, err
		}
		response, err := f.send(ctx, c, credential)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(f.reject, response.Status) {
			return f.read(c, response, credential)
		}
		discard(response)
		if err := f.credentials.Reject(ctx, credential, rejected); err != nil {
			return nil, err
		}
		if sent == mostSent || c.asked.method != http.MethodGet && c.asked.method != http.MethodHead {
			return nil, errRejectedTwo
		}
		rejected = credential
	}
}

// credential returns the access token for the member's grant.
func (f *fetcher) credential(ctx context.Context, c *call) (bridge.Credential, error) {
	defer c.timer(&c.took.token)()
	ctx, end := f.tracing.phase(ctx, "token")
	credential, err := f.credentials.Credential(ctx, c.grant)
	f.tracing.tell(ctx, "roomgate.token_source", credential.Source)
	end(err)
	return credential, err
}

// send sends the request once.
func (f *fetcher) send(ctx context.Context, c *call, credential bridge.Credential) (*upstream.Answer, error) {
	r := &c.asked.request
	if path, _, _ := strings.Cut(r.Target, "?"); !f.guard.admits(r.Method, path) {
		return nil, errGuard
	}
	c.upstream, c.tokenSource = upstreamInterwater, credential.Source
	before := r.Fields
	r.Fields = append(before, upstream.Field{Name: credentialHeader, Value: credential.Value()})
	defer func() { r.Fields = before }()
	defer c.timer(&c.took.upstream)()
	return f.interwater.Ask(ctx, r)
}

// read turns Interwater's answer into the one for members. It keeps the headers of the allow-list, and redacts the body unless the
// member is an owner. It reads a small answer whole and refuses one that contains the access token. It doesn't search the rest of a
// longer answer.
func (f *fetcher) read(c *call, response *upstream.Answer, credential bridge.Credential) (_ *answer, err error) {
	defer func() {
		if err != nil {
			_ = response.Body.Close()
		}
	}()
	if response.Status >= 300 && response.Status < 400 && response.Status != http.StatusNotModified {
		return nil, errRedirect
	}
	if response.Length > maxRoomAnswer {
		return nil, errAnswerSize
	}
	got := f.lender.answer(c.borrows)
	got.status, got.length, got.shared, got.source = response.Status, response.Length, mayShare(response.Fields), credential.Source
	got.header = falling(got.few[:], response.Fields)
	if got.lent && response.Text == nil && response.Length > 0 && response.Length <= smallAnswer {
		got.memory = f.lender.text()
	}
	if err := got.fill(c.asked.method, response); err != nil {
		return nil, err
	}
	if contains(got.text, credential.Value()) {
		return nil, errEchoed
	}
	if f.redaction != nil && c.grant.Role != bridge.RoleOwner {
		if err := f.redact(got, c.asked.method); err != nil {
			return nil, err
		}
	}
	got.measure(c.asked.method)
	f.calls.Inc()
	return got, nil
}

// contains reports whether text contains the token. It searches for the dots of a JWT, which are rare in JSON. bytes.Contains searches
// for the first letter and takes twice as long.
func contains(text []byte, token string) bool {
	dot := strings.IndexByte(token, '.')
	if dot < 0 {
		return bytes.Contains(text, []byte(token))
	}
	for from := dot; from < len(text); {
		i := bytes.IndexByte(text[from:], '.')
		if i < 0 {
			return false
		}
		if begin := from + i - dot; bytes.HasPrefix(text[begin:], []byte(token)) {
			return true
		}
		from += i + 1
	}
	return false
}

// measure corrects Content-Length if the whole body is in memory and has another length. It leaves answers without a body alone.
func (a *answer) measure(method string) {
	bodiless := method == http.MethodHead || a.status == http.StatusNoContent || a.status == http.StatusNotModified
	if a.rest != nil || bodiless {
		return
	}
	var digits [20]byte
	if length := strconv.AppendInt(digits[:0], int64(len(a.text)), 10); a.header.get("Content-Length") != string(length) {
		a.header.set("Content-Length", string(length))
	}
}

// fill reads a small body whole. If the body is longer, a.rest has what is left of it.
func (a *answer) fill(method string, response *upstream.Answer) (err error) {
	switch {
	case response.Text != nil:
		a.text = response.Text
		return nil
	case method == http.MethodHead || response.Length == 0:
		return response.Body.Close()
	case response.Length > smallAnswer:
	case response.Length > 0:
		if a.memory != nil {
			a.text = a.memory[:response.Length]
		} else {
			a.text = make([]byte, response.Length)
		}
		if _, err := io.ReadFull(response.Body, a.text); err != nil {
			return brokenOff(err)
		}
		return response.Body.Close()
	default:
		if a.text, err = io.ReadAll(io.LimitReader(response.Body, smallAnswer+1)); err != nil {
			return brokenOff(err)
		}
		if len(a.text) <= smallAnswer {
			a.length = int64(len(a.text))
			return response.Body.Close()
		}
	}
	a.rest = &boundedBody{response.Body, maxRoomAnswer - int64(len(a.text))}
	return nil
}

// brokenOff returns the error for a body that an upstream didn't send whole. err is the error of reading it.
func brokenOff(err error) error {
	if errors.Is(err, upstream.ErrFailed) || errors.Is(err, upstream.ErrTimeout) || errors.Is(err, context.Canceled) {
		return err
	}
	return fmt.Errorf("%w: answer broken off: %w", upstream.ErrFailed, err)
}

// redact removes fields from an answer that nobody else has yet.
func (f *fetcher) redact(got *answer, method string) (err error) {
	empty := got.rest == nil && len(got.text) == 0
	skip, err := f.redaction.check(got.status, &got.header, method == http.MethodHead || empty)
	if skip || err != nil {
		return err
	}
	if got.rest == nil {
		got.text, err = f.redaction.whole(got.text)
		got.length = int64(len(got.text))
		return err
	}
	whole := got.rest
	got.rest = readCloser{f.redaction.stream(io.MultiReader(bytes.NewReader(got.text), whole)), whole}
	got.text, got.length = nil, -1
	return nil
}

// discard drops an answer. If little is left to read, its connection can be used again.
func discard(response *upstream.Answer) {
	_, _ = io.CopyN(io.Discard, response.Body, 4<<10)
	_ = response.Body.Close()
}

// boundedBody fails when an answer is longer than its limit. The client's answer then breaks off, and never looks complete.
type boundedBody struct {
	io.ReadCloser
	left int64
}

// Read implements io.Reader.
func (b *boundedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, errAnswerSize
	}
	return n, err
}

// notedBody records in the call the error that breaks off its answer.
type notedBody struct {
	io.ReadCloser
	call *call
}

// Read implements io.Reader.
func (b *notedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		b.call.failure = err
	}
	return n, err
}

// copyBuffer is what ReverseProxy copies an answer through.
type copyBuffer [16 << 10]byte

// bufferPool lends ReverseProxy its copy buffers. Allocating them was its largest single cost.
type bufferPool struct{ pool sync.Pool }

func newBufferPool() *bufferPool {
	return &bufferPool{sync.Pool{New: func() any { return new(copyBuffer) }}}
}

// Get implements httputil.BufferPool.
func (p *bufferPool) Get() []byte { return p.pool.Get().(*copyBuffer)[:] }

// Put implements httputil.BufferPool.
func (p *bufferPool) Put(b []byte) { p.pool.Put((*copyBuffer)(b)) }
