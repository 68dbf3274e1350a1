package main

// What gateway check reports when a dependency or a setting is wrong. Real servers are used.

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2/server"
	"github.com/redis/go-redis/v9"

	"roomgate/internal/sandbox"
	"roomgate/tests"
)

// checked runs the command in this process and returns its findings by the name of the check.
func checked(t *testing.T, environ []string) (map[string]finding, error) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	err := run(t.Context(), []string{"check", "-json"}, environ, &stdout, &stderr)
	var list []finding
	if parsed := json.Unmarshal(stdout.Bytes(), &list); parsed != nil {
		t.Fatalf("%v in %q, stderr %q", parsed, &stdout, &stderr)
	}
	byName := map[string]finding{}
	for _, f := range list {
		byName[f.Check] = f
	}
	return byName, err
}

// expected is one finding that the command must report.
type expected struct {
	check        string
	result       result
	detail, hint string // parts of them
}

// want runs the command and compares its findings with lines. All other findings must be ok.
func want(t *testing.T, environ []string, lines ...expected) {
	t.Helper()
	found, err := checked(t, environ)
	fails := false
	for _, line := range lines {
		fails = fails || line.result == failed
		f := found[line.check]
		if f.Result != line.result || !strings.Contains(f.Detail, line.detail) || !strings.Contains(f.Hint, line.hint) {
			t.Errorf("%+v, want %+v", f, line)
		}
		delete(found, line.check)
	}
	for _, f := range found {
		if f.Result != ok || f.Hint != "" {
			t.Errorf("also %+v", f)
		}
	}
	if errors.Is(err, errReported) != fails || !fails && err != nil {
		t.Errorf("error %v", err)
	}
}

func TestCheckOfHealthyDependencies(t *testing.T) {
	t.Parallel()
	stands, redisServer := newStands(t), newRedis(t)
	environ := settings(stands, redisServer.Addr, "INTERWATER_ALLOW=member.sub != '7'")
	want(t, environ)
	stdout, stderr, status := program(t, environ, "check")
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	if strings.Join(strings.Fields(lines[0]), " ") != "CHECK RESULT TIME DETAIL" || len(lines) != 13 || status != 0 || stderr != "" {
		t.Errorf("%d, stderr %q:\n%s", status, stderr, stdout)
	}
	for _, line := range lines[1:] {
		if !strings.Contains(line, "  ok  ") || !strings.Contains(line, "ms  ") {
			t.Errorf("not ok, or without a time: %s", line)
		}
	}
}

