package tokencache

// This file opens the Redis client the way the cache needs it: no hidden waiting and no hidden retries.

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// The library has one logger for the whole process and prints each failed dial to standard error. What an operator needs
// to know, the circuit tells. Here, since setting it later races with clients in use.
func init() { redis.SetLogger(noLog{}) }

// noLog implements the library's logger.
type noLog struct{}

// Printf drops the line.
func (noLog) Printf(context.Context, string, ...any) {}

// OpenRedis returns a client for mode "single", "cluster" or "sentinel". It does not connect: a Redis that is down must
// not keep a replica from starting. The URL's own timeouts and retries are overridden: no step takes longer than
// timeout, and a command is sent once. The URL may hold a password; no error repeats it.
//
// current, unless nil, gives the URL again for each new connection, whose user and password then count: they may change,
// everything else in it may not. A sentinel's own, which stand before the host, are those of the first URL.
func OpenRedis(mode, address string, timeout time.Duration, current func() string) (redis.UniversalClient, error) {
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

// errURL drops the parsers' reason: they quote the URL, escaped or in parts, and a part may be one of the password.
var errURL = errors.New("redis URL: want redis[s]://user:password@host:port/database, with special characters in the password percent-encoded")

// loginOf reads from a URL with which user and password its data is reached: those before the host. In a sentinel's URL
// they are the sentinel's, and count for the master too unless its query has others, or an empty password for none.
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
