package main

// This file runs everything in one process, with nothing to set: stand-ins of both upstreams, a Redis in memory, and the
// gateway as it is served elsewhere.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/alicebob/miniredis/v2"

	"roomgate/internal/sandbox"
)

// The sandbox's keys are public and the same everywhere, so that configs/local.env fits.
const (
	sandboxJWTSecret = "sandbox-member-jwt-secret-for-local-use-only-000000"
	sandboxAccessKey = "sandbox-access-key"
	sandboxSecretKey = "sandbox-secret-key-for-local-use-only"
	sandboxRoom      = "주간회의" // always open
)

// sandboxFlags are what the command line says.
type sandboxFlags struct {
	listen, admin, glory, interwater string // addresses to listen on; "" is the usual one
	upstreams                        bool   // the stand-ins alone
	remote                           bool   // the gateway has no JWT secret: it asks check_login about members
}

func runSandbox(ctx context.Context, args, environ []string, stdout, stderr io.Writer) error {
	var f sandboxFlags
	flags := newFlags("sandbox [flags]", stderr)
	flags.StringVar(&f.listen, "listen", "", "address of the gateway (default LISTEN_ADDR or 127.0.0.1:8080)")
	flags.StringVar(&f.admin, "admin", "", "address of the operations listener (default ADMIN_ADDR or 127.0.0.1:9090)")
	flags.StringVar(&f.glory, "glory", "", "address of the Glory stand-in (default 127.0.0.1:8081, or any if that is taken)")
	flags.StringVar(&f.interwater, "interwater", "", "address of the Interwater stand-in (default 127.0.0.1:8082, or any if that is taken)")
	flags.BoolVar(&f.upstreams, "upstreams", false, "start the two stand-ins alone and print the settings that fit them")
	flags.BoolVar(&f.remote, "remote", false, "do without Glory's JWT secret: members are verified by its check_login")
	if done, err := parseFlags(flags, args); done || err != nil {
		return err
	}
	stands, err := startStandIns(ctx, f)
	if err != nil {
		return err
	}
	defer func() { _ = stands.Close() }()
	if f.upstreams {
		printSettings(stdout, stands, f.remote)
		<-ctx.Done()
		return nil
	}
	redis, stop, err := startMemoryRedis(ctx)
	if err != nil {
		return err
	}
	defer stop()
	environ = sandboxEnviron(f, environ, stands, redis)
	cfg, err := loadSettings(environ)
	if err != nil {
		return err
	}
	g, err := newGateway(ctx, cfg, environ, stdout)
	if err != nil {
		return withFlag(err)
	}
	defer g.close()
	printSession(stdout, g, stands, f.remote)
	return g.serve(ctx)
}

// startStandIns listens on the addresses asked for. A usual address that is taken is replaced by a free one; one that was
// asked for is not.
func startStandIns(ctx context.Context, f sandboxFlags) (*sandbox.Sandbox, error) {
	options := sandbox.Options{
		GloryAddr: orFree(ctx, f.glory, "127.0.0.1:8081"), InterwaterAddr: orFree(ctx, f.interwater, "127.0.0.1:8082"),
		JWTSecret: sandboxJWTSecret,
		Licenses:  []sandbox.License{{AccessKey: sandboxAccessKey, SecretKey: sandboxSecretKey}},
	}
	stands, err := sandbox.Start(options)
	if err != nil {
		return nil, fmt.Errorf("%w; choose others with -glory ADDR and -interwater ADDR", err)
	}
	return stands, nil
}

// orFree is asked, else usual where nobody listens there, else a free port.
func orFree(ctx context.Context, asked, usual string) string {
	if asked != "" {
		return asked
	}
	var config net.ListenConfig
	probe, err := config.Listen(ctx, "tcp", usual)
	if err != nil {
		return "127.0.0.1:0"
	}
	_ = probe.Close()
	return usual
}

// startMemoryRedis returns the address of a Redis in this process. stop ends it.
func startMemoryRedis(ctx context.Context) (addr string, stop func(), err error) {
	redis, err := miniredis.Run()
	if err != nil {
		return "", nil, fmt.Errorf("in-memory Redis: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { // its clock stands still by itself
		defer close(done)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				redis.FastForward(100 * time.Millisecond)
			}
		}
	}()
	return redis.Addr(), func() { cancel(); <-done; redis.Close() }, nil
}

