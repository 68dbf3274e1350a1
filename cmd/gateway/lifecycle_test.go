package main

// How the program starts, drains and ends, seen from another process.

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A balancer stops sending requests when /readyz says so. All requests until then are answered.
func TestSIGTERMUnderLoadFailsNoRequest(t *testing.T) {
	t.Parallel()
	redisServer, stands, client := newRedis(t), newStands(t), newClient(t)
	r, process := startProcess(t, settings(stands, redisServer.Addr, "DRAIN_DELAY=4s", "MEMBER_RATE_LIMIT=0"))
	token := stands.Glory.MintToken("1", time.Hour)
	got, stop := openLoad(t, 200, []string{r.url + "/v1/info"}, token)
	eventually(t, "some requests", func() bool { return len(got.all()) > 50 })
	if got := get(t, client, r.admin+"/readyz", ""); got.status != 200 {
		t.Fatalf("readyz: %+v", got)
	}
	if err := process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, "not ready", func() bool { return get(t, client, r.admin+"/readyz", "").status == 503 })
	if got := get(t, client, r.admin+"/readyz", ""); !strings.Contains(got.body, "draining") {
		t.Errorf("readyz gives no reason: %s", got.body)
	}
	if got := get(t, client, r.admin+"/livez", ""); got.status != 200 {
		t.Errorf("livez while draining: %+v", got)
	}
	at := len(got.all())
	eventually(t, "still serving", func() bool { return len(got.all()) > at+50 })
	if a := get(t, client, r.url+"/v1/info", token).want(t, 200); !a.closes {
		t.Errorf("an answer while draining doesn't ask for another connection: %v", a.header)
	}
	stop()
	if failed := failures(got.all()); len(failed) > 0 {
		t.Errorf("%d of %d requests failed, the first: %s", len(failed), len(got.all()), failed[0])
	}
	if err := r.ended(); err != nil {
		t.Errorf("exit: %v\n%s", err, r.log)
	}
}

// Requests in flight when the listener closes are answered.
func TestShutdownWaitsForRequestsInFlight(t *testing.T) {
	t.Parallel()
	redisServer, stands, client := newRedis(t), newStands(t), newClient(t)
	r, process := startProcess(t, settings(stands, redisServer.Addr))
	token := stands.Glory.MintToken("1", time.Hour)
	get(t, client, r.url+"/v1/info", token).want(t, 200)
	stands.Interwater.SetFaults(slowly("/v1/info", time.Second))
	before := stands.Interwater.RoomCalls()
	got := make(chan answer, 1)
	go func() {
		a, _ := call(t.Context(), client, http.MethodGet, r.url+"/v1/info", token, "")
		got <- a
	}()
	eventually(t, "the request is upstream", func() bool { return stands.Interwater.RoomCalls() > before })
	process.Signal(syscall.SIGTERM)
	if a := <-got; a.status != 200 {
		t.Errorf("%+v", a)
	}
	if err := r.ended(); err != nil {
		t.Errorf("exit: %v", err)
	}
}

// Connections on which only the lane has answered are served until DRAIN_DELAY is over. Then they don't delay the end.
func TestIdleConnectionsAreClosedWhenTheDrainEnds(t *testing.T) {
	t.Parallel()
	stands := newStands(t)
	r, process := startProcess(t, settings(stands, newRedis(t).Addr, "DRAIN_DELAY=1s", "SHUTDOWN_TIMEOUT=3s"))
	request := message("GET", "/v1/info", "Authorization: Bearer "+stands.Glory.MintToken("1", time.Hour))
	var readers []*bufio.Reader
	for i := range 2 {
		conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(patience))
		in := bufio.NewReader(conn)
		readers = append(readers, in)
		_, _ = io.WriteString(conn, request)
		if got, _ := readReply(in, "GET"); got.status != 200 {
			t.Fatalf("%+v", got)
		}
		if i == 1 {
			process.Signal(syscall.SIGTERM)
			r.log.wait(t, "draining")
			_, _ = io.WriteString(conn, request)
			if got, _ := readReply(in, "GET"); got.status != 200 {
				t.Errorf("while draining: %+v", got)
			}
		}
	}
	for i, in := range readers {
		if _, err := in.ReadByte(); !errors.Is(err, io.EOF) {
			t.Errorf("connection %d: %v", i, err)
		}
	}
	if err := r.ended(); err != nil || len(r.log.events("requests cut off")) > 0 {
		t.Errorf("exit: %v\n%s", err, r.log)
	}
}

func TestASecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	redisServer, stands := newRedis(t), newStands(t)
	r, process := startProcess(t, settings(stands, redisServer.Addr, "DRAIN_DELAY=1h"))
	process.Signal(syscall.SIGTERM)
	r.log.wait(t, "draining")
	process.Signal(syscall.SIGTERM)
	if err := r.ended(); err == nil {
		t.Error("a cut short drain must not look like an orderly end")
	}
}