func TestCheckOfRedis(t *testing.T) {
	t.Parallel()
	stands := newStands(t)
	acl := func(rules ...any) string {
		s := newRedis(t)
		client := redis.NewClient(&redis.Options{Addr: s.Addr})
		defer client.Close()
		if err := client.Do(t.Context(), append([]any{"ACL", "SETUSER", "u", "on", ">p-w-d", "~*", "+@all"}, rules...)...).Err(); err != nil {
			t.Fatal(err)
		}
		return "u:p-w-d@" + s.Addr
	}
	frozen := newRedis(t)
	frozen.Freeze()
	locked := newRedis(t, "--requirepass", "right")
	for name, c := range map[string]struct {
		redis string
		own   []string
		lines []expected
	}{
		"gone":           {"127.0.0.1:1", nil, []expected{{"redis", failed, "refused", "REDIS_URL right"}}},
		"frozen":         {frozen.Addr, []string{"REDIS_TIMEOUT=50ms"}, []expected{{"redis", failed, "timeout", "REDIS_TIMEOUT (50ms)"}}},
		"no password":    {locked.Addr, nil, []expected{{"redis", failed, "NOAUTH", "wants a password"}}},
		"wrong password": {":wrong@" + locked.Addr, nil, []expected{{"redis", failed, "WRONGPASS", "password in REDIS_URL"}}},
		"a replica": {newRedis(t, "--replicaof", "127.0.0.1 1").Addr, nil, []expected{
			{"redis writes", failed, "READONLY", "name the master"}}},
		"full": {newRedis(t, "--maxmemory", "1").Addr, nil, []expected{{"redis writes", failed, "OOM", "raise maxmemory"}}},
		"evicts all": {newRedis(t, "--maxmemory-policy", "allkeys-lru", "--maxmemory", "100mb").Addr, nil, []expected{
			{"redis eviction", warning, "allkeys-lru", "and the deny list may be dropped: set maxmemory-policy noeviction"}}},
		"evicts what ends": {newRedis(t, "--maxmemory-policy", "volatile-ttl").Addr, nil, []expected{
			{"redis eviction", warning, "volatile-ttl (maxmemory is not set", "access tokens and limits' counts may be dropped"}}},
		"no CONFIG":              {acl("-config"), nil, nil},
		"no CONFIG, INFO":        {acl("-config", "-info"), nil, []expected{{"redis eviction", warning, "unknown", "with the provider of this Redis"}}},
		"no scripts":             {acl("-eval", "-evalsha"), nil, []expected{{"redis writes", failed, "NOPERM", "scripts"}}},
		"no TLS":                 {"", []string{"REDIS_URL=rediss://" + newRedis(t).Addr, "REDIS_TIMEOUT=200ms"}, []expected{{"redis", failed, "", "should REDIS_URL begin with redis://"}}},
		"no TLS, and a password": {"", []string{"REDIS_URL=rediss://:right@" + locked.Addr, "REDIS_TIMEOUT=200ms"}, []expected{{"redis", failed, "", "should REDIS_URL begin with redis://"}}},
		"not a cluster": {newRedis(t).Addr, []string{"REDIS_MODE=cluster"}, []expected{
			{"redis", failed, "", "the server is single: set REDIS_MODE=single"}}},
		"no sentinel": {newRedis(t).Addr + "?master_name=m", []string{"REDIS_MODE=sentinel"}, []expected{
			{"redis", failed, "", "the server is single: set REDIS_MODE=single"}}},
	} {
		t.Run(name, func(t *testing.T) { want(t, settings(stands, c.redis, c.own...), c.lines...) })
	}
}

func TestCheckOfRedisesOfSeveralServers(t *testing.T) {
	tests.Long(t)
	t.Parallel()
	stands, c, s := newStands(t), newCluster(t), newSentinel(t)
	want(t, settings(stands, "", "REDIS_MODE=cluster", "REDIS_URL="+c.url()))
	want(t, settings(stands, "", "REDIS_MODE=sentinel", "REDIS_URL="+s.url()))
	found, err := checked(t, settings(stands, c.nodes[0].Addr))
	if f := found["redis mode"]; f.Result != failed || f.Hint != "set REDIS_MODE=cluster" || !errors.Is(err, errReported) {
		t.Errorf("a Cluster's node as a single Redis: %+v", f)
	}
	want(t, settings(stands, s.addr),
		expected{"redis writes", failed, "", "set REDIS_MODE=sentinel"},
		expected{"redis mode", failed, "the server is sentinel", "set REDIS_MODE=sentinel"},
		expected{"redis eviction", warning, "unknown", ""})
	client := redis.NewClient(&redis.Options{Addr: c.nodes[2].Addr})
	defer client.Close()
	if err := client.ConfigSet(t.Context(), "maxmemory-policy", "allkeys-random").Err(); err != nil {
		t.Fatal(err)
	}
	want(t, settings(stands, "", "REDIS_MODE=cluster", "REDIS_URL="+c.url()),
		expected{"redis eviction", warning, "allkeys-random", "noeviction"})
}

