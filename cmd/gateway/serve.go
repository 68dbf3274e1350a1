package main

// Start, serve, drain, stop: the code is in the order in which it runs.

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"

	"roomgate/internal/bridge"
	"roomgate/internal/config"
	"roomgate/internal/fleet"
	"roomgate/internal/lane"
	"roomgate/internal/ops"
	"roomgate/internal/proxy"
	"roomgate/internal/secret"
	"roomgate/internal/tokencache"
	"roomgate/internal/upstream"
)

func runServe(ctx context.Context, args, environ []string, stdout, stderr io.Writer) error {
	if done, err := parseFlags(newFlags("serve", stderr), args); done || err != nil {
		return err
	}
	cfg, err := loadSettings(environ)
	if err != nil {
		return err
	}
	g, err := newGateway(ctx, cfg, environ, stdout, sessionCookie)
	if err != nil {
		return err
	}
	defer g.close()
	return g.serve(ctx)
}

// gateway is one replica with open listeners.
type gateway struct {
	cfg       *config.Config
	log       *slog.Logger
	output    *ops.LogOutput // log writes to it
	environ   []string       // where cfg came from
	redis     *fleet.Redis
	cache     *tokencache.Cache
	upstreams upstreams
	members   *bridge.Bridge
	sessions  *bridge.Sessions // nil: off
	handler   *proxy.Proxy
	public    net.Listener
	admin     net.Listener // nil: off
	ops       http.Handler
	registry  *prometheus.Registry
	tls       *proxy.Certificate // nil: in clear
	history   *ops.History
	roster    *fleet.Roster
	version   string
	started   time.Time
	draining  atomic.Bool
	closers   []func()

	files            *watch
	hangups          chan os.Signal
	redisURL         atomic.Pointer[secret.Value] // the last usable one
	redisCertificate *proxy.Certificate           // nil: Redis gets no client certificate
	reloads          *prometheus.CounterVec
	reloadFailed     atomic.Bool                // the last reload failed: changed secrets aren't in use
	reloaded         atomic.Pointer[ops.Reload] // the last reload; nil: none yet
	troubles         troubles
}

// sessionCookie is the name of the session cookie.
const sessionCookie = "__Host-session"

// newGateway builds a gateway and opens its listeners, so that a busy port is an error at the start. cookie is the name of the
// session cookie. The caller closes the gateway.
func newGateway(ctx context.Context, cfg *config.Config, environ []string, logs io.Writer, cookie string) (_ *gateway, err error) {
	version, commit := build()
	registry, level := ops.NewRegistry(version, commit), new(slog.LevelVar)
	level.Set(cfg.LogLevel)
	g := &gateway{cfg: cfg, environ: environ, registry: registry, version: version, started: time.Now()}
	g.output = ops.NewLogOutput(logs, registry)
	g.log = ops.NewLogger(g.output, cfg.LogFormat, level)
	g.onClose(g.output.Close) // runs last: the others may log
	defer func() {
		if err != nil {
			g.close()
		}
	}()
	g.reloads = newReloads(registry)
	registry.MustRegister(degradations{g})
	spans, err := g.trace(ctx)
	if err != nil {
		return nil, err
	}
	if err := g.connectRedis(); err != nil {
		return nil, err
	}
	g.cache, err = tokencache.New(tokencache.Options{
		Redis: g.redis, Labels: bridge.TokenLabels(), FetchTimeout: cfg.TokenFetchTimeout, RefusedTTL: cfg.TokenRefusedTTL, Log: g.log, Metrics: registry,
	})
	if err != nil {
		return nil, err
	}
	g.onClose(g.cache.Close)
	calls, err := upstream.NewMetrics(registry)
	if err != nil {
		return nil, err
	}
	if g.upstreams, err = newUpstreams(cfg, calls, spans); err != nil {
		return nil, err
	}
	g.onClose(g.upstreams.close)
	denied := fleet.NewDenyList(g.redis)
	if g.members, err = bridge.New(bridgeOptions(cfg, g.upstreams, g.cache, denied, registry)); err != nil {
		return nil, err
	}
	if len(cfg.SessionSecrets) > 0 {
		if g.sessions, err = bridge.NewSessions(cookie, cfg.SessionSecrets, cfg.SessionMaxAge); err != nil {
			return nil, err
		}
	}
	if g.handler, err = proxy.New(g.proxyOptions(registry, spans)); err != nil {
		return nil, err
	}
	if cfg.TLSCertFile != "" {
		if g.tls, err = proxy.NewCertificate(cfg.TLSCertFile, cfg.TLSKeyFile); err != nil {
			return nil, err
		}
	}
	g.watchFiles()
	g.history = ops.NewHistory(registry, g.degraded)
	if g.roster, err = fleet.NewRoster(g.redis, g.self(), g.figures, registry); err != nil {
		return nil, err
	}
	<-denied.Looked() // the first request needs the deny list
	return g, g.open(ctx, level)
}

