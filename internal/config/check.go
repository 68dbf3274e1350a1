package config

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
)

// check adds c's problems to p: settings that depend on each other, and text with rules of its own. It skips settings that p
// already has a problem of.
func (c *Config) check(p *Problems) {
	c.checkListeners(p)
	checkPair(p, "TLS_CERT_FILE", c.TLSCertFile, "TLS_KEY_FILE", c.TLSKeyFile)
	checkPair(p, "REDIS_CERT_FILE", c.RedisCertFile, "REDIS_KEY_FILE", c.RedisKeyFile)
	// A map's random order is fine: problems are sorted by name before anybody sees them.
	for name, check := range map[string]func() error{
		"CORS_ALLOWED_ORIGINS":       c.checkOrigins,
		"GLORY_JWT_SECRETS":          func() error { return c.checkJWTSecrets(p) },
		"SESSION_SECRETS":            c.checkSessionSecrets,
		"INTERWATER_ROUTES":          func() error { return checkRoutes(c.InterwaterRoutes) },
		"INTERWATER_REJECT_STATUSES": c.checkRejectStatuses,
		"REDIS_URL":                  func() error { return c.checkRedis(p) },
		"REDIS_CERT_FILE":            func() error { return c.checkRedisClear(p) },
		"REDIS_KEY_PREFIX":           c.checkKeyPrefix,
	} {
		if !p.has(name) {
			p.add(name, check())
		}
	}
}

// checkListeners checks only the form of the two addresses. A port that is taken is not a mistake in the settings: listening
// reports it.
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

// checkPair loads a certificate and its key once, so that a wrong pair stops the start and not the first handshake.
func checkPair(p *Problems, certName, certFile, keyName, keyFile string) {
	switch {
	case certFile == "" && keyFile == "":
		return
	case keyFile == "":
		p.addf(keyName, "required with %s", certName)
		return
	case certFile == "":
		p.addf(certName, "required with %s", keyName)
		return
	}
	// Read both files before checking the pair, so that two wrong paths are two problems.
	cert, certErr := os.ReadFile(certFile)
	key, keyErr := os.ReadFile(keyFile)
	if certErr != nil {
		p.addf(certName, "can't read the file: %w", cause(certErr))
	}
	if keyErr != nil {
		p.addf(keyName, "can't read the file: %w", cause(keyErr))
	}
	if certErr == nil && keyErr == nil {
		// The error says what is missing in the PEM, and quotes neither file.
		if _, err := tls.X509KeyPair(cert, key); err != nil {
			p.addf(certName, "not a usable pair with %s: %w", keyName, err)
		}
	}
}

// checkOrigins compares each origin with the form that browsers send, because only that form ever matches.
func (c *Config) checkOrigins() error {
	var errs []error
	for i, origin := range c.CORSAllowedOrigins {
		if origin == "*" {
			if len(c.SessionSecrets) > 0 {
				errs = append(errs, fmt.Errorf("element %d: * would let the pages of every site use the sessions of SESSION_SECRETS; list the origins", i+1))
			}
			if len(c.CORSAllowedOrigins) > 1 {
				errs = append(errs, fmt.Errorf("element %d: * already admits every origin; remove it or all others", i+1))
			}
			continue
		}
		// The scheme and host are put together again. If the result differs from the setting, the setting has a path, a query or
		// a user. "null" has no host: it is the origin of sandboxed frames and files, so anybody can send it.
		u, err := url.Parse(origin)
		if err != nil || u.Hostname() == "" || strings.Contains(u.Host, "*") || !validPort(u.Port()) ||
			strings.ToLower(u.Scheme+"://"+u.Host) != origin {
			errs = append(errs, fmt.Errorf("element %d: %q is not an origin; write scheme://host or scheme://host:port in lower case, without a path, or * alone", i+1, origin))
		} else if u.Scheme == "https" && u.Port() == "443" || u.Scheme == "http" && u.Port() == "80" {
			errs = append(errs, fmt.Errorf("element %d: browsers omit the default port of %q; omit it too", i+1, origin))
		}
	}
	return errors.Join(errs...)
}

// checkJWTSecrets refuses secrets that are shorter than the longest hash of the algorithms (RFC 7518 §3.2), because every secret
// may be used with every algorithm. With one JWT, an attacker could find a shorter secret by brute force and become any member.
// The problem gives the length, because it helps to find a secret that was cut off by accident, and nothing else about the
// secret.
func (c *Config) checkJWTSecrets(p *Problems) error {
	if p.has("GLORY_JWT_ALGORITHMS") {
		return nil
	}
	longest := slices.Max(c.GloryJWTAlgorithms) // HS256 < HS384 < HS512
	// The name contains the size: HS384 is HMAC with SHA-384, whose hash has 384 bits.
	bits, _ := strconv.Atoi(strings.TrimPrefix(longest, "HS"))
	var errs []error
	for i, secret := range c.GloryJWTSecrets {
		if n := len(secret.Reveal()); n < bits/8 {
			errs = append(errs, fmt.Errorf("element %d: %d bytes long; %s needs %d or more (RFC 7518 section 3.2)", i+1, n, longest, bits/8))
		}
	}
	return errors.Join(errs...)
}

// checkSessionSecrets refuses secrets that are shorter than the key derived from them. Whoever finds a secret by brute force can
// be any member.
func (c *Config) checkSessionSecrets() error {
	var errs []error
	for i, secret := range c.SessionSecrets {
		if n := len(secret.Reveal()); n < 32 {
			errs = append(errs, fmt.Errorf("element %d: %d bytes long; give 32 or more", i+1, n))
		}
	}
	return errors.Join(errs...)
}

// checkRejectStatuses refuses statuses that are no errors: if a 200 meant a rejected token, every room request would fetch a new
// one.
func (c *Config) checkRejectStatuses() error {
	var errs []error
	for i, status := range c.InterwaterRejectStatuses {
		if status < 400 || status > 599 {
			errs = append(errs, fmt.Errorf("element %d: %d is not an error status; use 400 to 599", i+1, status))
		}
	}
	return errors.Join(errs...)
}

// checkKeyPrefix refuses glob characters and braces in Redis keys. Glob characters would widen a search for keys. Braces would be
// hash tags, which put a cluster's keys on other nodes than the code expects.
func (c *Config) checkKeyPrefix() error {
	for _, r := range c.RedisKeyPrefix {
		if r <= ' ' || r > '~' || strings.ContainsRune(`*?[]{}\`, r) {
			return fmt.Errorf("%q has %q in it; use printable ASCII, but no spaces and none of * ? [ ] { } \\", c.RedisKeyPrefix, r)
		}
	}
	return nil
}
