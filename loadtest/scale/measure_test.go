package main

// The model held against fleets of real gateways before a real Redis, which is listened to call by call.

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	"roomgate/internal/sandbox"
	"roomgate/tests"
)

var measure = flag.Duration("measure", 0, "measure fleets of 1, 2, 4 and 8 replicas for so long each, and print the rows of docs/scale.md")

// measured is the fleet of both the model and the processes: short lives, so that a minute sees a dozen refreshes.
func measured(replicas int) fleet {
	f := typical()
	f.replicas, f.life, f.fetch, f.redis = replicas, 6*time.Second, 50*time.Millisecond, 500*time.Microsecond
	return f
}

func TestTheModelHoldsForRealFleets(t *testing.T) {
	tests.Long(t)
	tests.Need(t, "redis-server")
	sizes, window := []int{4}, 16*time.Second
	if *measure > 0 {
		sizes, window = []int{1, 2, 4, 8}, *measure
	}
	gateway := build(t)
	for _, replicas := range sizes {
		t.Run(strconv.Itoa(replicas), func(t *testing.T) {
			if *measure == 0 {
				t.Parallel()
			}
			f := measured(replicas)
			got, want := observe(t, gateway, f, window), expected(f)
			seconds := window.Seconds()
			for k := range kinds {
				if n := want[k] * seconds; math.Abs(got[k]-n) > 0.15*n+slack(k, replicas) {
					t.Errorf("%s: %.0f calls in %v, the model says %.1f", k, got[k], window, n)
				}
				t.Logf("| %d | %s | %.2f | %.2f |", replicas, k, got[k]/seconds, want[k])
			}
		})
	}
}

// slack is how many calls a window may have more or less because of where it begins and ends: those of one refresh, or of
// one poll of each replica.
func slack(k kind, replicas int) float64 {
	switch k {
	case look:
		return float64(2*replicas + 1)
	case lock:
		return 2
	case deny, roster:
		return float64(replicas)
	}
	return 1
}

// expected is what the model says of one license, a second: the mean of a hundred.
func expected(f fleet) (rates [kinds]float64) {
	const many = 100
	f.licenses = many
	b := f.steady()
	for k := range kinds {
		rates[k] = b.mean(k)
		if k != deny && k != roster {
			rates[k] /= many
		}
	}
	return rates
}

// build makes the gateway's program.
func build(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "gateway")
	command := exec.CommandContext(t.Context(), "go", "build", "-o", name, "roomgate/cmd/gateway")
	if text, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return name
}

// observe runs a fleet, asks each replica again and again, and counts the calls of one window.
func observe(t *testing.T, gateway string, f fleet, window time.Duration) [kinds]float64 {
	t.Helper()
	redis, err := sandbox.StartRedis()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { redis.Close() })
	stands, err := sandbox.Start(sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stands.Close() })
	stands.Interwater.SetFaults(sandbox.Fault{Path: "/v1/auth", Delay: f.fetch, Token: &sandbox.TokenFault{TTL: f.life}})
	var urls []string
	for range f.replicas {
		urls = append(urls, start(t, gateway, stands, redis.Addr))
	}
	keepAsking(t, urls, stands.Glory.MintToken("1", time.Hour))
	heard := listen(t, redis.Addr)
	first := stands.Interwater.AuthCalls()
	for late := time.Now().Add(10 * f.life); stands.Interwater.AuthCalls() < first+2; { // until they keep to the model's rhythm
		if time.Now().After(late) {
			t.Fatal("the token is not refreshed")
		}
		wait(t, 10*time.Millisecond)
	}
	fetched, before, scripts := stands.Interwater.AuthCalls(), heard(), evaluated(t, redis.Addr)
	wait(t, window)
	after, ran := heard(), evaluated(t, redis.Addr)-scripts
	count := [kinds]float64{auth: float64(stands.Interwater.AuthCalls() - fetched)}
	all := 0.0
	for k := look; k < kinds; k++ {
		count[k] = after[k] - before[k]
		all += count[k]
	}
	// Redis's own statistics count the scripts too: none is of a kind that the model doesn't know.
	if math.Abs(all-ran) > 0.01*ran+float64(f.replicas) {
		t.Errorf("%v calls were heard, Redis counts %v scripts", all, ran)
	}
	return count
}

