package main

// A private certificate authority, and a Redis and upstreams with its certificates.

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"roomgate/internal/sandbox"
)

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string // its certificate, for clients that trust it
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-day), NotAfter: time.Now().Add(99 * day),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	key := newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	put(t, dir, map[string]string{"ca.crt": pemOf("CERTIFICATE", der)})
	return &authority{cert, key, filepath.Join(dir, "ca.crt")}
}

// issue returns a certificate for 127.0.0.1 and its key in PEM. Their names are those in a TLS Secret of Kubernetes.
func (a *authority) issue(t *testing.T, usage x509.ExtKeyUsage) map[string]string {
	t.Helper()
	key := newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		Subject: pkix.Name{CommonName: "one"}, NotBefore: time.Now().Add(-day), NotAfter: time.Now().Add(90 * day), // x509 draws a serial number
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{usage}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{"tls.crt": pemOf("CERTIFICATE", der), "tls.key": pemOf("PRIVATE KEY", private)}
}

// server issues a server's certificate and writes it and its key to files.
func (a *authority) server(t *testing.T) (certFile, keyFile string) {
	t.Helper()
	dir := t.TempDir()
	put(t, dir, a.issue(t, x509.ExtKeyUsageServerAuth))
	return filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
}

// newTLSRedis starts a real Redis that speaks TLS at url, beside its usual port. It accepts only clients with a certificate that
// clients has signed, or any client if clients is nil.
func newTLSRedis(t *testing.T, a, clients *authority, args ...string) (redis *sandbox.RedisServer, url string) {
	t.Helper()
	certFile, keyFile := a.server(t)
	port, asks, trusted := freePort(t), "no", a.file
	if clients != nil {
		asks, trusted = "yes", clients.file
	}
	redis = newRedis(t, append(args, "--tls-port", port, "--tls-cert-file", certFile, "--tls-key-file", keyFile,
		"--tls-ca-cert-file", trusted, "--tls-auth-clients", asks)...)
	return redis, "rediss://127.0.0.1:" + port
}

// overTLS starts a proxy that serves an upstream over TLS, and returns its URL.
func (a *authority) overTLS(t *testing.T, upstream string) string {
	t.Helper()
	certFile, keyFile := a.server(t)
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	to, err := url.Parse(upstream)
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewUnstartedServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }, ErrorLog: quiet(),
	})
	front.TLS, front.Config.ErrorLog = &tls.Config{Certificates: []tls.Certificate{pair}}, quiet()
	front.StartTLS()
	t.Cleanup(front.Close)
	return front.URL
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func pemOf(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}