// Only a member token shows that GLORY_JWT_SECRETS is wrong.
func TestCheckTriesAMemberToken(t *testing.T) {
	t.Parallel()
	stands, redisServer := newStands(t), newRedis(t)
	token := stands.Glory.MintToken("1", time.Hour)
	wrong := "GLORY_JWT_SECRETS=" + strings.Repeat("x", 48)
	for name, c := range map[string]struct {
		own, stdin, want string
		status           int
	}{
		"accepted":        {"", token, "accepted", 0},
		"none":            {"", "", "not tried: none came on standard input", 0},
		"another secret":  {wrong, token, "do GLORY_JWT_SECRETS", 1},
		"another, none":   {wrong, "", "not tried", 0},
		"Glory is asked":  {"GLORY_JWT_SECRETS=", token, "accepted", 0},
		"Glory refuses":   {"GLORY_JWT_SECRETS=", token[:len(token)-4] + "AAAA", "did this Glory issue it", 1},
		"expired":         {"", stands.Glory.MintToken("1", -time.Hour), "expired", 1},
		"with its scheme": {"", "Bearer " + token, "accepted", 0},
	} {
		stdout, stderr, status := programReading(t, c.stdin+"\n", settings(stands, redisServer.Addr, c.own), "check")
		line := ""
		for l := range strings.Lines(stdout) {
			if strings.HasPrefix(l, "member token") {
				line = l
			}
		}
		if status != c.status || !strings.Contains(line, c.want) || strings.Contains(stdout+stderr, token) {
			t.Errorf("%s: %d, %q, stderr %q", name, status, line, stderr)
		}
	}
}

func TestCheckTellsOfAnUpstreamWithoutTLS(t *testing.T) {
	t.Parallel()
	stands, redisServer := newStands(t), newRedis(t)
	found, _ := checked(t, settings(stands, redisServer.Addr,
		"GLORY_URL="+strings.Replace(stands.GloryURL, "http:", "https:", 1), "INTERWATER_URL="+strings.Replace(stands.InterwaterURL, "http:", "https:", 1)))
	for name, hint := range map[string]string{"glory": "should GLORY_URL begin with http://", "interwater": "should INTERWATER_URL begin with http://"} {
		if f := found[name]; f.Result != failed || !strings.Contains(f.Hint, hint) {
			t.Errorf("%+v", f)
		}
	}
}

// A script's standard input may stay open and send nothing.
func TestCheckDoesNotWaitForItsInput(t *testing.T) {
	r, w := io.Pipe()
	defer w.Close()
	if got := firstLine(r); got != "" {
		t.Errorf("%q", got)
	}
}

// oldRedis starts a stand-in of Redis 4. In its errors it quotes commands that it doesn't know, with the password.
func oldRedis(t *testing.T) string {
	t.Helper()
	s, err := server.NewServer("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	for name, answer := range map[string]func(p *server.Peer, args []string){
		"HELLO": func(p *server.Peer, args []string) {
			p.WriteError("ERR unknown command 'HELLO', with args " + strings.Join(args, " "))
		},
		"AUTH":   func(p *server.Peer, _ []string) { p.WriteOK() },
		"CLIENT": func(p *server.Peer, _ []string) { p.WriteOK() },
		"PING":   func(p *server.Peer, _ []string) { p.WriteInline("PONG") },
		"INFO": func(p *server.Peer, _ []string) {
			p.WriteBulk("redis_version:4.0.14\r\nredis_mode:standalone\r\nmaxmemory_policy:noeviction\r\n")
		},
		"EVALSHA": func(p *server.Peer, _ []string) {
			p.WriteError("ERR Write commands not allowed after non deterministic commands; said marker-redis-password")
		},
	} {
		if err := s.Register(name, func(p *server.Peer, _ string, args []string) { answer(p, args) }); err != nil {
			t.Fatal(err)
		}
	}
	return s.Addr().String()
}

func TestCheckOfAnOldRedis(t *testing.T) {
	want(t, settings(newStands(t), ":marker-redis-password@"+oldRedis(t)),
		expected{"redis writes", failed, "ERR Write commands not allowed after non deterministic commands; said (secret)", ""},
		expected{"redis version", failed, "4.0.14", "need Redis 5 or later"})
}

// dated adds a Date to the fault's answers, from a clock that is ahead of ours. With 0 it adds none.
func dated(fault sandbox.Fault, ahead time.Duration) sandbox.Fault {
	if ahead != 0 {
		fault.Header = map[string]string{"Date": time.Now().Add(ahead).UTC().Format(http.TimeFormat)}
	}
	return fault
}

