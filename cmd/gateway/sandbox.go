package main

// The sandbox runs everything in one process and needs no settings: stand-ins of both upstreams, a Redis in memory, and the gateway
// that serve runs.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"syscall"
	"time"

	"github.com/alicebob/miniredis/v2"

	"roomgate/internal/sandbox"
)

// sandboxRoom is a room that is always open.
const sandboxRoom = "주간회의"

// sandboxFlags are the flags on the command line.
type sandboxFlags struct {
	listen, admin, glory, interwater string // addresses to listen on; "" is the default
	upstreams                        bool   // only the stand-ins
	remote                           bool   // the gateway has no JWT secret: it asks check_login about members
	memberTokens                     time.Duration
}

// parseSandboxFlags reads the command line. done: the user asked for help, and it was printed.
func parseSandboxFlags(args []string, stderr io.Writer) (f sandboxFlags, done bool, err error) {
	flags := newFlags("sandbox [flags]", stderr)
	flags.StringVar(&f.listen, "listen", "", "address of the gateway (default LISTEN_ADDR or 127.0.0.1:8080)")
	flags.StringVar(&f.admin, "admin", "", "address of the operations listener (default ADMIN_ADDR or 127.0.0.1:9090)")
	flags.StringVar(&f.glory, "glory", "", "address of the Glory stand-in (default 127.0.0.1:8081, or a free port if that is taken)")
	flags.StringVar(&f.interwater, "interwater", "", "address of the Interwater stand-in (default 127.0.0.1:8082, or a free port if that is taken)")
	flags.BoolVar(&f.upstreams, "upstreams", false, "start only the two stand-ins and print the settings that fit them; ignores the environment")
	flags.BoolVar(&f.remote, "remote", false, "run without Glory's JWT secret: Glory's check_login verifies members")
	flags.DurationVar(&f.memberTokens, "member-tokens", 2*time.Hour, "how long the member tokens of the Glory stand-in live")
	flags.Usage = withSettings(flags.Usage, stderr)
	if done, err := parseFlags(flags, args); done || err != nil {
		return f, done, err
	}
	if f.memberTokens < time.Second {
		return f, false, usageError("-member-tokens: must be at least 1s")
	}
	return f, false, nil
}

func runSandbox(ctx context.Context, args, environ []string, stdout, stderr io.Writer) error {
	f, done, err := parseSandboxFlags(args, stderr)
	switch {
	case done || err != nil:
		return err
	case f.upstreams:
		return serveStandIns(ctx, f, stdout)
	}
	settings := newSandboxSettings(f, environ)
	options, err := settings.options()
	if err != nil {
		return err
	}
	stands, err := startStandIns(ctx, f, options)
	if err != nil {
		return err
	}
	defer func() { _ = stands.Close() }()
	redis, stop, err := settings.redis(ctx)
	if err != nil {
		return err
	}
	defer stop()
	environ = settings.with(stands.GloryURL, stands.InterwaterURL, redis)
	cfg, err := loadSettings(environ)
	if err != nil {
		return err
	}
	cookie := sandboxCookie
	if cfg.TLSCertFile != "" {
		cookie = sessionCookie
	}
	g, err := newGateway(ctx, cfg, environ, stdout, cookie)
	if err != nil {
		return withFlag(err)
	}
	defer g.close()
	file, err := writeSettings(environ)
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(file) }()
	printSession(stdout, g, stands, file)
	return g.serve(ctx)
}

// redis starts a Redis in memory and returns its address, or "" if the settings name another Redis. The caller calls stop.
func (s *sandboxSettings) redis(ctx context.Context) (addr string, stop func(), err error) {
	if s.ownRedis {
		return "", func() {}, nil
	}
	return startMemoryRedis(ctx)
}

// serveStandIns runs only the two stand-ins, until ctx ends. It ignores the environment, which may be a gateway's.
func serveStandIns(ctx context.Context, f sandboxFlags, stdout io.Writer) error {
	stands, err := startStandIns(ctx, f, sandbox.Options{
		JWTSecret: sandboxJWTSecret, Licenses: []sandbox.License{{AccessKey: sandboxAccessKey, SecretKey: sandboxSecretKey}},
	})
	if err != nil {
		return err
	}
	defer func() { _ = stands.Close() }()
	printSettings(stdout, stands, f.remote)
	<-ctx.Done()
	return nil
}