// proxyOptions translates the settings for the public handler.
func (g *gateway) proxyOptions(registry *prometheus.Registry, spans trace.TracerProvider) proxy.Options {
	cfg := g.cfg
	return proxy.Options{
		Glory: g.upstreams.glory, Interwater: g.upstreams.interwater,
		GloryTimeout: cfg.GloryTimeout, InterwaterTimeout: cfg.InterwaterTimeout,
		RedactFields: cfg.RoomRedactFields, RoomRoutes: cfg.InterwaterRoutes, RejectStatuses: cfg.InterwaterRejectStatuses,
		Bridge: g.members, TrustedProxies: cfg.TrustedProxies,
		MaxBodyBytes: cfg.MaxBodyBytes, MaxHeaderBytes: cfg.MaxHeaderBytes, MaxInFlight: cfg.MaxInFlight, InterwaterShare: upstreamShare(cfg.MaxInFlight),
		LoginLimit: fleet.Limit(cfg.LoginRateLimit), AccountLimit: fleet.Limit(cfg.AccountRateLimit), MemberLimit: fleet.Limit(cfg.MemberRateLimit),
		Redis:       g.redis,
		CORSOrigins: cfg.CORSAllowedOrigins, Sessions: g.sessions, APIDocs: cfg.APIDocs,
		Draining: g.draining.Load, Log: g.log, Metrics: registry, ServerTiming: cfg.ServerTiming,
		RoomCoalesce: cfg.RoomCoalesce, RoomCacheTTL: cfg.RoomCacheTTL, Tracing: spans,
	}
}

// lane wraps the public listener. It reads HTTP/1 strictly and, with FAST_LANE, answers plain room requests itself.
func (g *gateway) lane() *lane.Listener {
	o := lane.Options{
		MaxHeaderBytes: g.cfg.MaxHeaderBytes, HeaderTimeout: g.cfg.ReadHeaderTimeout, IdleTimeout: g.cfg.IdleTimeout,
		WriteTimeout: g.handler.WriteTimeout(), Refused: g.handler.Refused,
	}
	if len(g.cfg.CORSAllowedOrigins) > 0 {
		o.Permission = g.handler.Permission
	}
	if g.cfg.FastLane {
		o.Answer, o.HandedOver = g.handler.AnswerPlain, g.handler.HandedOver
	}
	if g.tls != nil {
		return lane.ListenTLS(g.public, g.tls.Config(), o)
	}
	return lane.Listen(g.public, o)
}

// trace sets up tracing. nil: tracing is off.
func (g *gateway) trace(ctx context.Context) (trace.TracerProvider, error) {
	spans, err := ops.NewTracing(ctx, g.environ, g.version, g.log)
	if err != nil {
		return nil, usageError(err.Error())
	}
	if spans == nil {
		return nil, nil //nolint:nilnil // not spans: an interface with a nil pointer in it isn't nil
	}
	g.onClose(func() {
		limit, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := spans.Shutdown(limit); err != nil {
			g.log.Warn("spans were lost", "error", err.Error())
		}
	})
	return spans, nil
}

// self describes this replica to the others.
func (g *gateway) self() fleet.Replica {
	host, _ := os.Hostname() // "" if unknown
	return fleet.Replica{Version: g.version, Host: host, Started: g.started}
}

// bridgeOptions translates the settings for the domain. The secrets change their type; neither type can be printed.
func bridgeOptions(
	cfg *config.Config, services upstreams, cache *tokencache.Cache, denied *fleet.DenyList, metrics prometheus.Registerer,
) bridge.Options {
	o := bridge.Options{
		Glory: services.glory, Interwater: services.interwater.With("interwater v1/auth", cfg.TokenFetchTimeout), GloryTimeout: cfg.GloryTimeout,
		Local: bridge.LocalVerification{
			Secrets: cfg.GloryJWTSecrets, Algorithms: cfg.GloryJWTAlgorithms, Issuer: cfg.GloryJWTIssuer, Leeway: cfg.GloryJWTLeeway,
		},
		// A sixteenth of Glory's slots: unknown tokens can't take those of known members.
		Strangers:      upstreamShare(cfg.MaxInFlight) / 16,
		MemberCacheTTL: cfg.MemberCacheTTL, Licenses: licenses(cfg), Tokens: cache, Denied: denied, Metrics: metrics,
	}
	// All replicas have the license's key, even where they have no JWT secret.
	o.Verdicts = cache.Vault(o.Licenses[0].SecretKey, "member verdict "+cfg.GloryURL.String())
	return o
}

