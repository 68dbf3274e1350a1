package main

// The gateway takes over secrets that change in their files, without losing a request. Old secrets stay in use until the new
// ones work.

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

// reloadRetry is the wait after a failed reload. New keys of a license have their own backoff.
const reloadRetry = 5 * time.Second

func newReloads(registry *prometheus.Registry) *prometheus.CounterVec {
	reloads := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "roomgate_reloads_total",
		Help: "Reloads of secrets, by result (ok, failed: the old ones stay in use).",
	}, []string{"result"})
	registry.MustRegister(reloads)
	return reloads
}

// watchFiles starts to watch the secrets' files and SIGHUP. It runs before the listeners open, so that no change is missed once
// the gateway answers. main handles the signals that end the process.
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
	looking := false // look is running; another event doesn't restart it
	hurried := false // by SIGHUP since the last reload
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
			hurried = true
		case <-g.files.events():
			soon()
		case err := <-g.files.errors():
			g.log.Error("events of changed files may be lost", "error", err.Error())
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
			if hurried { // the operator may have mended something at Interwater
				hurried = false
				g.cache.TryNow()
			}
		}
	}
}

// secretFiles lists the files of settings (NAME_FILE), certificates and their keys.
func (g *gateway) secretFiles() []string {
	files := slices.Collect(maps.Values(g.cfg.Files))
	for _, path := range []string{g.cfg.TLSCertFile, g.cfg.TLSKeyFile, g.cfg.RedisCertFile, g.cfg.RedisKeyFile} {
		if path != "" {
			files = append(files, path)
		}
	}
	return files
}

// reload reads the settings again and takes over changed secrets. If ok is false, some can't be used, and their old values stay
// in use. The caller then calls it again after wait.
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
		g.log.Error("changed secrets can't be used; the old ones stay in use", "error", err.Error())
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

// adopt hands the changed secrets to their users. It goes on to the next after one fails, and joins the errors.
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
	if g.sessions != nil { // turning sessions on or off takes a restart
		sessions = g.sessions.Reload(next.SessionSecrets)
	}
	return errors.Join(redis, served, shown, sessions, g.members.Reload(ctx, next.GloryJWTSecrets, licenses(next)))
}
