package sandbox

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

// Options configures the stand-ins. The zero value works: loopback, free ports, generated secrets, demo data.
type Options struct {
	// GloryAddr and InterwaterAddr are TCP addresses to listen on; "": 127.0.0.1:0. NewGlory and NewInterwater ignore them.
	GloryAddr, InterwaterAddr string

	// JWTSecret signs member tokens with HS384. It must have at least 48 bytes (RFC 7518 section 3.2). "": a random one of 52
	// printable characters.
	JWTSecret string

	// Licenses are the licenses that Interwater knows. Empty: one license with generated keys and the domain "sandbox".
	Licenses []License

	// MemberTokenTTL is the lifetime of member tokens from join and login; 0: 2 hours, as on Glory's development server. Claims
	// count whole seconds, so a fraction is dropped.
	MemberTokenTTL time.Duration
}

// License is one customer of Interwater. Zero fields are filled in.
type License struct {
	ID        string // a number, "1" for the first
	Domain    string // "sandbox" for the first, "sandbox-2" for the second, …
	AccessKey string // random; no two licenses may share one
	SecretKey string // random
	RoomLimit int    // maximum number of rooms listed; 0: 10, as in the document
}

// Member is a member's login.
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

// Start listens on both addresses and serves until Close. If it can't listen on an address, the error names it, and nothing is
// left running.
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

// Close closes all connections, even with answers under way, and returns when all goroutines have ended. Further calls do
// nothing.
func (s *Sandbox) Close() error {
	s.Glory.Close()
	s.Interwater.Close()
	var errs []error
	for _, srv := range s.servers {
		errs = append(errs, srv.close())
	}
	return errors.Join(errs...)
}

// server is one listener and its HTTP server.
type server struct {
	ln     net.Listener
	http   http.Server
	conns  sync.WaitGroup // connections whose goroutine hasn't ended
	served chan struct{}  // closed when Serve has returned: there are no new connections after that
}

// listen opens the listener but doesn't serve yet, because Start must report a busy port. name is for the error.
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
		// Longer than a proxy keeps idle connections. Otherwise requests would meet a connection that is being closed.
		IdleTimeout: 2 * time.Minute,
		ConnState:   s.track,
		// Don't log aborted answers: faults cause them.
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
	// The error is ErrServerClosed, or the listener broke. Clients notice both.
	_ = s.http.Serve(s.ln)
}

// close aborts requests under way. If a fault keeps handlers waiting, Glory.Close and Interwater.Close must be called first:
// close waits for the handlers.
func (s *server) close() error {
	err := s.http.Close()
	<-s.served
	s.conns.Wait()
	return err
}

// url returns a URL that works on this machine, even if the listener has all addresses.
func (s *server) url() string {
	addr := s.ln.Addr()
	if tcp, isTCP := addr.(*net.TCPAddr); isTCP && tcp.IP.IsUnspecified() {
		return fmt.Sprintf("http://127.0.0.1:%d", tcp.Port)
	}
	return "http://" + addr.String()
}
