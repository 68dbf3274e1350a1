package config

// This file checks what no single type can: settings that depend on each other, and text with rules
// of its own.

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
)

// check adds to p what is wrong with c. It passes over whatever p says could not be parsed.
func (c *Config) check(p *Problems) {
	c.checkListeners(p)
	c.checkTLS(p)
	// The order of a map does not matter: problems are sorted by name before anybody sees them.
	for name, check := range map[string]func() error{
		"CORS_ALLOWED_ORIGINS":       c.checkOrigins,
		"GLORY_JWT_SECRETS":          func() error { return c.checkJWTSecrets(p) },
		"INTERWATER_ROUTES":          func() error { return checkRoutes(c.InterwaterRoutes) },
		"INTERWATER_REJECT_STATUSES": c.checkRejectStatuses,
		"REDIS_URL":                  func() error { return c.checkRedis(p) },
		"REDIS_KEY_PREFIX":           c.checkKeyPrefix,
	} {
		if !p.has(name) {
			p.add(name, check())
		}
	}
}

// checkListeners looks at the form of the two addresses only. Whether they are free is found out by
// listening on them, and a port that is taken is not a mistake in the settings.
func (c *Config) checkListeners(p *Problems) {
	for name, addr := range map[string]string{"LISTEN_ADDR": c.ListenAddr, "ADMIN_ADDR": c.AdminAddr} {
		if _, _, ok := listenAddr(addr); !ok && addr != "" && !p.has(name) {
			p.addf(name, "%q is not an address to listen on; write :port or host:port", addr)
		}
	}
	if !p.has("LISTEN_ADDR") && !p.has("ADMIN_ADDR") && sameListener(c.ListenAddr, c.AdminAddr) {
		p.addf("ADMIN_ADDR", "%q and LISTEN_ADDR %q are the same listener; give one of them another port", c.AdminAddr, c.ListenAddr)
	}
}

// checkTLS tries the key pair once, so that a wrong one stops the start and not the first
// handshake.
func (c *Config) checkTLS(p *Problems) {
	const certName, keyName = "TLS_CERT_FILE", "TLS_KEY_FILE"
	switch {
	case c.TLSCertFile == "" && c.TLSKeyFile == "":
		return
	case c.TLSKeyFile == "":
		p.addf(keyName, "required beside %s", certName)
		return
	case c.TLSCertFile == "":
		p.addf(certName, "required beside %s", keyName)
		return
	}
	// Both files are tried before the pair is, so that two wrong paths are two problems.
	cert, certErr := os.ReadFile(c.TLSCertFile)
	key, keyErr := os.ReadFile(c.TLSKeyFile)
	if certErr != nil {
		p.addf(certName, "can't read the file: %w", cause(certErr))
	}
	if keyErr != nil {
		p.addf(keyName, "can't read the file: %w", cause(keyErr))
	}
	if certErr == nil && keyErr == nil {
		// The error names what is missing in the PEM, and quotes neither file.
		if _, err := tls.X509KeyPair(cert, key); err != nil {
			p.addf(certName, "not a usable pair with %s: %w", keyName, err)
		}
	}
}

// checkOrigins compares each origin with how a browser would write it, because only that ever
// matches.
func (c *Config) checkOrigins() error {
	var errs []error
	for i, origin := range c.CORSAllowedOrigins {
		if origin == "*" {
			if len(c.CORSAllowedOrigins) > 1 {
				errs = append(errs, fmt.Errorf("element %d: * admits every origin; leave out the others, or it", i+1))
			}
			continue
		}
		// What is built again from the parsed parts lacks a path, a query, a user; if it differs
		// from what was written, there was one. "null" is the origin of sandboxed frames and files,
		// so of anybody: it has no host.
		u, err := url.Parse(origin)
		if err != nil || u.Hostname() == "" || strings.Contains(u.Host, "*") || !validPort(u.Port()) ||
			strings.ToLower(u.Scheme+"://"+u.Host) != origin {
			errs = append(errs, fmt.Errorf("element %d: %q is not an origin; write scheme://host or scheme://host:port in lower case, without a path, or * alone", i+1, origin))
		} else if u.Scheme == "https" && u.Port() == "443" || u.Scheme == "http" && u.Port() == "80" {
			errs = append(errs, fmt.Errorf("element %d: browsers leave the usual port out of %q; do so too", i+1, origin))
		}
	}
	return errors.Join(errs...)
}