func TestCheckOfUpstreams(t *testing.T) {
	t.Parallel()
	redisServer := newRedis(t)
	const remote = "GLORY_JWT_SECRETS="
	for name, c := range map[string]struct {
		glory, interwater sandbox.Fault
		gloryAhead        time.Duration // of our clock; 0: Glory sends its own Date
		interwaterAhead   time.Duration // the same
		own               []string
		lines             []expected
	}{
		"Glory gone":         {own: []string{"GLORY_URL=http://127.0.0.1:1"}, lines: []expected{{"glory", failed, "refused", "GLORY_URL right"}}},
		"Glory ill":          {glory: sandbox.Fault{Status: 500}, lines: []expected{{"glory", failed, "status 500", "Glory healthy"}}},
		"Glory hangs":        {glory: sandbox.Fault{Kind: sandbox.KindHang}, own: []string{"GLORY_TIMEOUT=100ms"}, lines: []expected{{"glory", failed, "", "reachable"}}},
		"Glory in no HTTP":   {glory: sandbox.Fault{Kind: sandbox.KindRaw, Body: "marker\r\n"}, lines: []expected{{"glory", failed, "no valid HTTP", "GLORY_URL"}}},
		"Glory a minute on":  {gloryAhead: time.Minute, lines: []expected{{"glory clock", failed, "ahead of ours", "GLORY_JWT_LEEWAY (10s)"}}},
		"Glory a minute ago": {gloryAhead: -time.Minute, lines: []expected{{"glory clock", failed, "behind ours", "GLORY_JWT_LEEWAY (10s)"}}},
		"Glory verifies itself": {gloryAhead: time.Minute, own: []string{remote},
			lines: []expected{{"glory clock", warning, "ahead of ours", "time server"}}},
		"Glory within leeway": {gloryAhead: 5 * time.Second, lines: []expected{{"glory clock", warning, "ahead of ours", "time server"}}},
		"Glory a second off":  {gloryAhead: time.Second, own: []string{"GLORY_JWT_LEEWAY=0s"}},
		"Interwater ill": {interwater: sandbox.Fault{Path: "/v1/info", Status: 503},
			lines: []expected{{"interwater", failed, "status 503", "Interwater healthy"}}},
		"Interwater elsewhere": {interwater: sandbox.Fault{Path: "/v1/info", Status: 404},
			lines: []expected{{"interwater", failed, "status 404", "INTERWATER_URL"}}},
		"Interwater an hour ago": {interwaterAhead: -time.Hour,
			lines: []expected{{"interwater clock", warning, "behind ours", "time server"}}},
		"license refused": {own: []string{"INTERWATER_SECRET_KEY=marker-wrong"},
			lines: []expected{{"license default", failed, "401", "secret key right"}}},
		"license throttled": {interwater: sandbox.Fault{Path: "/v1/auth", Status: 429, RetryAfter: 7},
			lines: []expected{{"license default", failed, "429", "try again in 7s"}}},
		"license of a portal": {interwater: sandbox.Fault{Path: "/v1/auth", Kind: sandbox.KindGarbage},
			lines: []expected{{"license default", failed, "", "Something else seems to answer"}}},
		"license unanswered": {interwater: sandbox.Fault{Path: "/v1/auth", Kind: sandbox.KindHang}, own: []string{"TOKEN_FETCH_TIMEOUT=100ms"},
			lines: []expected{{"license default", failed, "", "TOKEN_FETCH_TIMEOUT"}}},
		"a misspelt setting": {own: []string{"GLORY_JWT_SECRET=marker", "MEMBER_RATE_LIMITS=1/1s"}, lines: []expected{
			{"settings", warning, "unknown: GLORY_JWT_SECRET, MEMBER_RATE_LIMITS", "mean GLORY_JWT_SECRETS? did you mean MEMBER_RATE_LIMIT?"}}},
	} {
		t.Run(name, func(t *testing.T) {
			stands := newStands(t)
			stands.Glory.SetFaults(dated(c.glory, c.gloryAhead))
			stands.Interwater.SetFaults(dated(c.interwater, c.interwaterAhead))
			want(t, settings(stands, redisServer.Addr, c.own...), c.lines...)
		})
	}
}

