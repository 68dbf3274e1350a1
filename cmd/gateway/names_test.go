package main

// A name server for tests in which upstreams have host names. The addresses of a name can change while a gateway runs, and an address
// can stop answering. All addresses are on loopback.

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// namesVariable is the variable with the name server that a process asks instead of the machine's.
const namesVariable = "ROOMGATE_TEST_NAMES"

// askNames makes this process ask the name server in namesVariable, if it is set.
func askNames() {
	server := os.Getenv(namesVariable)
	if server == "" {
		return
	}
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", server)
	}}
}

// names is a name server. The TTL of its answers is 0, so that nobody caches them.
type names struct {
	conn net.PacketConn

	mu    sync.Mutex
	known map[string][]netip.Addr
	asked int
	lost  int  // the next questions that get no answer
	only4 bool // questions for AAAA get no answer
}

// newNames starts a name server that knows no name. It ends with the test.
func newNames(t *testing.T) *names {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &names{conn: conn, known: map[string][]netip.Addr{}}
	var wg sync.WaitGroup
	wg.Go(n.serve)
	t.Cleanup(func() { conn.Close(); wg.Wait() })
	return n
}

// setting returns the environment entry that makes a gateway ask n.
func (n *names) setting() string { return namesVariable + "=" + n.conn.LocalAddr().String() }

// set sets the addresses of a name, in the order of the answer. Without addrs there is no such name.
func (n *names) set(name string, addrs ...string) {
	var list []netip.Addr
	for _, addr := range addrs {
		list = append(list, netip.MustParseAddr(addr))
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.known[name] = list
}

// lose leaves the next questions without an answer.
func (n *names) lose(datagrams int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lost = datagrams
}

// silence leaves questions for AAAA without an answer from now on.
func (n *names) silence() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.only4 = true
}

// questions returns how many questions have come.
func (n *names) questions() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.asked
}

func (n *names) serve() {
	packet := make([]byte, 1500)
	for {
		size, from, err := n.conn.ReadFrom(packet)
		if err != nil {
			return
		}
		if answer, err := n.answer(packet[:size]); err == nil {
			_, _ = n.conn.WriteTo(answer, from)
		}
	}
}

// errUnanswered says that a question gets no answer.
var errUnanswered = errors.New("no answer")

// answer returns the answer to a question. It has only A records.
func (n *names) answer(question []byte) ([]byte, error) {
	var parser dnsmessage.Parser
	header, err := parser.Start(question)
	if err != nil {
		return nil, err
	}
	asked, err := parser.Question()
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	addrs := slices.Clone(n.known[asked.Name.String()[:asked.Name.Length-1]]) // without the dot at the end
	n.asked++
	dropped := n.lost > 0 || n.only4 && asked.Type == dnsmessage.TypeAAAA
	n.lost = max(0, n.lost-1)
	n.mu.Unlock()
	if dropped {
		return nil, errUnanswered
	}
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: header.ID, Response: true, Authoritative: true, RecursionDesired: true, RecursionAvailable: true},
		Questions: []dnsmessage.Question{asked},
	}
	if len(addrs) == 0 {
		m.RCode = dnsmessage.RCodeNameError
	}
	if asked.Type == dnsmessage.TypeA {
		for _, addr := range addrs {
			head := dnsmessage.ResourceHeader{Name: asked.Name, Type: asked.Type, Class: asked.Class}
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: head, Body: &dnsmessage.AResource{A: addr.As4()}})
		}
	}
	return m.Pack()
}

// serveAt starts a server on an address. It ends with the test, or by Close, which closes its connections, too.
func serveAt(t *testing.T, addr string, handler http.Handler) *httptest.Server {
	t.Helper()
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: handler, ErrorLog: quiet()}}
	server.Start()
	t.Cleanup(server.Close)
	return server
}

// blackhole makes an address ignore connections: the queue of its listener is full, and the kernel drops every further SYN.
func blackhole(t *testing.T, addr string) {
	t.Helper()
	at := netip.MustParseAddrPort(addr)
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: at.Addr().As4(), Port: int(at.Port())}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		conn, err := net.DialTimeout("tcp", addr, 200*time.Millisecond)
		if err != nil {
			return
		}
		t.Cleanup(func() { conn.Close() })
	}
	t.Fatal(fmt.Errorf("%s goes on accepting connections", addr))
}
