package main

// Redis's login and the gateway's client certificate may change while the gateway runs.

import (
	"fmt"

	"roomgate/internal/config"
	"roomgate/internal/fleet"
	"roomgate/internal/proxy"
)

// redisConnection translates the settings of Redis. The certificate is nil where none is set.
func redisConnection(cfg *config.Config) (fleet.Connection, *proxy.Certificate, error) {
	to := fleet.Connection{Mode: cfg.RedisMode, URL: cfg.RedisURL.Reveal(), Timeout: cfg.RedisTimeout}
	if cfg.RedisCertFile == "" {
		return to, nil, nil
	}
	shown, err := proxy.NewCertificate(cfg.RedisCertFile, cfg.RedisKeyFile)
	if err != nil {
		return to, nil, fmt.Errorf("REDIS_CERT_FILE: %w", err)
	}
	to.Certificate = shown.Pair
	return to, shown, nil
}

// connectRedis opens the fleet's Redis. Each new connection reads the login from the file of REDIS_URL, so that the login may change
// every few minutes. If the file has no usable URL, the last usable one stays in use.
func (g *gateway) connectRedis() error {
	to, shown, err := redisConnection(g.cfg)
	if err != nil {
		return err
	}
	g.redisCertificate = shown
	g.redisURL.Store(&g.cfg.RedisURL)
	to.Current = func() string {
		if now, err := g.cfg.RedisURLNow(); err == nil {
			g.redisURL.Store(&now)
		}
		return g.redisURL.Load().Reveal()
	}
	client, err := fleet.Connect(to)
	if err != nil {
		return fmt.Errorf("REDIS_URL: %w", err)
	}
	g.redis = fleet.New(client, fleet.Options{Prefix: g.cfg.RedisKeyPrefix, Timeout: g.cfg.RedisTimeout, Log: g.log})
	g.onClose(g.redis.Close)
	return nil
}
