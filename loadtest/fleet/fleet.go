package main

// Start and stop of the fleet: its programs, their order and ports.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"roomgate/internal/sandbox"
)

const (
	replicas   = 3
	drainDelay = "2s" // longer than the balancer takes to notice: a check each half second
)

// Ports, relative to the base. All are fixed, so that a replica comes back on its old port. They must lie outside the range
// from which the kernel takes ports for clients.
const (
	portPlain      = 0
	portGlory      = 1
	portInterwater = 2
	portTLS        = 3
	portStats      = 4
	portGateway    = 11 // and one more for each replica
	portAdmin      = 21
)

// fleet is everything that was started.
type fleet struct {
	base     int
	h2       bool   // between balancer and gateways
	remote   bool   // the gateways have no JWT secret
	dir      string // has all built and written files; stop removes it
	environ  []string
	redis    *sandbox.RedisServer
	stands   *process
	gateways []*process
	programs []string // each replica's binary
	balancer *process
	control  control
	demo     sandbox.Member
	roots    []byte // the balancer's certificate, PEM
}

// start starts everything and returns when the balancer uses all replicas. The caller must call stop, even after an error: f is
// never nil.
func start(ctx context.Context, o options) (f *fleet, err error) {
	f = &fleet{base: o.base, h2: o.h2, remote: o.remote, gateways: make([]*process, replicas)}
	f.control = control{"http://" + f.addr(portInterwater)}
	haproxy, err := exec.LookPath("haproxy")
	if err != nil {
		return f, errors.New("haproxy is not installed (Debian: apt-get install haproxy redis-server)")
	}
	if f.dir, err = os.MkdirTemp("", "roomgate-fleet-"); err != nil {
		return f, fmt.Errorf("a folder for the fleet: %w", err)
	}
	f.programs = slices.Repeat([]string{f.binary()}, replicas)
	build := exec.CommandContext(ctx, "go", "build", "-o", f.binary(), "roomgate/cmd/gateway")
	if out, err := build.CombinedOutput(); err != nil {
		return f, fmt.Errorf("build the gateway: %w\n%s", err, out)
	}
	if err := f.certify(); err != nil {
		return f, err
	}
	if f.redis, err = sandbox.StartRedis(); err != nil {
		return f, err
	}
	if err := f.startStands(ctx); err != nil {
		return f, err
	}
	for i := range f.gateways {
		if err := f.startGateway(ctx, i); err != nil {
			return f, err
		}
	}
	return f, f.startBalancer(ctx, haproxy)
}

// stop ends everything, clients before the servers that they use.
func (f *fleet) stop() {
	f.balancer.kill()
	for _, g := range f.gateways {
		g.kill()
	}
	f.stands.kill()
	if f.redis != nil {
		_ = f.redis.Close()
	}
	if f.dir != "" {
		_ = os.RemoveAll(f.dir)
	}
}

func (f *fleet) binary() string { return filepath.Join(f.dir, "gateway") }

// certificate is the path of a file with certificate and key, as HAProxy wants it. The gateways can read it too.
func (f *fleet) certificate() string { return filepath.Join(f.dir, "loopback.pem") }

// addr returns the address of one of the ports above.
func (f *fleet) addr(port int) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(f.base+port))
}

// startStands runs both stand-ins and keeps the settings that they print.
func (f *fleet) startStands(ctx context.Context) (err error) {
	args := []string{"sandbox", "-upstreams", "-glory", f.addr(portGlory), "-interwater", f.addr(portInterwater), "-remote=" + strconv.FormatBool(f.remote)}
	if f.stands, err = spawn("the stand-ins", f.binary(), args, nil); err != nil {
		return err
	}
	printed := func(context.Context) bool { return strings.Contains(f.stands.out.text(), "/_sandbox/stats\n") }
	if err := f.stands.await(ctx, printed); err != nil {
		return err
	}
	for line := range strings.Lines(f.stands.out.text()) {
		line = strings.TrimSpace(line)
		if member, ok := strings.CutPrefix(line, "# {"); ok {
			if err := json.Unmarshal([]byte("{"+member), &f.demo); err != nil {
				return fmt.Errorf("the demo member: %w", err)
			}
		} else if line != "" && line[0] != '#' {
			f.environ = append(f.environ, line)
		}
	}
	f.environ = append(f.environ,
		"REDIS_URL=redis://"+f.redis.Addr, "TRUSTED_PROXIES=127.0.0.1/32", "DRAIN_DELAY="+drainDelay, "LOG_LEVEL=warn",
		"SESSION_SECRETS=loadtest-session-secret-for-local-use-only")
	if f.h2 {
		f.environ = append(f.environ, "TLS_CERT_FILE="+f.certificate(), "TLS_KEY_FILE="+f.certificate())
	}
	return nil
}

// startGateway starts replica i, for the first time or again, and waits until it is ready.
func (f *fleet) startGateway(ctx context.Context, i int) (err error) {
	admin := f.addr(portAdmin + i)
	environ := append(slices.Clone(f.environ), "LISTEN_ADDR="+f.addr(portGateway+i), "ADMIN_ADDR="+admin)
	if f.gateways[i], err = spawn("gateway "+strconv.Itoa(i+1), f.programs[i], []string{"serve"}, environ); err != nil {
		return err
	}
	return f.gateways[i].await(ctx, func(ctx context.Context) bool {
		status, _, err := ask(ctx, http.DefaultClient, http.MethodGet, "http://"+admin+"/readyz", "", "")
		return err == nil && status == http.StatusOK
	})
}

// introduce prints all addresses, and commands to try.
func (f *fleet) introduce(w io.Writer) {
	member, _ := json.Marshal(f.demo) // two strings: can't fail
	_, _ = fmt.Fprintf(w, `A fleet of %d gateways behind HAProxy (Ctrl-C stops everything):
  members      http://%s   https://%s (HTTP/2 too; self-signed)
  balancer     http://%s/
  operations   http://%s/ and the next %d ports
  stand-ins    Glory http://%s   Interwater http://%s   (faults on demand: /_sandbox/faults)
  Redis        %s

A member who has joined: %s

Paste into another terminal:

`, replicas, f.addr(portPlain), f.addr(portTLS), f.addr(portStats), f.addr(portAdmin), replicas-1,
		f.addr(portGlory), f.addr(portInterwater), f.redis.Addr, member)
	_, _ = fmt.Fprintf(w, `GATE=http://%s
TOKEN=$(curl -s $GATE/public-api/v1/login -H 'Content-Type: application/json' -d '%s' | sed 's/.*"token":"\([^"]*\)".*/\1/')
curl -sw '\n' $GATE/v1/sessions -H "Authorization: Bearer $TOKEN"
curl -s http://%s/_sandbox/stats   # auth_calls: 1

`, f.addr(portPlain), member, f.addr(portInterwater))
}
