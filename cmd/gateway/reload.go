package main

// This file takes over secrets that have changed in their files, without losing a request: old ones stay in use until the
// new ones have proved themselves.

import (
	"context"
	"errors"
	"maps"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/prometheus/client_golang/prometheus"

	"roomgate/internal/bridge"
	"roomgate/internal/config"
	"roomgate/internal/ops"
)

// reloadRetry is the wait after a failure, as long as it lasts; keys have a backoff of their own.
const reloadRetry = 5 * time.Second

func newReloads(registry *prometheus.Registry) *prometheus.CounterVec {
	reloads := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "roomgate_reloads_total",
		Help: "Times that secrets were read again, by result (ok, failed: the old ones stay in use).",
	}, []string{"result"})
	registry.MustRegister(reloads)
	return reloads
}

// watchFiles begins to watch for changes of secrets' files, and for SIGHUP. It comes before the listeners: what changes once
// the gateway answers is seen. What main does about signals is how the process ends; this one is the running gateway's.
func (g *gateway) watchFiles() {
	g.files = newWatch(g.secretFiles(), g.log, fsnotify.NewWatcher)
	g.onClose(g.files.close)
	g.hangups = make(chan os.Signal, 1)
	signal.Notify(g.hangups, syscall.SIGHUP)
	g.onClose(func() { signal.Stop(g.hangups) })
}

// followFiles reloads after each change until ctx ends.
func (g *gateway) followFiles(ctx context.Context) {
	due, look := time.NewTimer(time.Hour), time.NewTimer(time.Hour)
	due.Stop()
	look.Stop()
	looking := false // look is set; an event doesn't put it off
	soon := func() {
		if !looking {
			looking = true
			look.Reset(watchSettle)
		}
	}
	tick := time.NewTicker(g.files.every())
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-g.hangups:
			due.Reset(0)
			g.cache.TryNow() // who sends the signal has mended something, perhaps at Interwater
		case <-g.files.events():
			soon()
		case err := <-g.files.errors():
			g.log.Error("watching files", "error", err.Error())
			soon()
		case <-tick.C:
			soon()
		case now := <-look.C:
			looking = false
			changed, again := g.files.look(now)
			tick.Reset(g.files.every())
			if changed {
				due.Reset(0)
			}
			if again {
				soon()
			}
		case <-due.C:
			if wait, ok := g.reload(ctx); !ok {
				due.Reset(wait)
			}
		}
	}
}

// secretFiles are the files that settings came from, and the certificates'.
func (g *gateway) secretFiles() []string {
	files := slices.Collect(maps.Values(g.cfg.Files))
	for _, path := range []string{g.cfg.TLSCertFile, g.cfg.TLSKeyFile, g.cfg.RedisCertFile, g.cfg.RedisKeyFile} {
		if path != "" {
			files = append(files, path)
		}
	}
	return files
}

// reload reads the settings again and takes over what has changed among the secrets. Where ok is false, it asks to be called again
// after a wait: the old ones of what can't be used are in use meanwhile.
func (g *gateway) reload(ctx context.Context) (wait time.Duration, ok bool) {
	next, err := loadSettings(g.environ)
	if err == nil {
		err = g.adopt(ctx, next)
	}
	last := &ops.Reload{At: time.Now().UTC()}
	defer g.reloaded.Store(last)
	if err != nil {
		last.Error = err.Error()
		g.reloads.WithLabelValues("failed").Inc()
		g.log.Error("changed secrets are not used; the old ones are", "error", err.Error())
		g.reloadFailed.Store(true)
		if keys, ok := errors.AsType[*bridge.Unproved](err); ok {
			return keys.RetryAfter, false
		}
		return reloadRetry, false
	}
	g.reloads.WithLabelValues("ok").Inc()
	g.reloadFailed.Store(false)
	g.log.Info("secrets were read again")
	return 0, true
}

// adopt hands new secrets to those who use them.
func (g *gateway) adopt(ctx context.Context, next *config.Config) error {
	if len(next.Licenses) != len(g.cfg.Licenses) {
		return errors.New("the number of licenses has changed; that takes a restart")
	}
	redis := g.cfg.SameRedis(next)
	if redis == nil {
		g.redisURL.Store(&next.RedisURL)
	}
	var served, shown, sessions error
	if g.tls != nil {
		served = g.tls.Reload()
	}
	if g.redisCertificate != nil {
		shown = g.redisCertificate.Reload()
	}
	if g.sessions != nil { // to turn them on or off takes a restart
		sessions = g.sessions.Reload(next.SessionSecrets)
	}
	return errors.Join(redis, served, shown, sessions, g.members.Reload(ctx, next.GloryJWTSecrets, licenses(next)))
}