// The test makes the error itself, because tests ask no name server.
func TestCheckOfAnUnknownHost(t *testing.T) {
	u := probed{setting: "GLORY_URL"}
	if hint := u.whyNot(&net.OpError{Op: "dial", Err: &net.DNSError{Name: "x", IsNotFound: true}}); !strings.Contains(hint, "spelt right") {
		t.Error(hint)
	}
}

// With several licenses, each is tried, and the finding names the wrong one.
func TestCheckOfLicenses(t *testing.T) {
	t.Parallel()
	stands, redisServer := newStands(t), newRedis(t)
	l := stands.Interwater.Licenses()[0]
	environ := settings(stands, redisServer.Addr, "INTERWATER_ACCESS_KEY=", "INTERWATER_SECRET_KEY=",
		"INTERWATER_LICENSE_0_NAME=seoul", "INTERWATER_LICENSE_0_ACCESS_KEY="+l.AccessKey, "INTERWATER_LICENSE_0_SECRET_KEY="+l.SecretKey,
		"INTERWATER_LICENSE_1_NAME=busan", "INTERWATER_LICENSE_1_ACCESS_KEY="+l.AccessKey, "INTERWATER_LICENSE_1_SECRET_KEY=wrong")
	want(t, environ, expected{"license busan", failed, "401", "secret key"})
	if found, _ := checked(t, environ); found["license seoul"].Detail != "issues access tokens that live 1h0m0s" {
		t.Errorf("%+v", found["license seoul"])
	}
}

// For settings that serve would refuse, the exit status is 2. A misspelt name gets a hint.
func TestCheckOfSettingsThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	good := settings(newStands(t), "127.0.0.1:1")
	for name, c := range map[string]struct {
		own           []string
		problem, hint string
	}{
		"misspelt and missing": {[]string{"INTERWATER_ACCESS_KEY=", "INTERWATER_ACESS_KEY=marker-key"}, "INTERWATER_ACCESS_KEY", "did you mean INTERWATER_ACCESS_KEY?"},
		"a rule":               {[]string{"INTERWATER_ALLOW=member.nobody("}, "INTERWATER_ALLOW", ""},
	} {
		t.Run(name, func(t *testing.T) {
			environ := append(good, c.own...)
			stdout, stderr, status := program(t, environ, "check")
			if status != 2 || stdout != "" || !strings.Contains(stderr, c.problem) || !strings.Contains(stderr, c.hint) {
				t.Errorf("%d, stdout %q, stderr %q", status, stdout, stderr)
			}
			asJSON, _, status := program(t, environ, "check", "-json")
			var list []finding
			if err := json.Unmarshal([]byte(asJSON), &list); err != nil || len(list) != 1 || status != 2 {
				t.Fatalf("%d, %v: %s", status, err, asJSON)
			}
			if f := list[0]; f.Result != failed || !strings.Contains(f.Detail, c.problem) || !strings.Contains(f.Hint, c.hint) || f.Hint == "" {
				t.Errorf("%+v", f)
			}
			if strings.Contains(stderr+asJSON, "marker") {
				t.Errorf("a value is shown: %s%s", stderr, asJSON)
			}
		})
	}
}

// Each upstream answers only after the other has been asked.
func TestChecksRunSideBySide(t *testing.T) {
	var both sync.WaitGroup
	both.Add(2)
	meet := func() http.HandlerFunc {
		var once sync.Once
		return func(w http.ResponseWriter, _ *http.Request) {
			once.Do(both.Done)
			both.Wait()
			w.WriteHeader(http.StatusOK)
		}
	}
	glory, interwater := httptest.NewServer(meet()), httptest.NewServer(meet())
	defer glory.Close()
	defer interwater.Close()
	found, _ := checked(t, settings(newStands(t), "127.0.0.1:1", "GLORY_URL="+glory.URL, "INTERWATER_URL="+interwater.URL))
	if found["glory"].Result != ok || found["interwater"].Result != ok {
		t.Errorf("%+v", found)
	}
}
