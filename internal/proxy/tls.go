package proxy

import (
	"crypto/tls"
	"fmt"
	"sync/atomic"
	"time"
)

// Certificate is a TLS certificate and its key, from two PEM files. Reload replaces them while the gateway runs. It is safe for
// concurrent use.
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

// Reload reads the files again. New connections get the new certificate. If the files can't be read or don't fit together, Reload returns
// an error, and the old certificate stays in use.
func (c *Certificate) Reload() error {
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("TLS certificate: %w", err)
	}
	c.pair.Store(&pair)
	return nil
}

// Pair returns the certificate in use, with its key.
func (c *Certificate) Pair() *tls.Certificate { return c.pair.Load() }

// Expires returns when the certificate in use expires.
func (c *Certificate) Expires() time.Time { return c.pair.Load().Leaf.NotAfter } // LoadX509KeyPair sets Leaf

// suites returns the cipher suites for TLS 1.2: those with forward secrecy and authenticated encryption (AEAD). Go's default also offers
// CBC to old clients. TLS 1.3 has no other suites.
func suites() []uint16 {
	return []uint16{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
	}
}

// Config returns the settings for a listener or server: TLS 1.2 or later, HTTP/2 and HTTP/1.1. Each handshake uses the certificate in use
// at that time.
func (c *Certificate) Config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"h2", "http/1.1"},
		CipherSuites:   suites(),
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.pair.Load(), nil },
	}
}
