package sandbox

// Starting and stopping both stand-ins on sockets of their own.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

// Options say what to run. The zero value works: loopback, free ports, generated secrets, demo data.
type Options struct {
	// GloryAddr and InterwaterAddr are TCP addresses to listen on; "" is 127.0.0.1:0.
	// NewGlory and NewInterwater don't use them.
	GloryAddr, InterwaterAddr string

	// JWTSecret signs member tokens with HS384. "" is a random one of 52 printable characters;
	// another has to be at least 48 bytes long (RFC 7518 section 3.2).
	JWTSecret string

	// Licenses known to Interwater. None is one license with generated keys and domain "sandbox".
	Licenses []License

	// MemberTokenTTL is how long the member tokens of join and login live; 0 is 2 hours, as on Glory's
	// development server. The claims count whole seconds: a fraction is dropped.
	MemberTokenTTL time.Duration
}

// License is one customer of Interwater. Each field left zero is filled in.
type License struct {
	ID        string // its number, "1" for the first
	Domain    string // "sandbox" for the first, "sandbox-2" for the second, …
	AccessKey string // random; no two licenses may share one
	SecretKey string // random
	RoomLimit int    // most rooms listed; 0 is 10, as in the document
}

// Member is what a member logs in with.
type Member struct {
	ID       string `json:"id"`
	Password string `json:"password"`
}

// Sandbox is both stand-ins, running. Its fields must not be changed.
type Sandbox struct {
	Glory      *Glory
	Interwater *Interwater

	GloryURL, InterwaterURL string // base URLs without a trailing slash

	Demo Member // has joined Glory already

	servers []*server
}

// Start listens on both addresses and serves until Close. An address that can't be listened on is an
// error that names it; nothing is left running then.
func Start(o Options) (*Sandbox, error) {
	g, err := NewGlory(o)
	if err != nil {
		return nil, err
	}
	i, err := NewInterwater(o)
	if err != nil {
		return nil, err
	}
	gs, err := listen("Glory", o.GloryAddr, g)
	if err != nil {
		return nil, err
	}
	is, err := listen("Interwater", o.InterwaterAddr, i)
	if err != nil {
		return nil, errors.Join(err, gs.ln.Close())
	}
	// Nothing can fail from here on.
	s := &Sandbox{
		Glory: g, Interwater: i,
		GloryURL: gs.url(), InterwaterURL: is.url(),
		Demo:    g.Demo(),
		servers: []*server{gs, is},
	}
	for _, srv := range s.servers {
		go srv.serve()
	}
	return s, nil
}

// Close cuts every connection, also of answers under way, and returns once all goroutines have ended.
// Further calls do nothing.
func (s *Sandbox) Close() error {
	s.Glory.Close()
	s.Interwater.Close()
	var errs []error
	for _, srv := range s.servers {
		errs = append(errs, srv.close())
	}
	return errors.Join(errs...)
}

// server is one listener and what serves it.
type server struct {
	ln     net.Listener
	http   http.Server
	conns  sync.WaitGroup // connections that net/http still has a goroutine for
	served chan struct{}  // closed when Serve has returned: no more connections from here on
}

// listen opens the listener but does not serve yet: a busy port has to be an error of Start. name is
// for that error.
func listen(name, addr string, h http.Handler) (*server, error) {
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	ln, err := new(net.ListenConfig).Listen(context.Background(), "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("sandbox: listen for %s on %s: %w", name, addr, err)
	}
	s := &server{ln: ln, served: make(chan struct{})}
	s.http = http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		// Longer than a proxy keeps idle connections, or requests would meet a closing one.
		IdleTimeout: 2 * time.Minute,
		ConnState:   s.track,
		// Aborted answers are what faults are for: no news.
		ErrorLog: log.New(io.Discard, "", 0),
	}
	return s, nil
}

// track counts connections, because http.Server.Close does not wait for their goroutines.
func (s *server) track(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		s.conns.Add(1)
	case http.StateClosed, http.StateHijacked:
		s.conns.Done()
	}
}

// serve blocks until close.
func (s *server) serve() {
	defer close(s.served)
	// The error is ErrServerClosed, or that of a listener that broke: clients see either.
	_ = s.http.Serve(s.ln)
}

// close breaks off what is under way. Handlers that wait for nothing but time must have been told
// before, or it waits with them.
func (s *server) close() error {
	err := s.http.Close()
	<-s.served
	s.conns.Wait()
	return err
}

// url is one that this machine can use, also when the listener has all addresses.
func (s *server) url() string {
	addr := s.ln.Addr()
	if tcp, isTCP := addr.(*net.TCPAddr); isTCP && tcp.IP.IsUnspecified() {
		return fmt.Sprintf("http://127.0.0.1:%d", tcp.Port)
	}
	return "http://" + addr.String()
}
