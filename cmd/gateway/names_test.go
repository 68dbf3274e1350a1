package main

// A name server for the tests in which upstreams have names: what a name stands for changes while a gateway runs, and
// addresses stop answering in each of the ways they do. All of them are on loopback.

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

// namesVariable names the name server that a process of the tests asks, instead of that of the machine.
const namesVariable = "ROOMGATE_TEST_NAMES"

// askNames makes this process ask the tests' name server, where there is one.
func askNames() {
	server := os.Getenv(namesVariable)
	if server == "" {
		return
	}
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", server)
	}}
}

// names is a name server. Its answers are to be used once: their TTL is 0.
type names struct {
	conn net.PacketConn

	mu    sync.Mutex
	known map[string][]netip.Addr
	asked int
	lost  int  // datagrams to come that get no answer
	only4 bool // questions for AAAA get none
}

// newNames starts one that knows no name. It ends with the test.
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

// setting makes a gateway ask n.
func (n *names) setting() string { return namesVariable + "=" + n.conn.LocalAddr().String() }

// set says what a name stands for, in the order of the answer. Without an address there is no such name.
func (n *names) set(name string, addrs ...string) {
	var list []netip.Addr
	for _, addr := range addrs {
		list = append(list, netip.MustParseAddr(addr))
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.known[name] = list
}

// lose drops the next datagrams.
func (n *names) lose(datagrams int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lost = datagrams
}

// silence answers no question for AAAA.
func (n *names) silence() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.only4 = true
}

// questions is how many were asked so far.
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

// errUnanswered: there shall be no answer.
var errUnanswered = errors.New("no answer")

// answer knows A records. Asked for another type it has none.
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
	addrs := slices.Clone(n.known[asked.Name.String()[:asked.Name.Length-1]]) // less the dot at the end
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

// serveAt serves on an address until the test ends, or close, which cuts the connections too.
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

// blackhole makes an address of loopback swallow what is sent to a port: its listener's queue is full, and the kernel
// drops every SYN to come.
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
