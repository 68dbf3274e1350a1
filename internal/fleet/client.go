package fleet

// This file opens the Redis client without hidden waiting and without hidden retries.

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// The library has one logger for the whole process and prints each failed dial to standard error. The circuit tells what
// an operator needs to know. It is set in init because setting it later races with clients in use.
func init() { redis.SetLogger(noLog{}) }

// noLog implements the library's logger.
type noLog struct{}

// Printf drops the line.
func (noLog) Printf(context.Context, string, ...any) {}

// Connect returns a client for mode "single", "cluster" or "sentinel". It doesn't connect: a Redis that is down must not
// keep a replica from starting. It overrides the timeouts and retries of the URL: no step takes longer than timeout, and
// a command is sent once. The URL may hold a password; no error repeats it.
//
// Unless current is nil, each new connection takes user and password from the URL that it returns. The rest of that URL
// is ignored. In mode "sentinel" the login at the sentinels themselves stays that of address.
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

// errURL stands in for the parsers' errors: those quote the URL, and a part of it may be one of the password.
var errURL = errors.New("redis URL: want redis[s]://user:password@host:port/database, with special characters in the password percent-encoded")

// loginOf reads from a URL the user and password for the data. They stand before the host. In a sentinel's URL those are
// the sentinel's. They count for the master too, unless the query has others; an empty password there means none.
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
