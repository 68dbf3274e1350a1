package proxy

// This file is the way of a room request that the lane has read: the same steps by the same code as through net/http, on the
// connection's own goroutine and without its types.

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"roomgate/internal/bridge"
	"roomgate/internal/lane"
)

// Why the lane hands a plain request over.
const (
	otherTarget = "path"          // unclean, or not a room's
	otherBearer = "authorization" // none, or more than one
	forgedField = "credential"    // a header that folds to the credential's
	twiceField  = "repeated"      // a header that counts stands twice
	traced      = "tracing"       // spans need net/http's contexts
)

func handOverReasons() []string {
	return []string{otherTarget, otherBearer, forgedField, twiceField, traced}
}

// The headers that count beside the table's, by their place after its rows.
const (
	authorizationRow = len(roomHeaders) + iota
	requestIDRow
	forwardedForRow
	forwardedHostRow
	forwardedProtoRow
	traceparentRow
	tracestateRow
	originRow
	plainRows
)

// plainNames are the names of all rows.
var plainNames = func() (names [plainRows]string) {
	for i := range roomHeaders {
		names[i] = roomHeaders[i].name
	}
	for row, name := range map[int]string{
		authorizationRow: "Authorization", requestIDRow: "X-Request-Id", forwardedForRow: "X-Forwarded-For", forwardedHostRow: "X-Forwarded-Host",
		forwardedProtoRow: "X-Forwarded-Proto", traceparentRow: "Traceparent", tracestateRow: "Tracestate", originRow: "Origin",
	} {
		names[row] = name
	}
	return names
}()

// plainCall is a request of the lane's under way.
type plainCall struct {
	call
	ctx    callContext       // of the request
	leave  func()            // ctx.cancel, made once
	values [plainRows]string // by row; "" where the header is missing
	there  [plainRows]bool
	table  roomValues // parts of values
	lines  fields     // of the answer
	status int
	bytes  int64
}

// of is a header's values, as http.Header has them.
func (c *plainCall) of(row int) []string {
	if !c.there[row] {
		return nil
	}
	return c.values[row : row+1 : row+1]
}

// plainCalls lends what most requests need no memory for.
type plainCalls struct{ pool sync.Pool }

func (p *plainCalls) get() *plainCall {
	c, ok := p.pool.Get().(*plainCall)
	if !ok {
		c = new(plainCall)
		c.leave = c.ctx.cancel
	}
	c.ctx.Context = context.Background()
	return c
}

// put takes a call back. Others may still have its context where the client was watched, or somebody waits for its end.
func (p *plainCalls) put(c *plainCall, watched bool) {
	if watched || c.ctx.isHeld() {
		return
	}
	clear(c.lines)
	up := c.asked.request.Fields
	clear(up[:cap(up)]) // the access token stands behind its length
	*c = plainCall{lines: c.lines[:0], leave: c.leave}
	c.asked.request.Fields = up[:0]
	p.pool.Put(c)
}

// AnswerPlain is lane.Options.Answer: it answers a GET of a room. What it isn't sure about goes to net/http, before anything has
// happened.
func (p *Proxy) AnswerPlain(w *lane.Writer, r *lane.Request) (handedOver string) {
	c := p.plain.get()
	defer func() { p.plain.put(c, r.OnLeave(nil)) }()
	if p.tracing.tracer != nil {
		return traced
	}
	if reason := c.recognise(p.routes, r); reason != "" {
		return reason
	}
	p.metrics.taken.Inc()
	p.beginPlain(c, r)
	defer p.finishPlain(c)
	p.servePlain(c, w, r)
	return ""
}

// HandedOver is lane.Options.HandedOver: it counts.
func (p *Proxy) HandedOver(reason string) {
	p.metrics.lane.WithLabelValues("handed_over", reason).Inc()
}

// recognise reads a request that is surely a room's, or returns why it isn't one.
func (c *plainCall) recognise(routes *routeTable, r *lane.Request) (reason string) {
	for i := range r.Fields {
		f := &r.Fields[i]
		row := plainRow(f.Name)
		switch {
		case row < 0:
			if foldsToCredential(f.Name) {
				return forgedField
			}
			continue
		case c.there[row] && row == forwardedForRow: // HAProxy adds a line to the client's. They are one list
			c.values[row] += "," + f.Value
			continue
		case c.there[row]:
			return twiceField
		}
		c.values[row], c.there[row] = f.Value, true
	}
	if !c.there[authorizationRow] {
		return otherBearer
	}
	var err error
	if c.target, err = splitTarget(r.Target); err != nil {
		return otherTarget
	}
	if c.route, c.room = routes.plainRoom(c.target.path); c.route == "" {
		return otherTarget
	}
	return ""
}

// plainRowsOf are the rows of the names of each length.
var plainRowsOf = func() (rows [20][]int) {
	for row, name := range plainNames {
		rows[len(name)] = append(rows[len(name)], row)
	}
	return rows
}()

