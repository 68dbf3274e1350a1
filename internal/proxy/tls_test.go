package proxy

// This file holds TLS: which versions and protocols are spoken, and that a certificate can be replaced, in all the ways in
// which operators do that, while a bad one changes nothing.

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// pair is a certificate and its key in PEM.
type pair struct{ cert, key []byte }

// newPair makes one for localhost under a name that tells it from others.
func newPair(t *testing.T, name string) pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pair{
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
	}
}

// padded is the pair in files of a certain size: what follows the PEM block is no part of it.
func (p pair) padded(size int) pair {
	pad := func(text []byte) []byte {
		return append(slices.Clone(text), bytes.Repeat([]byte("\n"), size-len(text))...)
	}
	return pair{pad(p.cert), pad(p.key)}
}

// write puts the pair into a folder and returns its files.
func (p pair) write(t *testing.T, folder string) (cert, key string) {
	t.Helper()
	cert, key = filepath.Join(folder, "tls.crt"), filepath.Join(folder, "tls.key")
	writeFile(t, cert, p.cert)
	writeFile(t, key, p.key)
	return cert, key
}

// written gives every file a time of its own: the file system's are no finer than some milliseconds.
var written atomic.Int64

func writeFile(t *testing.T, name string, text []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
	at := time.Now().Add(time.Duration(written.Add(1)) * time.Second)
	if err := os.Chtimes(name, at, at); err != nil {
		t.Fatal(err)
	}
}

// reloader is a certificate whose log can be read, and which may be asked again at once.
type reloader struct {
	*certificate
	logs bytes.Buffer
}

func newReloader(t *testing.T, cert, key string) *reloader {
	t.Helper()
	r := &reloader{}
	r.certificate = &certificate{certFile: cert, keyFile: key, log: slog.New(slog.NewJSONHandler(&r.logs, nil))}
	if err := r.load(); err != nil {
		t.Fatal(err)
	}
	return r
}

// name is that of the certificate in use, after a look at the files.
func (r *reloader) name(t *testing.T) string {
	t.Helper()
	r.checked = time.Time{}
	used, err := r.get(nil)
	if err != nil {
		t.Fatal(err)
	}
	return used.Leaf.Subject.CommonName
}

// want fails unless this certificate is in use.
func (r *reloader) want(t *testing.T, name string) {
	t.Helper()
	if got := r.name(t); got != name {
		t.Errorf("the certificate in use is %q, want %q", got, name)
	}
}