// startStandIns starts both stand-ins on the addresses of f. If a default address is taken, it uses a free port. If an address from a
// flag is taken, it fails.
func startStandIns(ctx context.Context, f sandboxFlags, options sandbox.Options) (*sandbox.Sandbox, error) {
	options.GloryAddr, options.InterwaterAddr = orFree(ctx, f.glory, "127.0.0.1:8081"), orFree(ctx, f.interwater, "127.0.0.1:8082")
	options.MemberTokenTTL = f.memberTokens
	stands, err := sandbox.Start(options)
	if err != nil {
		return nil, fmt.Errorf("%w; choose others with -glory ADDR and -interwater ADDR", err)
	}
	return stands, nil
}

// orFree returns asked if it is set, else usual if nobody listens there, else an address with any free port.
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

// startMemoryRedis starts a Redis in this process and returns its address. stop ends it.
func startMemoryRedis(ctx context.Context) (addr string, stop func(), err error) {
	redis, err := miniredis.Run()
	if err != nil {
		return "", nil, fmt.Errorf("in-memory Redis: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { // miniredis doesn't advance its clock by itself
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

// withFlag extends the error of a taken port: it names the flags that choose another.
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

// printSession prints the commands of README.md, ready to paste. file holds the settings of this sandbox.
func printSession(w io.Writer, g *gateway, s *sandbox.Sandbox, file string) {
	scheme, note := "http", ""
	if g.tls != nil {
		scheme, note = "https", "\nexport CURL_CA_BUNDLE='"+g.cfg.TLSCertFile+"'   # for a certificate that this machine doesn't know"
	}
	verified := "the gateway, which has Glory's JWT secret (-remote: by Glory's check_login)"
	if len(g.cfg.GloryJWTSecrets) == 0 {
		verified = "Glory's check_login, since the gateway has no JWT secret"
	}
	sessions := ""
	if g.sessions != nil {
		sessions = fmt.Sprintf(`
A browser app holds no token, but a cookie that no script can read:

JAR=$(mktemp)
curl -sw '\n' -c $JAR $GATE/session/login -H 'Content-Type: application/json' -d '%s'
curl -sw '\n' -b $JAR $GATE/session
curl -sw '\n' -b $JAR $GATE/v1/sessions
curl -sw '\n' -b $JAR -c $JAR -X POST $GATE/session/logout
`, demo(s))
	}
	_, _ = fmt.Fprintf(w, `roomgate sandbox: gateway %[1]s   operations %[2]s   (Ctrl-C ends it)
stand-ins: Glory %[3]s   Interwater %[4]s   (faults on demand: /_sandbox/faults)
members are verified by %[5]s

A member who has joined:
%[6]s
A room that is open: %[7]s

Paste into another terminal:

GATE=%[1]s%[11]s
curl -sw '\n' $GATE/public-api/v1/join -H 'Content-Type: application/json' \
  -d '{"id":"minji","password":"abcd","name":"김민지","nickname":"mj","email":"minji@example.com"}'
TOKEN=$(curl -s $GATE/public-api/v1/login -H 'Content-Type: application/json' \
  -d '{"id":"minji","password":"abcd"}' | sed 's/.*"token":"\([^"]*\)".*/\1/')
curl -sw '\n' $GATE/api/v1/check_login -H "Authorization: Bearer $TOKEN"
curl -sw '\n' $GATE/v1/info -H "Authorization: Bearer $TOKEN"
curl -sw '\n' $GATE/v1/sessions/%[8]s -H "Authorization: Bearer $TOKEN"   # %[7]s
curl -sw '\n' $GATE/v1/sessions -H "Authorization: Bearer ${TOKEN%%????}AAAA"   # forged
curl -sw '\n' $GATE/v1/sessions -H "Authorization: Bearer %[9]s"   # expired
curl -sw '\n' -X POST $GATE/v1/auth   # never forwarded

The commands check, explain, deny, allow and denied find this sandbox by its settings:

set -a; . %[10]s; set +a
printf %%s "$TOKEN" | gateway explain GET /v1/sessions

To log out on every replica within a second:

curl -sw '\n' -X POST $GATE/session/logout -H "Authorization: Bearer $TOKEN"
%[12]s
LOG_LEVEL=info shows every request here. gateway sandbox -h lists all that can be set.

`, scheme+"://"+g.public.Addr().String(), opsURL(g), s.GloryURL, s.InterwaterURL, verified, demo(s), sandboxRoom, url.PathEscape(sandboxRoom),
		s.Glory.MintToken("1", -time.Hour), file, note, sessions)
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
