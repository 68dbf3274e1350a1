package main

// Tests of the whole program share stand-ins of both upstreams, a real redis-server, and gateways. A gateway runs in the test's
// process or in its own.

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"roomgate/internal/sandbox"
	"roomgate/tests"
)

// patience is how long a test waits for something that must happen. It is enough for a slow machine.
const patience = time.Minute

// noLane makes net/http answer everything.
const noLane = "FAST_LANE=false"

// fastLane is false if all tests are to run with noLane.
var fastLane = flag.Bool("fast-lane", true, "run gateways with FAST_LANE, where a test doesn't say otherwise")

// asProgram makes this test binary run as the gateway. So tests can kill a real process, and it is built like the tests.
const asProgram = "ROOMGATE_TEST_AS_PROGRAM=1"

func TestMain(m *testing.M) {
	if os.Getenv(strings.TrimSuffix(asProgram, "=1")) != "" {
		askNames()
		main()
		return
	}
	flag.Parse()
	moreAtOnce(8)
	goleak.VerifyTestMain(m)
}

// moreAtOnce lets n parallel tests run at once, because they mostly wait. A number on the command line counts more.
func moreAtOnce(n int) {
	said := false
	flag.Visit(func(f *flag.Flag) { said = said || f.Name == "test.parallel" })
	if !said {
		_ = flag.Set("test.parallel", strconv.Itoa(n)) // every test binary has this flag
	}
}

// newRedis starts a redis-server for the test, with args on its command line.
func newRedis(t *testing.T, args ...string) *sandbox.RedisServer {
	t.Helper()
	tests.Need(t, "redis-server")
	redis, err := sandbox.StartRedis(args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { redis.Close() })
	return redis
}

// newStands starts both upstreams for the test.
func newStands(t *testing.T) *sandbox.Sandbox {
	t.Helper()
	stands, err := sandbox.Start(sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stands.Close() })
	return stands
}

// settings returns the settings of a gateway for stands and redis, on free ports and without a drain delay. REDIS_TIMEOUT is long, so
// that a busy machine doesn't look like a slow Redis. Of two entries for one setting the later counts, so a test can append its own.
func settings(stands *sandbox.Sandbox, redisAddr string, own ...string) []string {
	license := stands.Interwater.Licenses()[0]
	return append([]string{
		"LISTEN_ADDR=127.0.0.1:0", "ADMIN_ADDR=127.0.0.1:0", "DRAIN_DELAY=0s",
		"GLORY_URL=" + stands.GloryURL, "GLORY_JWT_SECRETS=" + stands.Glory.Secret(),
		"INTERWATER_URL=" + stands.InterwaterURL,
		"INTERWATER_ACCESS_KEY=" + license.AccessKey, "INTERWATER_SECRET_KEY=" + license.SecretKey,
		"REDIS_URL=redis://" + redisAddr, "REDIS_TIMEOUT=5s", fmt.Sprint("FAST_LANE=", *fastLane),
	}, own...)
}

// replica is a running gateway.
type replica struct {
	url, admin string
	environ    []string
	log        *logs
	stop       func()       // like SIGTERM; call it once
	ended      func() error // waits for the end and returns the error
}

// startReplica runs the program in this process until the test ends.
func startReplica(t *testing.T, environ []string) *replica {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &replica{environ: environ, log: newLogs(t), stop: cancel}
	result := make(chan error, 1)
	go func() { result <- run(ctx, []string{"serve"}, environ, r.log, r.log) }()
	r.ended = sync.OnceValue(func() error { return <-result })
	t.Cleanup(func() {
		cancel()
		if err := r.ended(); err != nil {
			t.Errorf("gateway: %v", err)
		}
	})
	r.await(t)
	return r
}

// startProcess runs the program in a process of its own, which the test may signal. It is killed when the test ends.
func startProcess(t *testing.T, environ []string, args ...string) (*replica, *os.Process) {
	t.Helper()
	command := exec.CommandContext(t.Context(), os.Args[0], args...)
	command.Env = append(environ, asProgram)
	r := &replica{log: newLogs(t)}
	command.Stdout, command.Stderr = r.log, r.log
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	r.stop = func() { command.Process.Signal(os.Interrupt) }
	r.ended = sync.OnceValue(command.Wait)
	t.Cleanup(func() { command.Process.Kill(); r.ended() })
	r.await(t)
	return r, command.Process
}

// await waits until the gateway serves, and reads its addresses from the log.
func (r *replica) await(t *testing.T) {
	t.Helper()
	line := r.log.wait(t, "serving")
	r.url, r.admin = "http://"+line["listen"].(string), "http://"+line["admin"].(string)
}

// metric returns the value of a series. It fails the test if there is no such series.
func (r *replica) metric(t *testing.T, client *http.Client, series string) int {
	t.Helper()
	text := get(t, client, r.admin+"/metrics", "").want(t, http.StatusOK).body
	found := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(series) + ` (\S+)$`).FindStringSubmatch(text)
	if found == nil {
		t.Fatal("no " + series)
	}
	count, err := strconv.ParseFloat(found[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return int(count)
}

// logs keeps what a gateway prints.
type logs struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{} // closed and replaced at each write
}

// newLogs returns empty logs. When the test ends, their audit events must match the published schema.
func newLogs(t *testing.T) *logs {
	l := &logs{more: make(chan struct{})}
	t.Cleanup(func() { tests.Audit(t, l.String()) })
	return l
}

// Write implements io.Writer.
func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.more)
	l.more = make(chan struct{})
	return l.text.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// events returns all lines so far with this msg.
func (l *logs) events(msg string) []map[string]any {
	var found []map[string]any
	for scan := bufio.NewScanner(strings.NewReader(l.String())); scan.Scan(); {
		var line map[string]any
		if json.Unmarshal(scan.Bytes(), &line) == nil && line["msg"] == msg {
			found = append(found, line)
		}
	}
	return found
}

// wait waits for a line with this msg, and returns the first.
func (l *logs) wait(t *testing.T, msg string) map[string]any {
	t.Helper()
	deadline := time.After(patience)
	for {
		l.mu.Lock()
		more := l.more
		l.mu.Unlock()
		if found := l.events(msg); len(found) > 0 {
			return found[0]
		}
		select {
		case <-more:
		case <-deadline:
			t.Fatalf("no %q in the log:\n%s", msg, l)
		}
	}
}

// eventually waits until the condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// answer is a response read to its end.
type answer struct {
	status int
	header http.Header
	body   string
	closes bool // the connection ends after it
}

// newClient returns a client that keeps connections alive, as apps do. They are closed when the test ends.
func newClient(t *testing.T) *http.Client {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 1000, DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

// call sends a request and reads the whole answer. token, unless it is "", is sent as the bearer token, body as JSON.
func call(ctx context.Context, client *http.Client, method, url, token, body string) (answer, error) {
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	request, err := http.NewRequestWithContext(ctx, method, url, reader)
	if err != nil {
		return answer{}, err
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	return send(client, request)
}

// send sends a request and reads the whole answer.
func send(client *http.Client, request *http.Request) (answer, error) {
	response, err := client.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, response.Header, string(text), response.Close}, err
}

// get sends a GET. It fails the test if there is no answer.
func get(t *testing.T, client *http.Client, url, token string) answer {
	t.Helper()
	a, err := call(t.Context(), client, http.MethodGet, url, token, "")
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// want fails the test unless the answer has this status.
func (a answer) want(t *testing.T, status int) answer {
	t.Helper()
	if a.status != status {
		t.Fatalf("status %d, want %d: %s", a.status, status, a.body)
	}
	return a
}
