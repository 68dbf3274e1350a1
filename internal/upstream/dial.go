package upstream

// This file connects to an upstream whose name may stand for several addresses, of which some may be dead.

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"
)

const (
	// connectTimeout bounds the connecting to each address. A lost SYN is sent again after a second, and shall not fail a call.
	connectTimeout = 2 * time.Second
	// nextAddress is when the next address is tried beside one that hasn't answered yet (RFC 8305 has 250 ms).
	nextAddress = 250 * time.Millisecond
)

// dialer connects to the one host of an upstream. It is safe for concurrent use.
type dialer struct{ names names }

func newDialer(lookup lookup) *dialer { return &dialer{names{lookup: lookup}} }

// dial connects to the first address that answers. net.Dialer would try those of a family one after the other and within
// one time for all, which the first uses up that swallows what it is sent: with one of two addresses dead, every second
// call failed. It would also wait for both families' addresses. A connection that took too long is not
// context.DeadlineExceeded unless that was ctx's own deadline.
func (d *dialer) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	if literal, err := netip.ParseAddr(host); err == nil {
		return dialOne(ctx, network, literal, port)
	}
	var asked *answer
	r := race{network: network, port: port, queue: d.names.known(), sources: []source{
		func(ctx context.Context) ([]netip.Addr, error) {
			asked = d.names.ask(host)
			select {
			case <-asked.some:
				return asked.addrs, asked.err
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		},
		func(ctx context.Context) ([]netip.Addr, error) {
			select {
			case <-asked.all:
				return asked.rest, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		},
	}}
	conn, winner, err := r.run(ctx)
	if err == nil || ctx.Err() == nil {
		d.names.drop(slices.DeleteFunc(r.tried, func(addr netip.Addr) bool { return addr == winner }))
	}
	return conn, err
}

// source has further addresses, or no more of them. It may block until ctx ends.
type source func(ctx context.Context) ([]netip.Addr, error)

// race connects to addresses in their order, to each as soon as those before have failed or the last of them is late. The
// sources are asked one after the other when no address is left.
type race struct {
	network, port string
	queue         []netip.Addr
	sources       []source

	tried   []netip.Addr
	running int  // connections under way
	asking  bool // a source
	endings chan ending
	err     error // what to tell if no address is left: of a source that failed, else the first one's
}

// ending is how a connection, or asking a source, came out.
type ending struct {
	source bool
	addrs  []netip.Addr // more
	addr   netip.Addr
	conn   net.Conn
	err    error
}

// run returns the first connection, and to whom it is.
func (r *race) run(ctx context.Context) (net.Conn, netip.Addr, error) {
	racing, stop := context.WithCancel(ctx)
	defer stop() // those that come too late close what they have
	r.endings = make(chan ending)
	for {
		if ctx.Err() != nil {
			return nil, netip.Addr{}, ctx.Err()
		}
		late := r.step(racing)
		if r.running == 0 && !r.asking {
			return nil, netip.Addr{}, r.err
		}
		select {
		case e := <-r.endings:
			if e.conn != nil {
				return e.conn, e.addr, nil
			}
			r.took(e)
		case <-late:
		case <-ctx.Done():
		}
	}
}

// step begins what is next: an address, else a source. late is when the step after it may begin; nil: when something ends.
func (r *race) step(ctx context.Context) (late <-chan time.Time) {
	if len(r.queue) > 0 {
		addr := r.queue[0]
		r.queue, r.tried, r.running = r.queue[1:], append(r.tried, addr), r.running+1
		go func() {
			conn, err := dialOne(ctx, r.network, addr, r.port)
			r.report(ctx, ending{addr: addr, conn: conn, err: err})
		}()
		return time.After(nextAddress)
	}
	if len(r.sources) > 0 && !r.asking {
		ask := r.sources[0]
		r.sources, r.asking = r.sources[1:], true
		go func() {
			addrs, err := ask(ctx)
			r.report(ctx, ending{source: true, addrs: addrs, err: err})
		}()
	}
	return nil
}

// report hands over an ending, or closes a connection that nobody needs any more.
func (r *race) report(ctx context.Context, e ending) {
	select {
	case r.endings <- e:
	case <-ctx.Done():
		if e.conn != nil {
			_ = e.conn.Close()
		}
	}
}

// took takes note of an ending that is no connection.
func (r *race) took(e ending) {
	if !e.source {
		r.running--
		if r.err == nil {
			r.err = e.err
		}
		return
	}
	r.asking = false
	if e.err != nil {
		r.err = ownTimeout(context.Background(), "lookup", r.network, nil, e.err)
	}
	for _, addr := range e.addrs {
		if !slices.Contains(r.tried, addr) && !slices.Contains(r.queue, addr) {
			r.queue = append(r.queue, addr)
		}
	}
}

// dialOne connects to one address.
func dialOne(ctx context.Context, network string, addr netip.Addr, port string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: connectTimeout, KeepAlive: 15 * time.Second}
	conn, err := dialer.DialContext(ctx, network, net.JoinHostPort(addr.Unmap().String(), port))
	if err != nil {
		return nil, ownTimeout(ctx, "dial", network, &net.IPAddr{IP: addr.AsSlice(), Zone: addr.Zone()}, err)
	}
	return conn, nil
}

// ownTimeout tells a limit of this file's from the caller's deadline, for which net's error would be taken too.
func ownTimeout(ctx context.Context, op, network string, addr net.Addr, err error) error {
	deadline, limited := ctx.Deadline()
	callers := ctx.Err() != nil || limited && !time.Now().Before(deadline) // net goes by its own clock
	if !callers && errors.Is(err, context.DeadlineExceeded) {
		return &net.OpError{Op: op, Net: network, Addr: addr, Err: os.ErrDeadlineExceeded}
	}
	return err
}
