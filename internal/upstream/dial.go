package upstream

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
	// connectTimeout bounds the attempt to connect to one address. A lost SYN is resent after a second, and must not fail a call.
	connectTimeout = 2 * time.Second
	// nextAddress is how long an address may stay silent before the next one is tried beside it (RFC 8305: 250 ms).
	nextAddress = 250 * time.Millisecond
)

// dialer connects to the host of one upstream, whose name may have several addresses, some of them dead. It is safe for
// concurrent use.
type dialer struct{ names names }

func newDialer(lookup lookup) *dialer { return &dialer{names{lookup: lookup}} }

// dial connects to the first address that answers.
//
// It replaces net.Dialer, which tries the addresses of a family one after the other, within one timeout that the first silent
// address can use up: with one of two addresses dead, every second call failed. net.Dialer also waits for the addresses of both
// families.
//
// The error of a connection that took too long is context.DeadlineExceeded only if ctx's own deadline passed.
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

// source returns further addresses, or none. It may block until ctx ends.
type source func(ctx context.Context) ([]netip.Addr, error)

// race tries addresses in order. It starts the next one as soon as the earlier ones have failed or the latest is slow. When no
// address is left, it asks the next source.
type race struct {
	network, port string
	queue         []netip.Addr
	sources       []source

	tried   []netip.Addr
	running int  // connections under way
	asking  bool // a source is being asked
	endings chan ending
	err     error // returned if no address is left: a source's error, else that of the first address
}

// ending is the result of connecting to an address or asking a source.
type ending struct {
	source bool
	addrs  []netip.Addr // from a source
	addr   netip.Addr
	conn   net.Conn
	err    error
}

// run returns the first connection and its address.
func (r *race) run(ctx context.Context) (net.Conn, netip.Addr, error) {
	racing, stop := context.WithCancel(ctx)
	defer stop() // report closes connections that come too late
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

// step tries the next address, or asks the next source if no address is left. late fires when the next step may begin; nil: not
// before something ends.
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

// report delivers an ending, or closes its connection if run has returned.
func (r *race) report(ctx context.Context, e ending) {
	select {
	case r.endings <- e:
	case <-ctx.Done():
		if e.conn != nil {
			_ = e.conn.Close()
		}
	}
}

// took records an ending without a connection.
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

// ownTimeout returns err with context.DeadlineExceeded if ctx's deadline has passed, and with os.ErrDeadlineExceeded if another
// timeout has. Package net mixes them: it reports a dialer's timeout as the former, and the latter if its own timer for ctx's
// deadline fires before ctx's.
func ownTimeout(ctx context.Context, op, network string, addr net.Addr, err error) error {
	if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	cause := os.ErrDeadlineExceeded
	if deadline, limited := ctx.Deadline(); ctx.Err() != nil || limited && !time.Now().Before(deadline) {
		cause = context.DeadlineExceeded
	}
	return &net.OpError{Op: op, Net: network, Addr: addr, Err: cause}
}
