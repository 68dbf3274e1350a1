package fleet

import (
	"context"
	"errors"
	"fmt"
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

// Connect returns a client for the Redis at address, a URL of scheme redis or rediss. mode is "single", "cluster" or "sentinel".
// It doesn't open a connection, so a replica starts even if Redis is down. The caller closes the client, or leaves that to
// [Redis.Close].
//
// timeout bounds each step: dialing, reading, writing, and waiting for a free connection. It overrides timeouts in the URL. Failed
// commands aren't repeated; for a cluster see the package comment.
//
// Each new connection logs in with the user and the password in the URL that current returns, and ignores the rest of that
// URL. nil: those in address. The login at the sentinels themselves is always that in address.
//
// The error is for an unknown mode or an invalid URL. It never quotes the URL, which may hold a password.
func Connect(mode, address string, timeout time.Duration, current func() string) (redis.UniversalClient, error) {
	if current == nil {
		current = func() string { return address }
	}
	login := func() (user, password string) { return loginOf(mode, current()) }
	quiet := &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	switch mode {
	case "single":
		opt, err := redis.ParseURL(address)
		if err != nil {
			return nil, errURL
		}
		opt.ContextTimeoutEnabled, opt.MaxRetries, opt.DialerRetries = true, -1, 1
		opt.DialTimeout, opt.ReadTimeout, opt.WriteTimeout, opt.PoolTimeout = timeout, timeout, timeout, timeout
		opt.MaintNotificationsConfig, opt.CredentialsProvider = quiet, login
		return redis.NewClient(opt), nil
	case "cluster":
		opt, err := redis.ParseClusterURL(address)
		if err != nil {
			return nil, errURL
		}
		opt.ContextTimeoutEnabled, opt.MaxRetries, opt.DialerRetries = true, -1, 1
		opt.DialTimeout, opt.ReadTimeout, opt.WriteTimeout, opt.PoolTimeout = timeout, timeout, timeout, timeout
		opt.MaintNotificationsConfig, opt.CredentialsProvider = quiet, login
		return redis.NewClusterClient(opt), nil
	case "sentinel":
		opt, err := redis.ParseFailoverURL(address)
		if err != nil {
			return nil, errURL
		}
		opt.ContextTimeoutEnabled, opt.MaxRetries, opt.DialerRetries = true, -1, 1
		opt.DialTimeout, opt.ReadTimeout, opt.WriteTimeout, opt.PoolTimeout = timeout, timeout, timeout, timeout
		opt.CredentialsProvider = login
		return redis.NewFailoverClient(opt), nil
	}
	return nil, fmt.Errorf("unknown Redis mode %q", mode)
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
