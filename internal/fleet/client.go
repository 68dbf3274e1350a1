package fleet

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// The library has one logger for the whole process, which prints each failed dial to standard error. The circuits log what an
// operator needs to know. The logger is replaced in init, because later it would race with clients in use.
func init() { redis.SetLogger(noLog{}) }

// noLog is a logger for the library that prints nothing.
type noLog struct{}

// Printf does nothing.
func (noLog) Printf(context.Context, string, ...any) {}

// Connection says how to reach Redis.
type Connection struct {
	// Mode is "single", "cluster" or "sentinel".
	Mode string
	// URL is redis:// or rediss://. It may hold a password.
	URL string
	// Timeout bounds each step: dialing, reading, writing, and waiting for a free connection. It overrides timeouts in the URL.
	Timeout time.Duration
	// Current returns the current URL: each new connection logs in with its user and password, and ignores the rest of it. In
	// mode "sentinel" the login at the sentinels themselves is always that in URL. Nil: URL.
	Current func() string
	// Certificate returns what is shown to a server that asks for a certificate, with rediss:// only. Nil: none is shown.
	Certificate func() *tls.Certificate
}

// Connect returns a client. It doesn't open a connection, so a replica starts even if Redis is down. The caller closes the client, or
// leaves that to [Redis.Close].
//
// Failed commands aren't repeated; for a cluster see the package comment. The error is for an unknown mode or an invalid URL. It never
// quotes the URL, which may hold a password.
func Connect(to Connection) (redis.UniversalClient, error) {
	timeout := to.Timeout
	login := func() (user, password string) {
		if to.Current == nil {
			return loginOf(to.Mode, to.URL)
		}
		return loginOf(to.Mode, to.Current())
	}
	quiet := &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	switch to.Mode {
	case "single":
		opt, err := redis.ParseURL(to.URL)
		if err != nil {
			return nil, errURL
		}
		opt.ContextTimeoutEnabled, opt.MaxRetries, opt.DialerRetries = true, -1, 1
		opt.DialTimeout, opt.ReadTimeout, opt.WriteTimeout, opt.PoolTimeout = timeout, timeout, timeout, timeout
		opt.MaintNotificationsConfig, opt.CredentialsProvider = quiet, login
		opt.Dialer = to.dialer(opt.TLSConfig)
		return redis.NewClient(opt), nil
	case "cluster":
		opt, err := redis.ParseClusterURL(to.URL)
		if err != nil {
			return nil, errURL
		}
		opt.ContextTimeoutEnabled, opt.MaxRetries, opt.DialerRetries = true, -1, 1
		opt.DialTimeout, opt.ReadTimeout, opt.WriteTimeout, opt.PoolTimeout = timeout, timeout, timeout, timeout
		opt.MaintNotificationsConfig, opt.CredentialsProvider = quiet, login
		opt.Dialer = to.dialer(opt.TLSConfig)
		return redis.NewClusterClient(opt), nil
	case "sentinel":
		opt, err := redis.ParseFailoverURL(to.URL)
		if err != nil {
			return nil, errURL
		}
		opt.ContextTimeoutEnabled, opt.MaxRetries, opt.DialerRetries = true, -1, 1
		opt.DialTimeout, opt.ReadTimeout, opt.WriteTimeout, opt.PoolTimeout = timeout, timeout, timeout, timeout
		opt.CredentialsProvider = login
		opt.Dialer = to.dialer(opt.TLSConfig)
		return redis.NewFailoverClient(opt), nil
	}
	return nil, fmt.Errorf("unknown Redis mode %q", to.Mode)
}

// dialer returns the function that opens connections. Each new connection with TLS shows the present certificate. config is nil
// without TLS, and is changed otherwise.
func (to Connection) dialer(config *tls.Config) func(ctx context.Context, network, addr string) (net.Conn, error) {
	if config != nil && to.Certificate != nil {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return to.Certificate(), nil }
	}
	return dialer(to.Timeout, config)
}

// errURL replaces the errors of the library's parsers: they quote the URL, and so perhaps a part of the password.
var errURL = errors.New("redis URL: want redis[s]://user:password@host:port/database, with special characters in the password percent-encoded")

// loginOf returns the user and the password for the Redis servers themselves, from a URL. They are in front of the host. In mode
// "sentinel" that login is for the sentinels; it is for the servers too, unless the query has username and password. An empty
// password in the query means none.
func loginOf(mode, address string) (user, password string) {
	at, err := url.Parse(address)
	if err != nil {
		return "", ""
	}
	if query := at.Query(); mode == "sentinel" && query.Has("password") {
		return query.Get("username"), query.Get("password")
	}
	password, _ = at.User.Password()
	return at.User.Username(), password
}