func licenses(cfg *config.Config) []bridge.License {
	list := make([]bridge.License, len(cfg.Licenses))
	for i, l := range cfg.Licenses {
		list[i] = bridge.License{
			Name: l.Name, TokenMinutes: l.TokenMinutes, Allow: l.Allow, Owner: l.Owner,
			AccessKey: l.AccessKey, SecretKey: l.SecretKey,
		}
	}
	return list
}

// serve answers requests until ctx ends, then drains and stops. It returns nil after an orderly end.
func (g *gateway) serve(ctx context.Context) error {
	quiet := slog.NewLogLogger(g.log.Handler(), slog.LevelDebug) // a line for each mistake of a client
	public := &http.Server{
		Handler:                      g.handler,
		DisableGeneralOptionsHandler: true,
		ReadHeaderTimeout:            g.cfg.ReadHeaderTimeout,
		ReadTimeout:                  g.cfg.ReadTimeout,
		IdleTimeout:                  g.cfg.IdleTimeout,
		MaxHeaderBytes:               serverHeads * g.cfg.MaxHeaderBytes,
		ConnState:                    lane.ConnState,
		ErrorLog:                     quiet,
	}
	if g.tls != nil {
		public.TLSConfig = g.tls.Config()
		if err := speakHTTP2(public); err != nil {
			return err
		}
	}
	// The operations listener answers until the drain is over, so that operators can watch it.
	admin := &http.Server{Handler: g.ops, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, ErrorLog: quiet}
	g.log.LogAttrs(ctx, slog.LevelInfo, "settings", g.cfg.Summary()...)
	for _, u := range config.Unknowns(g.environ) {
		g.log.Warn("no such setting", "name", u.Name, "did_you_mean", u.Meant)
	}

	group, failed := errgroup.WithContext(ctx)
	connections := g.lane()
	group.Go(func() error { return orderly(public.Serve(connections)) })
	if g.admin != nil {
		group.Go(func() error { return orderly(admin.Serve(g.admin)) })
	}
	g.log.Info("serving", "listen", g.public.Addr().String(), "admin", addrOf(g.admin))
	group.Go(func() error { g.followFiles(failed); return nil })
	watching, stopWatching := context.WithCancel(context.WithoutCancel(ctx)) // the history includes the drain
	if g.admin != nil {                                                      // else nobody can see the history
		group.Go(func() error { return g.history.Run(watching) })
	}
	group.Go(func() error {
		defer stopWatching()
		<-failed.Done() // told to stop, or a server failed
		g.drain(ctx, public, connections)
		return orderly(admin.Close())
	})
	return group.Wait()
}

// drain goes on serving for DrainDelay, so that balancers notice. Then it waits up to ShutdownTimeout for the requests in flight.
func (g *gateway) drain(ctx context.Context, public *http.Server, connections *lane.Listener) {
	g.draining.Store(true)
	g.log.Info("draining", "delay", g.cfg.DrainDelay.String())
	if ctx.Err() != nil { // told to stop; after a server's failure there is nothing to wait for
		<-time.After(g.cfg.DrainDelay)
	}
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.cfg.ShutdownTimeout)
	defer cancel()
	connections.CloseIdle()
	if err := errors.Join(public.Shutdown(limit), connections.Wait(limit)); err != nil {
		g.log.Warn("requests cut off", "after", g.cfg.ShutdownTimeout.String())
		_ = public.Close()
		connections.Abort()
	}
	g.log.Info("stopped")
}

// orderly returns nil for http.ErrServerClosed, which is no failure, and err otherwise.
func orderly(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

func addrOf(l net.Listener) string {
	if l == nil {
		return "off"
	}
	return l.Addr().String()
}

// onClose adds a step to close.
func (g *gateway) onClose(f func()) { g.closers = append(g.closers, f) }

// close releases everything, last opened first.
func (g *gateway) close() {
	for i := len(g.closers) - 1; i >= 0; i-- {
		g.closers[i]()
	}
}
