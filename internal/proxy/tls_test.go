package proxy

// TLS: which versions and protocols the gateway accepts. A certificate can be replaced in all the ways that operators use. A bad one
// changes nothing.

import (
	"crypto/ecdsa"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"roomgate/internal/sandbox"
)

// newPair makes a certificate for a name, by which tests recognise it.
func newPair(t *testing.T, name string) pair {
	t.Helper()
	made, err := sandbox.SelfSigned(-time.Hour, time.Hour, name)
	if err != nil {
		t.Fatal(err)
	}
	return pair{made}
}

type pair struct{ sandbox.Certificate }

// write writes the pair into a folder and returns the paths of its files.
func (p pair) write(t *testing.T, folder string) (cert, key string) {
	t.Helper()
	cert, key = filepath.Join(folder, "tls.crt"), filepath.Join(folder, "tls.key")
	writeFile(t, cert, p.Cert)
	writeFile(t, key, p.Key)
	return cert, key
}

func writeFile(t *testing.T, name string, text []byte) {
	t.Helper()
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// named returns the name in the certificate in use.
func (c *Certificate) named(t *testing.T) string {
	t.Helper()
	used, err := c.Config().GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	return used.Leaf.Subject.CommonName
}

func TestBrokenPairKeepsTheOldOne(t *testing.T) {
	folder := t.TempDir()
	first, second := newPair(t, "first"), newPair(t, "second")
	cert, key := first.write(t, folder)
	c, err := NewCertificate(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	for rule, broken := range map[string]func(){
		"half of it is there": func() { writeFile(t, cert, second.Cert) },
		"no PEM":              func() { writeFile(t, cert, []byte("nonsense")) },
		"empty":               func() { writeFile(t, cert, nil) },
		"no key":              func() { writeFile(t, key, second.Cert) },
		"gone":                func() { os.Remove(cert); os.Remove(key) },
		"a folder":            func() { os.Remove(key); os.Mkdir(key, 0o700) },
	} {
		broken()
		if err := c.Reload(); err == nil || strings.Contains(err.Error(), "PRIVATE KEY") {
			t.Errorf("%s: %v", rule, err)
		}
		if got := c.named(t); got != "first" {
			t.Errorf("%s: %q in use", rule, got)
		}
		os.RemoveAll(key)
		first.write(t, folder)
	}
	second.write(t, folder)
	if err := c.Reload(); err != nil || c.named(t) != "second" {
		t.Errorf("%v, %q in use", err, c.named(t))
	}
}

func TestHandshakesAndReloadsDoNotMix(t *testing.T) {
	folder := t.TempDir()
	pairs := []pair{newPair(t, "first"), newPair(t, "second")}
	cert, key := pairs[0].write(t, folder)
	c, err := NewCertificate(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 200 {
				_ = c.Reload() // fails while only one of the files is new
				used, err := c.Config().GetCertificate(nil)
				if err != nil {
					t.Error(err)
					return
				}
				public, ok := used.PrivateKey.(*ecdsa.PrivateKey)
				if !ok || !public.PublicKey.Equal(used.Leaf.PublicKey) {
					t.Error("the key doesn't belong to the certificate")
					return
				}
			}
		})
	}
	for i := range 50 {
		pairs[i%2].write(t, folder)
	}
	wg.Wait()
}

func TestNoCertificateIsAnErrorOfTheStart(t *testing.T) {
	folder := t.TempDir()
	cert, key := newPair(t, "first").write(t, folder)
	other := filepath.Join(folder, "other.key")
	writeFile(t, other, newPair(t, "second").Key)
	for _, files := range [][2]string{{cert, other}, {key, cert}, {cert, "missing"}, {"missing", key}, {"", ""}} {
		if c, err := NewCertificate(files[0], files[1]); err == nil || c != nil || strings.Contains(err.Error(), "PRIVATE KEY") {
			t.Errorf("%q: %v", files, err)
		}
	}
}

