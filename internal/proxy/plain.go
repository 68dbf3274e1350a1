package proxy

// The lane's room requests take the same steps, by the same code, as those through net/http. They run on the connection's own
// goroutine and use none of net/http's types.

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

// Reasons to hand a plain request over to net/http.
const (
	otherTarget = "path"          // the target isn't clean, or isn't a room's
	otherBearer = "authorization" // there is no Authorization
	forgedField = "credential"    // a header's name folds to the credential header's
	twiceField  = "repeated"      // a header in plainNames is repeated
	traced      = "tracing"       // spans need net/http's contexts
)

func handOverReasons() []string {
	return []string{otherTarget, otherBearer, forgedField, twiceField, traced}
}

// The rows of further headers that matter. They follow the rows of roomHeaders.
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

// plainNames are the header names of all rows.
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

// plainCall is a request that the lane has read, with its call.
type plainCall struct {
	call
	ctx    callContext       // the request's context
	leave  func()            // ctx.cancel, made once to save an allocation
	values [plainRows]string // by row; "" if the header is missing
	there  [plainRows]bool   // by row; false if the header is missing
	table  roomValues        // slices of values
	lines  fields            // the answer's header
	status int               // 0 until the answer begins
	bytes  int64             // of the answer's body
}

// of returns the values of the header in a row, in the form of http.Header.
func (c *plainCall) of(row int) []string {
	if !c.there[row] {
		return nil
	}
	return c.values[row : row+1 : row+1]
}

// plainCalls reuses the memory of plainCall.
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

// put takes a call back. It drops the call if somebody may still use its context. That is so if the connection was watched, or if
// somebody waits for the end of the context.
func (p *plainCalls) put(c *plainCall, watched bool) {
	if watched || c.ctx.isHeld() {
		return
	}
	clear(c.lines)
	c.asked.request.Reset()
	*c = plainCall{
		call: call{asked: asked{request: c.asked.request}}, lines: c.lines[:0], leave: c.leave,
		ctx: callContext{one: afterEnd{stopFunc: c.ctx.one.stopFunc}},
	}
	p.pool.Put(c)
}

// AnswerPlain is lane.Options.Answer: it answers a GET of a room and returns "". If it isn't sure about a request, it returns the
// reason and has done nothing, so net/http can take the request.
func (p *Proxy) AnswerPlain(w *lane.Writer, r *lane.Request) (handedOver string) {
	c := p.plain.get()
	defer func() {
		p.plain.put(c, r.OnLeave(nil))
		p.awaitOthers()
	}()
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

// HandedOver is lane.Options.HandedOver: it counts requests that the lane hands over, by reason.
func (p *Proxy) HandedOver(reason string) {
	p.metrics.lane.WithLabelValues("handed_over", reason).Inc()
}

// recognise reads a room request. It returns "", or the reason why net/http has to take the request.
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
		case c.there[row] && row == forwardedForRow: // HAProxy adds a line after the client's; together they are one list
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

// plainRowsOf are the rows by the length of their header names.
var plainRowsOf = func() [][]int {
	longest := 0
	for _, name := range plainNames {
		longest = max(longest, len(name))
	}
	rows := make([][]int, longest+1)
	for row, name := range plainNames {
		rows[len(name)] = append(rows[len(name)], row)
	}
	return rows
}()

// plainRow returns the row of a header name, in upper or lower case, or -1.
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
		peer: plainAddress(r.Peer.Addr()), peerText: r.PeerText, host: r.Host, encrypted: r.TLS,
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

// servePlain does what comes between begin and finish. A panic becomes a 500. If the answer has begun, a panic breaks it off.
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
		c.route, c.room = "", "" // as through net/http, which then doesn't look for a route
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
		p.room.fetcher.lender.giveBack(got)
		return
	}
	defer func() { _ = got.rest.Close() }()
	c.bytes, c.failure = w.Stream(got.text, got.rest)
}

// busy is how many requests per core must be in flight before awaitOthers yields.
const busy = 8

// awaitOthers lets other runnable requests catch up with this one, before it writes to a socket and before it waits for its client's
// next request. Requests that take the same step one after another find its code in the core's cache. Their writes come close
// together, so a sleeping reader wakes once for all of them. And meanwhile the next request may have come, so it is read at once.
//
// A wait of the same kind for the upstream's answer would be one too many: with always something to run, Go's scheduler would look
// for other requests only every 10 ms.
func (p *Proxy) awaitOthers() {
	if p.inFlight.Load() > p.busy {
		runtime.Gosched()
	}
}

// prepare admits the member and fills c.asked.
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
		c.there[rowOf("Accept-Encoding")] = false // a compressed answer can't be redacted
	}
	for i := range c.table {
		c.table[i] = c.of(i)
	}
	c.ask(&c.table)
	return nil
}

// failPlain answers with err. It doesn't answer a client that has left.
func (p *Proxy) failPlain(c *plainCall, w *lane.Writer, r *lane.Request, err error) {
	refusal, lines := c.refuse(err, c.of(rowOf("Accept-Language")))
	if c.status = refusal.status; c.status == statusClientGone {
		return
	}
	p.headPlain(c, w, r, lines)
	c.bytes = int64(len(refusal.body))
	_ = w.Whole(refusal.body) // the lane notices a client that has gone
}

// headPlain writes the head of an answer. It sorts the lines by name, as net/http does.
func (p *Proxy) headPlain(c *plainCall, w *lane.Writer, r *lane.Request, own fields) {
	c.lines = append(append(c.lines[:0], own...), p.origins.lines(c.of(originRow))...)
	c.lines = p.everyAnswers(c.lines, &c.call, r.TLS)
	c.lines.sort()
	w.Begin(c.status)
	for i := range c.lines {
		w.Line(c.lines[i].Name, c.lines[i].Value)
	}
}
