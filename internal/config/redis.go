package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"roomgate/internal/secret"
)

// checkRedis checks REDIS_URL for REDIS_MODE. Its errors quote nothing: if a password isn't escaped, any part of the URL may be
// the password.
func (c *Config) checkRedis(p *Problems) error {
	mode := c.RedisMode
	if p.has("REDIS_MODE") {
		mode = "" // unknown
	}
	return checkRedisURL(c.RedisURL.Reveal(), mode)
}

// checkRedisURL is checkRedis for one URL. mode is "" if it is unknown.
func checkRedisURL(value, mode string) error {
	u, err := url.Parse(value)
	if err != nil || u.Scheme != "redis" && u.Scheme != "rediss" || u.Hostname() == "" || !validPort(u.Port()) || u.Fragment != "" {
		return errors.New("not a Redis URL; write redis://host:port or rediss://user:password@host:port, special characters of the password percent-encoded")
	}
	// A slash in an unescaped password also ends up here.
	if database, err := strconv.ParseUint(strings.Trim(u.Path, "/"), 10, 16); err != nil && strings.Trim(u.Path, "/") != "" {
		return errors.New("its path is not the number of a database; write /0, or none")
	} else if mode == "cluster" && database != 0 {
		return errors.New("a cluster has only database 0; remove the path")
	}
	if mode == "" {
		return nil
	}
	return checkRedisQuery(u.RawQuery, mode)
}

// checkRedisQuery refuses parameters of other modes. At best the Redis client would report them; at worst only one node of a
// cluster would ever be used.
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

// checkRedisClear refuses a client certificate without TLS, which would never be asked for.
func (c *Config) checkRedisClear(p *Problems) error {
	if c.RedisCertFile == "" || p.has("REDIS_URL") || !strings.HasPrefix(strings.ToLower(c.RedisURL.Reveal()), "redis://") {
		return nil
	}
	return errors.New("needs a REDIS_URL that begins with rediss://; change it, or remove the certificate")
}

// RedisURLNow returns REDIS_URL with the current login: if it came from a file, that file is read again. While the gateway runs,
// only user and password may change. The error says why the new value can't be used, and quotes no part of it.
func (c *Config) RedisURLNow() (secret.Value, error) {
	path := c.Files["REDIS_URL"]
	if path == "" {
		return c.RedisURL, nil
	}
	// A pipe can't be read again: that would block forever or take data that is meant for others.
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return c.RedisURL, nil
	}
	value, err := readValue(path)
	if err != nil {
		return secret.Value{}, fmt.Errorf("REDIS_URL_FILE: %w", err)
	}
	now := *c
	now.RedisURL = secret.New(value)
	return now.RedisURL, c.SameRedis(&now)
}

// SameRedis returns nil if next's REDIS_URL is valid and is the same as c's except for the logins.
func (c *Config) SameRedis(next *Config) error {
	value := next.RedisURL.Reveal()
	if err := checkRedisURL(value, c.RedisMode); err != nil {
		return fmt.Errorf("REDIS_URL: %w", err)
	}
	if c.redisPlace(value) != c.redisPlace(c.RedisURL.Reveal()) {
		return errors.New("REDIS_URL: differs in more than user and password; restart the gateway to use it")
	}
	return nil
}

// redisPlace returns a Redis URL without logins. The login at the sentinels stays in it, because the client can't change that.
func (c *Config) redisPlace(value string) string {
	u, err := url.Parse(value)
	if err != nil {
		return ""
	}
	query := u.Query()
	if c.RedisMode != "sentinel" || !query.Has("password") {
		u.User = nil
	}
	query.Del("username")
	query.Del("password")
	u.RawQuery = query.Encode()
	return u.String()
}

// Redis reads only the settings of Redis, as Load does, for commands that need nothing else. In the returned Config only Files
// and the fields that begin with Redis are set. The error is a *Problems.
func Redis(environ []string) (*Config, error) {
	own := slices.DeleteFunc(slices.Clone(environ), func(entry string) bool { return !strings.HasPrefix(entry, redisPrefix) })
	var p Problems
	src, c := readSources(own, &p), &Config{}
	parseStruct(c, "", src.vars, &p)
	c.check(&p)
	p.list = slices.DeleteFunc(p.list, func(pr problem) bool { return !strings.HasPrefix(pr.name, redisPrefix) })
	if err := p.err(); err != nil {
		return nil, err
	}
	return &Config{
		RedisURL: c.RedisURL, RedisCertFile: c.RedisCertFile, RedisKeyFile: c.RedisKeyFile, RedisMode: c.RedisMode,
		RedisKeyPrefix: c.RedisKeyPrefix, RedisTimeout: c.RedisTimeout, Files: src.files,
	}, nil
}

// redisPrefix begins the names of the settings of Redis.
const redisPrefix = "REDIS_"
