package main

// This file takes over secrets that have changed in their files, without losing a request: old ones stay in use until the
// new ones have proved themselves.

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/prometheus/client_golang/prometheus"

	"roomgate/internal/bridge"
	"roomgate/internal/config"
)

const (
	reloadSettle = 200 * time.Millisecond // several files change together
	reloadRetry  = 5 * time.Second        // after a failure, as long as it lasts; keys have a backoff of their own
)

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
func (g *gateway) watchFiles() error {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch files: %w", err)
	}
	g.onClose(func() { _ = watcher.Close() })
	for _, dir := range g.secretFolders() {
		if err := watcher.Add(dir); err != nil {
			g.log.Error("changes of files are not seen; send SIGHUP after one", "error", err.Error())
		}
	}
	g.watcher, g.hangups = watcher, make(chan os.Signal, 1)
	signal.Notify(g.hangups, syscall.SIGHUP)
	g.onClose(func() { signal.Stop(g.hangups) })
	return nil
}

// followFiles reloads after each change until ctx ends.
func (g *gateway) followFiles(ctx context.Context) {
	due := time.NewTimer(time.Hour)
	due.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-g.hangups:
			due.Reset(0)
		case <-g.watcher.Events:
			due.Reset(reloadSettle)
		case err := <-g.watcher.Errors:
			g.log.Error("watching files", "error", err.Error())
		case <-due.C:
			if wait, ok := g.reload(ctx); !ok {
				due.Reset(wait)
			}
		}
	}
}

// secretFolders are the folders of the files that settings came from. Kubernetes swaps a link beside the files: in the
// folder that is seen, in the file itself it wouldn't be.
func (g *gateway) secretFolders() []string {
	var folders []string
	for _, path := range g.cfg.Files {
		folders = append(folders, filepath.Dir(path))
	}
	if g.tls != nil {
		folders = append(folders, filepath.Dir(g.cfg.TLSCertFile), filepath.Dir(g.cfg.TLSKeyFile))
	}
	slices.Sort(folders)
	return slices.Compact(folders)
}

// reload reads the settings again and takes over what has changed among the secrets. Where ok is false, it asks to be called again
// after a wait: the old ones of what can't be used are in use meanwhile.
func (g *gateway) reload(ctx context.Context) (wait time.Duration, ok bool) {
	next, err := loadSettings(g.environ)
	if err == nil {
		err = g.adopt(ctx, next)
	}
	if err != nil {
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
	g.redisURL.Store(&next.RedisURL)
	var certificate error
	if g.tls != nil {
		certificate = g.tls.Reload()
	}
	return errors.Join(certificate, g.members.Reload(ctx, jwtSecrets(next), licenses(next)))
}
