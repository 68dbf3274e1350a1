package main

// The commands deny, allow and denied work on the fleet's deny list in Redis.

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"roomgate/internal/bridge"
	"roomgate/internal/config"
	"roomgate/internal/fleet"
)

func runDeny(ctx context.Context, args, environ []string, stdout, stderr io.Writer) error {
	flags := newFlags("deny SUB|token:HASH [-for 24h]", stderr)
	var ttl denial
	flags.Var(&ttl, "for", "how long, such as 24h or 30d (default until allowed)")
	name, done, err := parseDenied(flags, args)
	if done || err != nil {
		return err
	}
	if !bridge.CanBeDenied(name) {
		return usageError("token:HASH: HASH must be the SHA-256 of a member JWT, 64 hexadecimal digits")
	}
	return withDenyList(ctx, environ, func(list *fleet.DenyList) error {
		if err := list.Deny(ctx, name, time.Duration(ttl)); err != nil {
			return err
		}
		until := "until allowed"
		if ttl > 0 {
			until = "for " + ttl.String()
		}
		_, err := fmt.Fprintf(stdout, "%s is denied %s; every replica knows within %s\n", bridge.DeniedLabel(name), until, fleet.DenyDelay)
		return err
	})
}

// denial is how long a denial lasts; 0: until allowed.
type denial time.Duration

// String implements flag.Value.
func (d *denial) String() string { return time.Duration(*d).String() }

// Set implements flag.Value. It accepts a Go duration, with or without days before it: 24h, 30d, 1d12h.
func (d *denial) Set(text string) error {
	days, rest, found := strings.Cut(text, "d")
	if !found {
		days, rest = "0", text
	}
	n, err := strconv.ParseUint(days, 10, 16)
	if err != nil {
		return errors.New("write it like 24h, 30d or 1d12h")
	}
	var more time.Duration
	if rest != "" {
		if more, err = time.ParseDuration(rest); err != nil {
			return errors.New("write it like 24h, 30d or 1d12h")
		}
	}
	if more < 0 || rest == "" && !found {
		return errors.New("must not be negative or empty")
	}
	*d = denial(time.Duration(n)*24*time.Hour + more)
	return nil
}

func runAllow(ctx context.Context, args, environ []string, stdout, stderr io.Writer) error {
	name, done, err := parseDenied(newFlags("allow SUB|token:HASH", stderr), args)
	if done || err != nil {
		return err
	}
	return withDenyList(ctx, environ, func(list *fleet.DenyList) error {
		if err := list.Allow(ctx, name); err != nil {
			return err
		}
		_, err := fmt.Fprintf(stdout, "%s is not denied; every replica knows within %s\n", bridge.DeniedLabel(name), fleet.DenyDelay)
		return err
	})
}

func runDenied(ctx context.Context, args, environ []string, stdout, stderr io.Writer) error {
	if done, err := parseFlags(newFlags("denied", stderr), args); done || err != nil {
		return err
	}
	return withDenyList(ctx, environ, func(list *fleet.DenyList) error {
		all, err := list.All(ctx)
		if err != nil {
			return err
		}
		table, tokens, members := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0), 0, 0
		for _, d := range all {
			if logout, all := bridge.IsLogout(d.Name); all {
				members++
				continue
			} else if logout {
				tokens++
				continue
			}
			until := "until allowed"
			if !d.Until.IsZero() {
				until = d.Until.UTC().Format(time.RFC3339)
			}
			_, _ = fmt.Fprintf(table, "%s\t%s\n", bridge.DeniedLabel(d.Name), until)
		}
		if tokens+members > 0 {
			_, _ = fmt.Fprintf(table, "logged out: %d tokens, and all tokens of %d members\n", tokens, members)
		}
		return table.Flush()
	})
}

// parseDenied returns the name on the deny list for the one argument, which may stand before or after the flags: SUB for a member,
// or token:HASH, the SHA-256 of a member JWT, for that token alone.
func parseDenied(flags *flag.FlagSet, args []string) (name string, done bool, err error) {
	subjects, done, err := parseAround(flags, args)
	switch {
	case done || err != nil:
		return "", done, err
	case len(subjects) > 1:
		return "", false, usageError(fmt.Sprintf("unexpected argument %q", subjects[1]))
	case len(subjects) == 0 || subjects[0] == "":
		flags.Usage()
		return "", false, usageError("no SUB given")
	}
	return bridge.DeniedName(subjects[0]), false, nil
}

// openRedis opens the fleet's Redis for one command of the gateway. Each call waits up to timeout. The caller closes it.
func openRedis(cfg *config.Config, timeout time.Duration) (*fleet.Redis, error) {
	to, _, err := redisConnection(cfg)
	if err != nil {
		return nil, err
	}
	to.Timeout = timeout
	client, err := fleet.Connect(to)
	if err != nil {
		return nil, fmt.Errorf("REDIS_URL: %w", err)
	}
	return fleet.New(client, fleet.Options{Prefix: cfg.RedisKeyPrefix, Timeout: timeout}), nil
}

// withDenyList opens the Redis of the settings, calls use with its deny list, and closes it.
func withDenyList(ctx context.Context, environ []string, use func(*fleet.DenyList) error) error {
	cfg, err := config.Redis(environ)
	if err != nil {
		return err
	}
	redis, err := openRedis(cfg, max(cfg.RedisTimeout, 2*time.Second)) // no request waits for it
	if err != nil {
		return err
	}
	defer redis.Close()
	if err := use(fleet.NewDenyList(redis)); err != nil {
		return err
	}
	return ctx.Err()
}
