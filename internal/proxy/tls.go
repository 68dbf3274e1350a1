package proxy

// This file serves TLS with a certificate that may be replaced while the gateway runs.

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certificateCheck is how often at most the files are looked at.
const certificateCheck = time.Second

// NewTLSConfig serves the PEM pair in the two files, and another one soon after they have changed. A pair that doesn't fit
// or can't be read leaves the old one in use, with a line in the log.
func NewTLSConfig(certFile, keyFile string, log *slog.Logger) (*tls.Config, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, log: log}
	if err := c.load(); err != nil {
		return nil, err
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.get}, nil
}

// certificate is the pair in use. It is safe for concurrent use.
type certificate struct {
	certFile, keyFile string
	log               *slog.Logger

	mu      sync.Mutex
	pair    *tls.Certificate
	seen    [2]os.FileInfo // what the files looked like when they were last read; nil: not there
	checked time.Time
}

// get implements tls.Config.GetCertificate.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.checked) > certificateCheck {
		c.checked = time.Now()
		if seen := c.look(); !sameFile(seen[0], c.seen[0]) || !sameFile(seen[1], c.seen[1]) {
			if err := c.load(); err != nil {
				c.log.Error("the new certificate is not used", "error", err.Error())
			}
		}
	}
	return c.pair, nil
}

// load reads the files. Also after a failure they are read again only when they change once more.
func (c *certificate) load() error {
	c.seen = c.look()
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("TLS certificate: %w", err)
	}
	c.pair = &pair
	return nil
}

// look tells what the files are now, behind any links.
func (c *certificate) look() (seen [2]os.FileInfo) {
	for i, name := range []string{c.certFile, c.keyFile} {
		if info, err := os.Stat(name); err == nil {
			seen[i] = info
		}
	}
	return seen
}

// sameFile reports whether a is b, unchanged. Time and size don't tell a link that leads elsewhere now, or a file that was
// moved into the place of another with its time kept.
func sameFile(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}
