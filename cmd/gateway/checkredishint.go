package main

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/url"
	"sync/atomic"

	"github.com/redis/go-redis/v9"

	"roomgate/internal/config"
	"roomgate/internal/fleet"
)

// redisHint returns what to look at when Redis has failed with err.
func redisHint(ctx context.Context, cfg *config.Config, to fleet.Connection, err error) string {
	if mode := actualMode(ctx, to); mode != "" && mode != cfg.RedisMode {
		return "the server is " + mode + ": set REDIS_MODE=" + mode
	}
	for code, hint := range map[string]string{
		"NOAUTH":    "it wants a password: put it in REDIS_URL",
		"WRONGPASS": "are user and password in REDIS_URL right?",
		"NOPERM":    "its user may not do what the gateway needs: keys under REDIS_KEY_PREFIX, scripts, all data commands",
		"READONLY":  "REDIS_URL leads to a replica: name the master, or use REDIS_MODE=sentinel",
		"OOM":       "its memory is full: raise maxmemory",
		"LOADING":   "it is still reading its data: wait",
	} {
		if redis.HasErrorPrefix(err, code) {
			return hint
		}
	}
	if hint := certificateHint("REDIS_URL", err); hint != "" {
		return hint
	}
	if asksForCertificate(ctx, to) {
		if cfg.RedisCertFile == "" {
			return "it asks for a client certificate: set REDIS_CERT_FILE and REDIS_KEY_FILE"
		}
		return "it rejects the certificate in REDIS_CERT_FILE: does Redis know its authority, is it still valid, and is it for clients?"
	}
	if speaksClear(ctx, to) {
		return "it answers without TLS: should REDIS_URL begin with redis://, or name another port?"
	}
	if slow, isNet := errors.AsType[net.Error](err); isNet && slow.Timeout() || errors.Is(err, context.DeadlineExceeded) {
		return "does it answer within REDIS_TIMEOUT (" + cfg.RedisTimeout.String() + "), and is REDIS_URL reachable from here?"
	}
	return "is REDIS_URL right, and reachable from here?"
}

// speaksClear reports whether REDIS_URL says rediss:// but the server answers without TLS. It sends no password.
func speaksClear(ctx context.Context, to fleet.Connection) bool {
	at, err := url.Parse(to.URL)
	if err != nil || at.Scheme != "rediss" {
		return false
	}
	client, err := fleet.Connect(fleet.Connection{Mode: "single", URL: (&url.URL{Scheme: "redis", Host: at.Host}).String(), Timeout: to.Timeout})
	if err != nil {
		return false
	}
	defer func() { _ = client.Close() }()
	err = client.Ping(ctx).Err()
	_, isAnswer := errors.AsType[redis.Error](err) // such as that it wants a password
	return err == nil || isAnswer
}

// asksForCertificate reports whether the first server of REDIS_URL asks for a client certificate.
func asksForCertificate(ctx context.Context, to fleet.Connection) bool {
	var asked atomic.Bool
	show := to.Certificate
	to.Certificate = func() *tls.Certificate {
		asked.Store(true)
		if show == nil {
			return &tls.Certificate{} // none
		}
		return show()
	}
	client, ok := firstServer(to)
	if !ok {
		return false
	}
	defer func() { _ = client.Close() }()
	_ = client.Ping(ctx).Err() // only asked matters
	return asked.Load()
}

// actualMode asks the first server of REDIS_URL for its mode: single, cluster or sentinel. "": it doesn't tell.
func actualMode(ctx context.Context, to fleet.Connection) string {
	client, ok := firstServer(to)
	if !ok {
		return ""
	}
	defer func() { _ = client.Close() }()
	mode := info(ctx, client, "server")["redis_mode"]
	if mode == "standalone" {
		return "single"
	}
	return mode
}

// firstServer returns a client of the first server of REDIS_URL, as if it were the only one. The caller closes it.
func firstServer(to fleet.Connection) (client redis.UniversalClient, ok bool) {
	at, err := url.Parse(to.URL)
	if err != nil {
		return nil, false
	}
	at.RawQuery = "" // drop further nodes and the master's name
	to.Mode, to.URL = "single", at.String()
	client, err = fleet.Connect(to)
	return client, err == nil
}
