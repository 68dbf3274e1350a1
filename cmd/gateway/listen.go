package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"

	"roomgate/internal/ops"
	"roomgate/internal/proxy"
)

// open opens the listeners. Then it makes the operations handler, which depends on its listener's address.
func (g *gateway) open(ctx context.Context, level *slog.LevelVar) error {
	if err := g.listen(ctx); err != nil {
		return err
	}
	g.ops = ops.NewHandler(ops.Options{
		Ready: g.ready, Status: g.status, Registry: g.registry, Level: level, History: g.history, Loopback: onLoopback(g.admin),
	})
	return nil
}

// listen opens the public and the operations listener.
func (g *gateway) listen(ctx context.Context) (err error) {
	var config net.ListenConfig
	if g.public, err = config.Listen(ctx, "tcp", g.cfg.ListenAddr); err != nil {
		return fmt.Errorf("LISTEN_ADDR: %w", err)
	}
	g.public = proxy.Listener(g.public, g.cfg.MaxConnections)
	g.onClose(func() { _ = g.public.Close() })
	if g.cfg.AdminAddr == "" {
		return nil
	}
	if g.admin, err = config.Listen(ctx, "tcp", g.cfg.AdminAddr); err != nil {
		return fmt.Errorf("ADMIN_ADDR: %w", err)
	}
	g.onClose(func() { _ = g.admin.Close() })
	return nil
}

// onLoopback reports whether only this machine can reach l. It is false for nil.
func onLoopback(l net.Listener) bool {
	if l == nil {
		return false
	}
	at, ok := l.Addr().(*net.TCPAddr)
	return ok && at.IP.IsLoopback()
}
