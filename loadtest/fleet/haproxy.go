package main

// The balancer: its configuration, and what its statistics say.

import (
	"bytes"
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"roomgate/internal/sandbox"
)

// haproxyConfig takes the addresses for members (clear text, TLS), the certificate's file, the lines of the servers, and the
// address of the statistics.
const haproxyConfig = `global
  maxconn 4000

defaults
  mode http
  timeout connect 500ms
  timeout http-request 10s
  timeout client 75s
  # Longer than the gateway ever takes: it answers 504 when an upstream has taken 10 s.
  timeout server 20s
  timeout check 400ms
  # No 408 on a connection that was opened ahead and never used: a client would take it for the answer to its next request.
  option http-ignore-probes

frontend members
  bind %s
  bind %s ssl crt %s alpn h2,http/1.1
  # The gateways believe this balancer (TRUSTED_PROXIES), so a client's own values must not get through.
  http-request set-header X-Forwarded-For %%[src]
  http-request set-header X-Forwarded-Proto https if { ssl_fc }
  http-request set-header X-Forwarded-Proto http unless { ssl_fc }
  http-request del-header X-Forwarded-Host
  default_backend gateways

backend gateways
  balance roundrobin

  # A draining replica answers 503: it gets no new requests, and those in flight finish. A replica that doesn't answer
  # is dead or frozen: after the second failed check its requests in flight are given up.
  option httpchk
  http-check send meth GET uri /readyz
  http-check expect error-status L7OKC ! status 503
  http-check expect status 200
  default-server check inter 500ms fall 2 rise 1 on-marked-down shutdown-sessions

  # A request that couldn't be delivered goes to another replica. One that may have been delivered, but got no answer, is
  # repeated only if it is a GET or HEAD.
  retries 3
  option redispatch 1
  retry-on conn-failure empty-response
  http-request disable-l7-retry unless METH_GET

%s
frontend statistics
  bind %s
  stats enable
  stats uri /
`

func serverName(replica int) string { return "gateway" + strconv.Itoa(replica+1) }

// startBalancer starts HAProxy and waits until it uses all replicas.
func (f *fleet) startBalancer(ctx context.Context, haproxy string) error {
	speaks := ""
	if f.h2 {
		speaks = " no-check-ssl ssl verify required ca-file " + f.certificate() + " verifyhost localhost alpn h2"
	}
	var servers strings.Builder
	for i := range f.gateways {
		fmt.Fprintf(&servers, "  server %s %s port %d%s\n", serverName(i), f.addr(portGateway+i), f.base+portAdmin+i, speaks)
	}
	text := fmt.Sprintf(haproxyConfig, f.addr(portPlain), f.addr(portTLS), f.certificate(), servers.String(), f.addr(portStats))
	config := filepath.Join(f.dir, "haproxy.cfg")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return fmt.Errorf("set the balancer up: %w", err)
	}
	var err error
	if f.balancer, err = spawn("haproxy", haproxy, []string{"-db", "-f", config}, nil); err != nil {
		return err
	}
	return f.balancer.await(ctx, func(ctx context.Context) bool {
		all, err := f.servers(ctx)
		return err == nil && !slices.ContainsFunc(all, func(s server) bool { return !s.checked })
	})
}

// server is a replica as the balancer sees it.
type server struct {
	status   string // UP, DOWN or NOLB (no new requests); with "1/2" while it changes
	checked  bool   // a check has found it up; before, HAProxy assumes so
	inFlight int
	repeated int // requests that were sent again, to this or another replica, since the start
}

// up reports whether the replica gets requests.
func (s server) up() bool { return strings.HasPrefix(s.status, "UP") }

// servers asks the balancer about all replicas and returns them in their order.
func (f *fleet) servers(ctx context.Context) ([]server, error) {
	_, body, err := ask(ctx, http.DefaultClient, http.MethodGet, "http://"+f.addr(portStats)+"/;csv", "", "")
	if err != nil {
		return nil, fmt.Errorf("the balancer's statistics: %w", err)
	}
	rows, err := csv.NewReader(bytes.NewReader(body)).ReadAll()
	if err == nil && len(rows) == 0 {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, fmt.Errorf("the balancer's statistics: %w", err)
	}
	column := map[string]int{}
	for i, name := range rows[0] {
		column[strings.TrimPrefix(name, "# ")] = i // the line begins as a comment
	}
	all, names := make([]server, replicas), make([]string, replicas)
	for i := range names {
		names[i] = serverName(i)
	}
	for _, row := range rows[1:] {
		value := func(name string) string { return row[column[name]] }
		number := func(name string) int { n, _ := strconv.Atoi(value(name)); return n }
		i := slices.Index(names, value("svname"))
		if i < 0 || value("pxname") != "gateways" {
			continue
		}
		all[i] = server{
			status: value("status"), inFlight: number("scur"), repeated: number("wretr") + number("wredis"),
			checked: value("status") == "UP" && value("check_status") == "L7OK",
		}
	}
	return all, nil
}

// awaitServer waits until the balancer's view of replica i satisfies wanted, and returns the time.
func (f *fleet) awaitServer(ctx context.Context, i int, wanted func(server) bool) (at time.Time, err error) {
	err = f.balancer.await(ctx, func(ctx context.Context) bool {
		all, err := f.servers(ctx)
		return err == nil && wanted(all[i])
	})
	return time.Now(), err
}

// repeated returns how many requests the balancer has sent again since its start.
func (f *fleet) repeated(ctx context.Context) (n int, err error) {
	all, err := f.servers(ctx)
	for _, s := range all {
		n += s.repeated
	}
	return n, err
}

// certify makes the certificate that balancer and gateways use.
func (f *fleet) certify() error {
	pair, err := sandbox.SelfSigned(-time.Minute, 30*24*time.Hour, "localhost", "127.0.0.1")
	if err != nil {
		return err
	}
	f.roots = pair.Cert
	if err := os.WriteFile(f.certificate(), slices.Concat(pair.Cert, pair.Key), 0o600); err != nil {
		return fmt.Errorf("a certificate: %w", err)
	}
	return nil
}