func TestCertificateIsReadAgainWhenItsFilesChange(t *testing.T) {
	folder := t.TempDir()
	first, second, third := newPair(t, "first"), newPair(t, "second"), newPair(t, "third")
	cert, key := first.write(t, folder)
	r := newReloader(t, cert, key)
	r.want(t, "first")
	second.padded(2000).write(t, folder) // in place
	r.want(t, "second")
	newCert, newKey := third.write(t, filepath.Join(folder, "new"))
	for from, to := range map[string]string{newCert: cert, newKey: key} { // by renaming
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	r.want(t, "third")
	if r.logs.Len() > 0 {
		t.Errorf("log: %s", &r.logs)
	}
}

// As Kubernetes does with a mounted secret: the folder is a link, which is made to lead elsewhere in one step. Neither time
// nor size of the new files need differ.
func TestCertificateIsReadAgainBehindALink(t *testing.T) {
	for _, how := range []string{"link", "rename"} {
		folder := t.TempDir()
		at := time.Now().Add(-time.Hour)
		for _, name := range []string{"first", "second"} {
			cert, key := newPair(t, name).padded(2000).write(t, filepath.Join(folder, name))
			for _, file := range []string{cert, key} {
				if err := os.Chtimes(file, at, at); err != nil {
					t.Fatal(err)
				}
			}
		}
		data := filepath.Join(folder, "data")
		if err := os.Symlink("first", data); err != nil {
			t.Fatal(err)
		}
		r := newReloader(t, filepath.Join(data, "tls.crt"), filepath.Join(data, "tls.key"))
		r.want(t, "first")
		if how == "link" {
			if err := os.Symlink("second", data+".new"); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(data+".new", data); err != nil {
				t.Fatal(err)
			}
		} else {
			for _, file := range []string{"tls.crt", "tls.key"} {
				if err := os.Rename(filepath.Join(folder, "second", file), filepath.Join(folder, "first", file)); err != nil {
					t.Fatal(err)
				}
			}
		}
		r.want(t, "second")
	}
}

func TestBrokenPairKeepsTheOldOne(t *testing.T) {
	folder := t.TempDir()
	first, second := newPair(t, "first"), newPair(t, "second")
	cert, key := first.write(t, folder)
	r := newReloader(t, cert, key)
	for rule, broken := range map[string]func(){
		"half of it is there": func() { writeFile(t, cert, second.cert) },
		"no PEM":              func() { writeFile(t, cert, []byte("nonsense")) },
		"empty":               func() { writeFile(t, cert, nil) },
		"no key":              func() { writeFile(t, key, second.cert) },
		"gone":                func() { os.Remove(cert); os.Remove(key) },
		"a folder":            func() { os.Remove(key); os.Mkdir(key, 0o700) },
	} {
		r.logs.Reset()
		broken()
		r.want(t, "first")
		r.want(t, "first")
		if lines := strings.Count(r.logs.String(), "\n"); lines != 1 || !strings.Contains(r.logs.String(), `"level":"ERROR"`) {
			t.Errorf("%s: the log should tell it once: %s", rule, &r.logs)
		}
		if strings.Contains(r.logs.String(), "PRIVATE KEY") {
			t.Errorf("%s: the log holds a key", rule)
		}
		os.RemoveAll(key)
		first.write(t, folder)
		r.want(t, "first")
	}
	second.padded(2000).write(t, folder)
	r.want(t, "second")
}

func TestFilesAreLookedAtOnceASecond(t *testing.T) {
	folder := t.TempDir()
	cert, key := newPair(t, "first").write(t, folder)
	r := newReloader(t, cert, key)
	r.want(t, "first")
	r.checked = time.Now().Add(time.Hour) // it was looked at just now
	newPair(t, "second").padded(2000).write(t, folder)
	if used, _ := r.get(nil); used.Leaf.Subject.CommonName != "first" {
		t.Error("every handshake reads the files")
	}
	r.want(t, "second")
}

func TestHandshakesAndReloadsDoNotMix(t *testing.T) {
	folder := t.TempDir()
	pairs := []pair{newPair(t, "first").padded(2000), newPair(t, "second").padded(2001)}
	cert, key := pairs[0].write(t, folder)
	r := newReloader(t, cert, key)
	r.log = quietLog()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 200 {
				r.mu.Lock()
				r.checked = time.Time{}
				r.mu.Unlock()
				used, err := r.get(nil)
				if err != nil {
					t.Error(err)
					return
				}
				public, ok := used.PrivateKey.(*ecdsa.PrivateKey)
				if !ok || !public.PublicKey.Equal(used.Leaf.PublicKey) {
					t.Error("a key was given with another's certificate")
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
	writeFile(t, other, newPair(t, "second").key)
	for _, files := range [][2]string{{cert, other}, {key, cert}, {cert, "missing"}, {"missing", key}, {"", ""}} {
		if config, err := NewTLSConfig(files[0], files[1], quietLog()); err == nil || config != nil || strings.Contains(err.Error(), "PRIVATE KEY") {
			t.Errorf("%q: %v", files, err)
		}
	}
}

// overTLS puts TLS before a gateway, as cmd/gateway does, and returns its address.
func overTLS(t *testing.T, g *gateway, folder string) string {
	t.Helper()
	config, err := NewTLSConfig(filepath.Join(folder, "tls.crt"), filepath.Join(folder, "tls.key"), g.log())
	if err != nil {
		t.Fatal(err)
	}
	o := Options{
		Glory: mustParse(g.GloryURL), Interwater: mustParse(g.InterwaterURL), GloryTimeout: patience, InterwaterTimeout: patience,
		RoomRoutes: []string{"GET /v1/info"}, Bridge: g.fakeBridge, MaxBodyBytes: 1 << 20, MaxHeaderBytes: 16 << 10, MaxInFlight: 100, Log: g.log(),
	}
	handler, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler, TLSConfig: config, ErrorLog: slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug)}
	served := make(chan struct{})
	go func() { defer close(served); _ = server.ServeTLS(listener, "", "") }()
	t.Cleanup(func() { server.Close(); <-served; handler.Close() })
	return listener.Addr().String()
}

func TestTLSVersionsAndProtocols(t *testing.T) {
	folder := t.TempDir()
	newPair(t, "first").write(t, folder)
	addr := overTLS(t, start(t), folder)
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
	addr := overTLS(t, start(t), folder)
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
	newPair(t, "second").padded(2000).write(t, folder)
	eventually(t, "the new certificate is served", func() bool { return served() == "second" })
}

func TestStrictTransportSecurityIsSaidOverTLSAlone(t *testing.T) {
	folder := t.TempDir()
	newPair(t, "first").write(t, folder)
	g := start(t)
	addr := overTLS(t, g, folder)
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
		t.Error("it is said in clear too, where anybody could have said it")
	}
}