// overTLS puts TLS before a gateway, as cmd/gateway does. It returns the new address.
func overTLS(t *testing.T, g *gateway, folder string) (string, *Certificate) {
	t.Helper()
	certificate, err := NewCertificate(filepath.Join(folder, "tls.crt"), filepath.Join(folder, "tls.key"))
	if err != nil {
		t.Fatal(err)
	}
	o := setup{Glory: mustParse(g.GloryURL), Interwater: mustParse(g.InterwaterURL), Options: Options{
		RoomRoutes: []string{"GET /v1/info"}, Bridge: g.fakeBridge, MaxBodyBytes: 1 << 20, MaxHeaderBytes: 16 << 10, MaxInFlight: 100, Log: g.log(),
	}}
	handler := o.handler(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler, TLSConfig: certificate.Config(), ErrorLog: slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug)}
	served := make(chan struct{})
	go func() { defer close(served); _ = server.ServeTLS(listener, "", "") }()
	t.Cleanup(func() { server.Close(); <-served })
	return listener.Addr().String(), certificate
}

func TestTLSVersionsAndProtocols(t *testing.T) {
	folder := t.TempDir()
	newPair(t, "first").write(t, folder)
	addr, _ := overTLS(t, start(t), folder)
	for _, tt := range []struct {
		version  uint16
		offers   []string
		protocol string
		refused  bool
	}{
		{tls.VersionTLS10, nil, "", true}, {tls.VersionTLS11, nil, "", true}, {tls.VersionTLS12, nil, "", false}, {tls.VersionTLS13, nil, "", false},
		{tls.VersionTLS13, []string{"h2", "http/1.1"}, "h2", false}, {tls.VersionTLS12, []string{"h2", "http/1.1"}, "h2", false},
		{tls.VersionTLS13, []string{"http/1.1"}, "http/1.1", false}, {tls.VersionTLS13, []string{"h3"}, "", true},
	} {
		conn, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, MinVersion: tt.version, MaxVersion: tt.version, NextProtos: tt.offers})
		if (err != nil) != tt.refused {
			t.Errorf("%s, %q: %v", tls.VersionName(tt.version), tt.offers, err)
		}
		if err != nil {
			continue
		}
		if state := conn.ConnectionState(); state.NegotiatedProtocol != tt.protocol || state.Version != tt.version {
			t.Errorf("%s, %q: got %s, %q", tls.VersionName(tt.version), tt.offers, tls.VersionName(state.Version), state.NegotiatedProtocol)
		}
		conn.Close()
	}
}

func TestNewConnectionsGetTheNewCertificate(t *testing.T) {
	folder := t.TempDir()
	newPair(t, "first").write(t, folder)
	addr, certificate := overTLS(t, start(t), folder)
	served := func() string {
		conn, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	if got := served(); got != "first" {
		t.Errorf("%q", got)
	}
	newPair(t, "second").write(t, folder)
	if err := certificate.Reload(); err != nil {
		t.Fatal(err)
	}
	if got := served(); got != "second" {
		t.Errorf("%q after the reload", got)
	}
}

func TestStrictTransportSecurityIsSaidOverTLSAlone(t *testing.T) {
	folder := t.TempDir()
	newPair(t, "first").write(t, folder)
	g := start(t)
	addr, _ := overTLS(t, g, folder)
	for _, protocol := range []string{"h2", "http/1.1"} {
		var only http.Protocols
		only.SetHTTP2(protocol == "h2")
		only.SetHTTP1(protocol != "h2")
		transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, Protocols: &only, ForceAttemptHTTP2: true}
		defer transport.CloseIdleConnections()
		for path, status := range map[string]int{"/v1/info": 200, "/public-api/v1/health": 200, "/nowhere": 404} {
			request := httptest.NewRequest("GET", "https://"+addr+path, nil)
			request.RequestURI = ""
			request.Header.Set("Authorization", "Bearer good")
			answer, err := transport.RoundTrip(request)
			if err != nil {
				t.Fatal(err)
			}
			answer.Body.Close()
			if got := answer.Header["Strict-Transport-Security"]; answer.StatusCode != status || !slices.Equal(got, []string{"max-age=31536000"}) || (answer.ProtoMajor == 2) != (protocol == "h2") {
				t.Errorf("%s %s: %d, Strict-Transport-Security %q", answer.Proto, path, answer.StatusCode, got)
			}
			if got := answer.Header["X-Content-Type-Options"]; !slices.Equal(got, []string{"nosniff"}) {
				t.Errorf("%s: %q", path, got)
			}
			if path == "/v1/info" && g.Interwater.LastRoomRequest().Header.Get("X-Forwarded-Proto") != "https" {
				t.Error("Interwater is not told of TLS")
			}
		}
	}
	if plain := g.get(t, "/v1/info"); plain.header["Strict-Transport-Security"] != nil {
		t.Error("Strict-Transport-Security is sent without TLS, where anybody could have added it")
	}
}