// program runs the gateway to its end and returns what it has printed and its exit status.
func program(t *testing.T, environ []string, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	return programReading(t, "", environ, args...)
}

// programReading is program with something on its standard input.
func programReading(t *testing.T, stdin string, environ []string, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	command := exec.CommandContext(ctx, os.Args[0], args...)
	command.Env, command.Stdin = append(environ, asProgram), strings.NewReader(stdin)
	var out, errs bytes.Buffer
	command.Stdout, command.Stderr = &out, &errs
	_ = command.Run() // the caller looks at the exit status
	return out.String(), errs.String(), command.ProcessState.ExitCode()
}

func TestHelpAndVersion(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"--version":  "roomgate ",
		"-v":         "roomgate ",
		"help":       "usage: gateway [command]",
		"--help":     "usage: gateway [command]",
		"help check": "gateway check: try the settings on Redis",
		"help deny":  "usage: gateway deny SUB",
		"-h sandbox": "-member-tokens",
	} {
		stdout, stderr, status := program(t, nil, strings.Fields(line)...)
		if status != 0 || stderr != "" || !strings.Contains(stdout, want) {
			t.Errorf("gateway %s: exit status %d, %q on stderr, want %q in\n%s", line, status, stderr, want, stdout)
		}
	}
}

func TestExitStatus(t *testing.T) {
	t.Parallel()
	stands := newStands(t)
	good := settings(stands, "127.0.0.1:1")
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, c := range []struct {
		name    string
		environ []string
		args    []string
		status  int
		stderr  []string
	}{
		{"unknown command", good, []string{"srve"}, 2, []string{"usage:", `unknown command "srve"`}},
		{"help on an unknown command", good, []string{"help", "srve"}, 2, []string{"usage:", `unknown command "srve"`}},
		{"unknown flag", good, []string{"serve", "-x"}, 2, []string{"usage: gateway serve", "-x"}},
		{"argument", good, []string{"version", "now"}, 2, []string{"now"}},
		{"no settings", nil, []string{"serve"}, 2, []string{"GLORY_URL", "INTERWATER_URL", "INTERWATER_ACCESS_KEY", "REDIS_URL"}},
		{"several mistakes", append(good, "DRAIN_DELAY=5", "MAX_BODY_BYTES=x"), nil, 2, []string{"DRAIN_DELAY", "MAX_BODY_BYTES"}},
		{"busy port", append(good, "LISTEN_ADDR="+taken.Addr().String()), []string{"serve"}, 1, []string{"LISTEN_ADDR"}},
		{"busy operations port", append(good, "ADMIN_ADDR="+taken.Addr().String()), []string{"serve"}, 1, []string{"ADMIN_ADDR"}},
		{"busy port in the sandbox", nil, []string{"sandbox", "-listen", taken.Addr().String(), "-admin", "127.0.0.1:0"}, 1, []string{"-listen"}},
		{"busy stand-in", nil, []string{"sandbox", "-upstreams", "-glory", taken.Addr().String(), "-interwater", "127.0.0.1:0"}, 1, []string{"-glory"}},
		{"healthcheck without a listener", []string{"ADMIN_ADDR="}, []string{"healthcheck"}, 2, []string{"ADMIN_ADDR"}},
		{"healthcheck of nobody", []string{"ADMIN_ADDR=127.0.0.1:1"}, []string{"healthcheck"}, 1, []string{"healthcheck"}},
		{"check of nobody", append(good, "GLORY_URL=http://127.0.0.1:1"), []string{"check"}, 1, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			stdout, stderr, status := program(t, c.environ, c.args...)
			if status != c.status {
				t.Errorf("exit status %d, want %d\n%s%s", status, c.status, stdout, stderr)
			}
			for _, text := range c.stderr {
				if !strings.Contains(stderr, text) {
					t.Errorf("stderr does not name %s:\n%s", text, stderr)
				}
			}
		})
	}
}

func TestVersion(t *testing.T) {
	stdout, _, status := program(t, nil, "version")
	if status != 0 || !strings.HasPrefix(stdout, "roomgate ") || !strings.Contains(stdout, "go1.") {
		t.Errorf("%d: %s", status, stdout)
	}
}

func TestHealthcheckOfARunningGateway(t *testing.T) {
	t.Parallel()
	r := startReplica(t, settings(newStands(t), newRedis(t).Addr))
	if stdout, stderr, status := program(t, []string{"ADMIN_ADDR=" + strings.TrimPrefix(r.admin, "http://")}, "healthcheck"); status != 0 {
		t.Errorf("healthcheck: %d\n%s%s", status, stdout, stderr)
	}
}