// sandboxEnviron is the settings of the gateway in the sandbox: its own, and of the environment what doesn't touch the
// upstreams and Redis.
func sandboxEnviron(f sandboxFlags, environ []string, stands *sandbox.Sandbox, redis string) []string {
	kept := slices.DeleteFunc(slices.Clone(environ), func(entry string) bool {
		return slices.ContainsFunc([]string{"GLORY_", "INTERWATER_", "REDIS_"}, func(prefix string) bool {
			return strings.HasPrefix(entry, prefix)
		})
	})
	// Of two entries of one name the last counts: what comes first here is a default.
	all := append([]string{
		"LISTEN_ADDR=127.0.0.1:8080", "ADMIN_ADDR=127.0.0.1:9090", "LOG_LEVEL=warn", "LOG_FORMAT=text", "DRAIN_DELAY=0s",
	}, kept...)
	if f.listen != "" {
		all = append(all, "LISTEN_ADDR="+f.listen, "LISTEN_ADDR_FILE=")
	}
	if f.admin != "" {
		all = append(all, "ADMIN_ADDR="+f.admin, "ADMIN_ADDR_FILE=")
	}
	if !f.remote {
		all = append(all, "GLORY_JWT_SECRETS="+sandboxJWTSecret)
	}
	return append(all,
		"GLORY_URL="+stands.GloryURL,
		"INTERWATER_URL="+stands.InterwaterURL,
		"INTERWATER_ACCESS_KEY="+sandboxAccessKey, "INTERWATER_SECRET_KEY="+sandboxSecretKey,
		"REDIS_URL=redis://"+redis)
}

// withFlag names the way out of a taken port.
func withFlag(err error) error {
	if !errors.Is(err, syscall.EADDRINUSE) {
		return err
	}
	return fmt.Errorf("%w; choose others with -listen ADDR and -admin ADDR", err)
}

// printSettings prints what `gateway serve` needs to use the stand-ins, in a form that a shell can source.
func printSettings(w io.Writer, s *sandbox.Sandbox, remote bool) {
	secret := "GLORY_JWT_SECRETS=" + sandboxJWTSecret
	if remote {
		secret = "# No GLORY_JWT_SECRETS: Glory's check_login verifies members."
	}
	_, _ = fmt.Fprintf(w, `# Stand-ins of Glory and Interwater are running. Settings that fit them:
GLORY_URL=%s
%s
INTERWATER_URL=%s
INTERWATER_ACCESS_KEY=%s
INTERWATER_SECRET_KEY=%s
# A member who has joined:
# %s
# Faults on demand: GET %s/_sandbox/faults, GET %s/_sandbox/stats
`, s.GloryURL, secret, s.InterwaterURL, sandboxAccessKey, sandboxSecretKey, demo(s), s.InterwaterURL, s.InterwaterURL)
}

// printSession prints a session that works when pasted.
func printSession(w io.Writer, g *gateway, s *sandbox.Sandbox, remote bool) {
	gate := "http://" + g.public.Addr().String()
	verified := "by the gateway, which has Glory's JWT secret (-remote: by check_login)"
	if remote {
		verified = "by Glory's check_login, since the gateway has no JWT secret"
	}
	_, _ = fmt.Fprintf(w, `roomgate sandbox: gateway %[1]s   operations %[2]s   (Ctrl-C ends it)
stand-ins: Glory %[3]s   Interwater %[4]s   (faults on demand: /_sandbox/faults)
members are verified %[9]s

A member who has joined:
%[5]s
A room that is open: %[6]s

Paste into another terminal:

GATE=%[1]s
curl -sw '\n' $GATE/public-api/v1/join -H 'Content-Type: application/json' -d '{"id":"test-user-1","password":"abcd","name":"홍길동","nickname":"oracleman","email":"abc@gmail.com"}'
TOKEN=$(curl -s $GATE/public-api/v1/login -H 'Content-Type: application/json' -d '%[5]s' | sed 's/.*"token":"\([^"]*\)".*/\1/')
curl -sw '\n' $GATE/api/v1/check_login -H "Authorization: Bearer $TOKEN"
curl -sw '\n' $GATE/api/v1/profile -H "Authorization: Bearer $TOKEN"
curl -sw '\n' $GATE/v1/info -H "Authorization: Bearer $TOKEN"
curl -sw '\n' $GATE/v1/sessions -H "Authorization: Bearer $TOKEN"
curl -sw '\n' $GATE/v1/sessions/%[7]s -H "Authorization: Bearer $TOKEN"   # %[6]s
curl -siw '\n' $GATE/v1/sessions -H "Authorization: Bearer ${TOKEN%%????}AAAA"  # forged: 401
curl -siw '\n' $GATE/v1/sessions -H "Authorization: Bearer %[8]s"  # expired: 401
curl -siw '\n' -X POST $GATE/v1/auth   # 404: never forwarded

LOG_LEVEL=info shows every request here.

`, gate, opsURL(g), s.GloryURL, s.InterwaterURL, demo(s), sandboxRoom, url.PathEscape(sandboxRoom),
		s.Glory.MintToken("1", -time.Hour), verified)
}

func opsURL(g *gateway) string {
	if g.admin == nil {
		return "off"
	}
	return "http://" + g.admin.Addr().String()
}

func demo(s *sandbox.Sandbox) string {
	text, _ := json.Marshal(s.Demo) // two strings: can't fail
	return string(text)
}