// start runs a gateway until the test ends and returns its address.
func start(t *testing.T, gateway string, stands *sandbox.Sandbox, redis string) string {
	t.Helper()
	license := stands.Interwater.Licenses()[0]
	command := exec.CommandContext(t.Context(), gateway)
	command.Env = []string{
		"LISTEN_ADDR=127.0.0.1:0", "ADMIN_ADDR=", "DRAIN_DELAY=0s", "REDIS_URL=redis://" + redis, "REDIS_TIMEOUT=2s",
		"GLORY_URL=" + stands.GloryURL, "GLORY_JWT_SECRETS=" + stands.Glory.Secret(), "INTERWATER_URL=" + stands.InterwaterURL,
		"INTERWATER_ACCESS_KEY=" + license.AccessKey, "INTERWATER_SECRET_KEY=" + license.SecretKey,
	}
	stdout, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { command.Process.Kill(); command.Wait() })
	scan := bufio.NewScanner(stdout)
	for scan.Scan() {
		var line struct{ Msg, Listen string }
		if json.Unmarshal(scan.Bytes(), &line) == nil && line.Msg == "serving" {
			go func() {
				for scan.Scan() { // a full pipe would stop it
				}
			}()
			return "http://" + line.Listen
		}
	}
	t.Fatal("the gateway has ended without serving")
	return ""
}

// keepAsking sends each replica a room request now and then: a token that nobody uses is not refreshed.
func keepAsking(t *testing.T, urls []string, token string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var asking sync.WaitGroup
	t.Cleanup(func() { cancel(); asking.Wait() })
	ask := func(url string) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/v1/info", nil)
		if err != nil {
			t.Error(err)
			return
		}
		request.Header.Set("Authorization", "Bearer "+token)
		response, err := http.DefaultClient.Do(request)
		if err == nil {
			response.Body.Close()
		}
		if ctx.Err() == nil && (err != nil || response.StatusCode != http.StatusOK) {
			t.Errorf("%s: %v %v", url, response, err)
		}
	}
	for _, url := range urls {
		asking.Go(func() {
			tick := time.NewTicker(500 * time.Millisecond)
			defer tick.Stop()
			for ctx.Err() == nil {
				ask(url)
				select {
				case <-tick.C:
				case <-ctx.Done():
				}
			}
		})
	}
}

func wait(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
		t.Fatal(t.Context().Err())
	}
}

// shapes tell the scripts apart by the names of their keys.
var shapes = map[kind]*regexp.Regexp{
	look:    regexp.MustCompile(`"4" "[^"]+:token" "[^"]+:lock" `),
	lock:    regexp.MustCompile(`"2" "[^"]+:lock" "[^"]+:fence" `),
	store:   regexp.MustCompile(`"3" "[^"]+:token" "[^"]+:lock" `),
	release: regexp.MustCompile(`"2" "[^"]+:lock" "[^"]+:failure" `),
	deny:    regexp.MustCompile(`"4" "[^"]+\{deny\}:names" `),
	roster:  regexp.MustCompile(`"1" "[^"]+:replicas" `),
}

// dial connects to Redis until the test ends and sends one command.
func dial(t *testing.T, addr, command string) net.Conn {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := conn.Write([]byte(command + "\r\n")); err != nil {
		t.Fatal(err)
	}
	return conn
}

// listen counts the calls of replicas from now on, by kind. What a script does within Redis doesn't count.
func listen(t *testing.T, addr string) (heard func() map[kind]float64) {
	t.Helper()
	var mu sync.Mutex
	count := map[kind]float64{}
	scan := bufio.NewScanner(dial(t, addr, "MONITOR"))
	go func() {
		for scan.Scan() {
			line := scan.Bytes()
			if !bytes.Contains(line, []byte(`"evalsha"`)) {
				continue
			}
			for k, shape := range shapes {
				if shape.Match(line) {
					mu.Lock()
					count[k]++
					mu.Unlock()
				}
			}
		}
	}()
	return func() map[kind]float64 { mu.Lock(); defer mu.Unlock(); return maps.Clone(count) }
}

var calls = regexp.MustCompile(`cmdstat_evalsha:calls=(\d+)`)

// evaluated is how many scripts Redis has run.
func evaluated(t *testing.T, addr string) float64 {
	t.Helper()
	reply := bufio.NewReader(dial(t, addr, "INFO commandstats"))
	for {
		line, err := reply.ReadString('\n')
		if err != nil {
			t.Fatal(fmt.Errorf("no scripts in Redis's statistics: %w", err))
		}
		if found := calls.FindStringSubmatch(line); found != nil {
			n, err := strconv.ParseFloat(found[1], 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
}
