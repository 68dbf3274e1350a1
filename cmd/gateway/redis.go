package main

// This file connects to Redis by the settings: with a login and a client certificate that may change meanwhile.

import (
	"fmt"

	"roomgate/internal/config"
	"roomgate/internal/fleet"
	"roomgate/internal/proxy"
)

// redisConnection is how the settings say to reach Redis, as they are now.
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

// connectRedis opens the fleet's Redis. Each new connection of its looks for the login in the file of REDIS_URL, so that one may be
// replaced every few minutes; where nothing usable is there, the last one that was counts on.
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