// checkJWTSecrets demands as many bytes as the longest hash of the algorithms has (RFC 7518 §3.2),
// because every secret may be tried with every algorithm. A shorter one could be found by trying,
// given one JWT, and then anybody is any member. The problem names the length, which helps to find
// a secret cut off by accident, and nothing else of it.
func (c *Config) checkJWTSecrets(p *Problems) error {
	if p.has("GLORY_JWT_ALGORITHMS") {
		return nil
	}
	longest := slices.Max(c.GloryJWTAlgorithms) // HS256 < HS384 < HS512
	// The name says the size: HS384 is HMAC with SHA-384, whose hash has 384 bits.
	bits, _ := strconv.Atoi(strings.TrimPrefix(longest, "HS"))
	var errs []error
	for i, secret := range c.GloryJWTSecrets {
		if n := len(secret.Reveal()); n < bits/8 {
			errs = append(errs, fmt.Errorf("element %d: %d bytes long; %s needs %d or more (RFC 7518 section 3.2)", i+1, n, longest, bits/8))
		}
	}
	return errors.Join(errs...)
}

// checkRejectStatuses keeps answers that are no errors out: taking a 200 for a rejected token would
// fetch a new token for every room request.
func (c *Config) checkRejectStatuses() error {
	var errs []error
	for i, status := range c.InterwaterRejectStatuses {
		if status < 400 || status > 599 {
			errs = append(errs, fmt.Errorf("element %d: %d is not an error's status; give 400 to 599", i+1, status))
		}
	}
	return errors.Join(errs...)
}

// checkRedis holds REDIS_URL against REDIS_MODE. Its errors quote nothing: with a password that
// needs escaping, any part of the URL may turn out to be the password.
func (c *Config) checkRedis(p *Problems) error {
	u, err := url.Parse(c.RedisURL.Reveal())
	if err != nil || u.Scheme != "redis" && u.Scheme != "rediss" || u.Hostname() == "" || !validPort(u.Port()) || u.Fragment != "" {
		return errors.New("not a Redis URL; write redis://host:port or rediss://user:password@host:port, special characters of the password percent-encoded")
	}
	// A slash in an unescaped password ends up here too.
	if database, err := strconv.ParseUint(strings.Trim(u.Path, "/"), 10, 16); err != nil && strings.Trim(u.Path, "/") != "" {
		return errors.New("its path is not the number of a database; write /0, or none")
	} else if c.RedisMode == "cluster" && database != 0 {
		return errors.New("a cluster has only database 0; remove the path")
	}
	if p.has("REDIS_MODE") {
		return nil // nobody knows which mode was meant
	}
	return checkRedisQuery(u.RawQuery, c.RedisMode)
}

// checkRedisQuery refuses what belongs to one mode in the others. Left alone it would be an error of
// the Redis client at best, and at worst a cluster of which only one node is ever asked.
func checkRedisQuery(raw, mode string) error {
	query, err := url.ParseQuery(raw)
	if err != nil {
		return errors.New("its query is broken; write ?name=value&name=value, special characters percent-encoded")
	}
	switch {
	case mode == "sentinel" && query.Get("master_name") == "":
		return errors.New("REDIS_MODE sentinel needs the name of the master; add ?master_name=…")
	case mode != "sentinel" && query.Has("master_name"):
		return errors.New("master_name is for REDIS_MODE sentinel; remove it, or set the mode")
	case mode == "single" && query.Has("addr"):
		return errors.New("further nodes (addr) are for REDIS_MODE cluster or sentinel; remove them, or set the mode")
	}
	for i, addr := range query["addr"] {
		if host, port, err := net.SplitHostPort(addr); err != nil || host == "" || port == "" || !validPort(port) {
			return fmt.Errorf("addr %d is not a host:port", i+1)
		}
	}
	return nil
}

// checkKeyPrefix keeps glob characters and braces out of Redis keys: the first would widen a search
// for keys, the second would be hash tags that put keys of a cluster on other nodes than the code
// means.
func (c *Config) checkKeyPrefix() error {
	for _, r := range c.RedisKeyPrefix {
		if r <= ' ' || r > '~' || strings.ContainsRune(`*?[]{}\`, r) {
			return fmt.Errorf("%q has %q in it; use printable ASCII without spaces or any of * ? [ ] { } \\", c.RedisKeyPrefix, r)
		}
	}
	return nil
}