// plainRow is the row of a name in any case of letters, or -1.
func plainRow(name string) int {
	if len(name) >= len(plainRowsOf) {
		return -1
	}
	for _, row := range plainRowsOf[len(name)] {
		if known := plainNames[row]; known == name || strings.EqualFold(known, name) {
			return row
		}
	}
	return -1
}

// beginPlain opens the call.
func (p *Proxy) beginPlain(c *plainCall, r *lane.Request) {
	p.metrics.inFlight.Inc()
	p.inFlight.Add(1)
	c.began, c.method, c.timed = time.Now(), http.MethodGet, p.timing
	c.requestID = requestID(c.of(requestIDRow))
	c.span = spanContext(context.Background(), c.of(traceparentRow), c.of(tracestateRow))
	from := arrival{
		peer: plainAddress(r.Peer.Addr()), host: r.Host, encrypted: r.TLS,
		claimedFor: c.of(forwardedForRow), claimedHost: c.of(forwardedHostRow), claimedProto: c.of(forwardedProtoRow),
	}
	c.client, c.forwarded = from.believe(p.trusted)
}

// finishPlain closes the call.
func (p *Proxy) finishPlain(c *plainCall) {
	p.inFlight.Add(-1)
	p.metrics.inFlight.Dec()
	if c.status == 0 || c.refusal == "client_gone" {
		c.status = statusClientGone
	}
	p.record(&c.call, c.status, c.bytes)
}

// servePlain is what comes between begin and finish. A panic becomes a 500, or breaks the answer off where it has begun.
func (p *Proxy) servePlain(c *plainCall, w *lane.Writer, r *lane.Request) {
	defer func() {
		if cause := recover(); cause != nil {
			p.log.Error("panic", "request_id", c.requestID, "panic", fmt.Sprint(cause), "stack", string(debug.Stack()))
			if c.status == 0 {
				p.failPlain(c, w, r, errPanic)
			}
		}
	}()
	if p.inFlight.Load() > p.bounds.inFlight {
		c.route, c.room = "", "" // as through net/http, which looks for none then
		p.failPlain(c, w, r, errOverloaded)
		return
	}
	r.OnLeave(c.leave)
	err := p.room.prepare(&c.ctx, c)
	if err != nil {
		p.failPlain(c, w, r, err)
		return
	}
	p.awaitOthers()
	c.borrows = true
	got, err := p.room.fetcher.fetch(&c.ctx, &c.call)
	if err != nil {
		p.failPlain(c, w, r, err)
		return
	}
	c.upstream, c.tokenSource, c.status = upstreamInterwater, got.source, got.status
	p.headPlain(c, w, r, got.header)
	p.awaitOthers()
	if got.rest == nil {
		c.bytes, c.failure = int64(len(got.text)), w.Whole(got.text)
		p.room.fetcher.texts.giveBack(got)
		return
	}
	defer func() { _ = got.rest.Close() }()
	c.bytes, c.failure = w.Stream(got.text, got.rest)
}

// busy is how many requests are to be under way for each core before awaitOthers waits.
const busy = 8

// awaitOthers lets the requests that are ready come as far as this one, before it writes to a socket. What many do one after another finds
// its code in the core's cache, and their writes come so close together that the reader's core, which falls asleep when it has nothing
// to do, is woken once for all of them.
func (p *Proxy) awaitOthers() {
	if p.inFlight.Load() > p.busy {
		runtime.Gosched()
	}
}

// prepare admits the member and writes the question.
func (h *roomHandler) prepare(ctx context.Context, c *plainCall) error {
	stop := c.timer(&c.took.authenticate)
	err := h.admission.admit(ctx, &c.call, c.of(authorizationRow))
	stop()
	if err != nil {
		return err
	}
	if c.grant.Role == bridge.RoleOwner {
		audit(h.log, "owner_use", "", &c.call)
	} else if h.redacts {
		c.there[rowOf("Accept-Encoding")] = false // what is compressed can't be read
	}
	for i := range c.table {
		c.table[i] = c.of(i)
	}
	c.ask(&c.table)
	return nil
}

// failPlain answers with err, or not at all where the client has left.
func (p *Proxy) failPlain(c *plainCall, w *lane.Writer, r *lane.Request, err error) {
	refusal, lines := c.refuse(err, c.of(rowOf("Accept-Language")))
	if c.status = refusal.status; c.status == statusClientGone {
		return
	}
	p.headPlain(c, w, r, lines)
	c.bytes = int64(len(refusal.body))
	_ = w.Whole(refusal.body) // the lane notices a client that has gone
}

// headPlain writes the head of an answer, its lines sorted by name as net/http sends them.
func (p *Proxy) headPlain(c *plainCall, w *lane.Writer, r *lane.Request, own fields) {
	c.lines = append(append(c.lines[:0], own...), p.origins.lines(c.of(originRow))...)
	c.lines = p.everyAnswers(c.lines, &c.call, r.TLS)
	c.lines.sort()
	w.Begin(c.status)
	for i := range c.lines {
		w.Line(c.lines[i].Name, c.lines[i].Value)
	}
}
