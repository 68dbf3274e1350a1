package proxy

// This file serves TLS with a certificate that may be replaced while the gateway runs.

import (
	"crypto/tls"
	"fmt"
	"sync/atomic"
	"time"
)

// Certificate is the TLS pair in use, from two PEM files. It is safe for concurrent use.
type Certificate struct {
	certFile, keyFile string
	pair              atomic.Pointer[tls.Certificate]
}

// NewCertificate reads the files.
func NewCertificate(certFile, keyFile string) (*Certificate, error) {
	c := &Certificate{certFile: certFile, keyFile: keyFile}
	if err := c.Reload(); err != nil {
		return nil, err
	}
	return c, nil
}

// Reload reads the files again; new connections get what is in them now. A pair that doesn't fit or can't be read is an
// error, and leaves the old one in use.
func (c *Certificate) Reload() error {
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("TLS certificate: %w", err)
	}
	c.pair.Store(&pair)
	return nil
}

// Pair is the certificate in use, with its key.
func (c *Certificate) Pair() *tls.Certificate { return c.pair.Load() }

// Expires is when the certificate in use ends.
func (c *Certificate) Expires() time.Time { return c.pair.Load().Leaf.NotAfter } // LoadX509KeyPair sets Leaf

// suites are what TLS 1.2 is spoken with: forward secret, and authenticated as they encrypt (AEAD). Go's default offers CBC to
// the oldest clients too. TLS 1.3 has none but such.
func suites() []uint16 {
	return []uint16{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
	}
}

// Config is for a listener or a server: TLS 1.2 or later, HTTP/2 and HTTP/1.1, with the certificate of the moment.
func (c *Certificate) Config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"h2", "http/1.1"},
		CipherSuites:   suites(),
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.pair.Load(), nil },
	}
}
