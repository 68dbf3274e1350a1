package main

// The test plays the table of docs/failures.md cell by cell: two replicas, with a Redis and upstreams that fail as the cell says. It
// fails if a cell is untrue. It also fails if a row can't be read, or a combination is missing or is there twice.

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"roomgate/internal/ops"
	"roomgate/internal/sandbox"
	"roomgate/tests"
)

const (
	failuresDoc    = "../../docs/failures.md"
	failuresHeader = "| Redis | token endpoint | token | member sees | fetches | metric that tells |"

	cellReplicas = 2
	cellRate     = 20 // requests a second, to the replicas in turn
	cellAnswers  = 30 // at least as many are judged
	cellsAtOnce  = 16 // cells mostly wait
)

// tokenLives returns the states of the access token, with the life of the token that the replicas have when things fail. Claims count
// whole seconds. The life of a due token is long enough that this, and a slow endpoint, don't matter.
func tokenLives() map[string]time.Duration {
	return map[string]time.Duration{"fresh": time.Hour, "due": 26 * time.Second, "expired": 2 * time.Second}
}

// endpointFaults returns the states of the token endpoint.
func endpointFaults() map[string]sandbox.Fault {
	return map[string]sandbox.Fault{
		"ok":       {},
		"slow":     {Delay: time.Second},
		"refusing": {Status: 401},
		"garbage":  {Kind: sandbox.KindGarbage},
		"gone":     {Kind: sandbox.KindReset},
	}
}

// redisWords translates the table's states of Redis to names in redisFaults.
func redisWords() map[string]string {
	return map[string]string{"ok": "none", "slow": "slow", "frozen": "frozen", "gone": "killed", "read-only": "read-only"}
}

// fetchWords translates the table's words for fetches.
func fetchWords() map[string]fetches {
	return map[string]fetches{
		"0":                            {},
		"1 in the fleet":               {askers: 1},
		"1 in the fleet, then backoff": {askers: 1, again: true},
		"1 a replica":                  {askers: cellReplicas},
		"1 a replica, then backoff":    {askers: cellReplicas, again: true},
	}
}

// fetches says how often the token endpoint is asked.
type fetches struct {
	askers int  // how many replicas ask
	again  bool // each asks again after each backoff
}

// most returns the greatest number of fetches in a time that began with the first fetch, or before it.
func (f fetches) most(c cell, took time.Duration) int {
	if !f.again {
		return f.askers
	}
	backoff := 250 * time.Millisecond
	if c.endpoint == "refusing" {
		backoff = time.Second
	}
	each := 1 + int(took/backoff)
	if f.askers > 1 { // without Redis there is also a budget, which counts from just before the first fetch
		each = min(each, 3+int(took/min(10*time.Second, tokenLives()[c.token]/3)))
	}
	return f.askers * each
}

// cell is one combination of states, and its outcome.
type cell struct {
	redis, endpoint, token string
	sees                   int
	fetches                fetches
	metrics                []metricName
}

func (c cell) name() string {
	return "redis " + c.redis + "/endpoint " + c.endpoint + "/token " + c.token
}

// failing reports whether the token endpoint issues no token.
func (c cell) failing() bool { return c.endpoint != "ok" && c.endpoint != "slow" }

// metricName is a metric, with one of its labels or none.
type metricName struct{ name, label string }

// in adds up the metric's samples in the text of /metrics.
func (m metricName) in(exposition string) (sum float64) {
	for line := range strings.Lines(exposition) {
		series, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		name, labels, _ := strings.Cut(series, "{")
		if name == m.name && strings.Contains(labels, m.label) {
			v, _ := strconv.ParseFloat(value, 64)
			sum += v
		}
	}
	return sum
}

// readTable returns the document's cells. It fails the test unless each is there once.
func readTable(t *testing.T) []cell {
	t.Helper()
	text, err := os.ReadFile(failuresDoc)
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(text), failuresHeader+"\n")
	if !found {
		t.Fatalf("%s has no table that begins %s", failuresDoc, failuresHeader)
	}
	missing := map[string]bool{}
	for r := range redisWords() {
		for e := range endpointFaults() {
			for l := range tokenLives() {
				missing[cell{redis: r, endpoint: e, token: l}.name()] = true
			}
		}
	}
	var cells []cell
	for line := range strings.Lines(table) {
		if strings.HasPrefix(line, "| ---") {
			continue
		}
		if !strings.HasPrefix(line, "|") {
			break
		}
		row, err := readRow(line)
		if err != nil {
			t.Fatalf("%s: %v in the row %s", failuresDoc, err, line)
		}
		for _, c := range row {
			if !missing[c.name()] {
				t.Fatalf("%s: %q is there twice, or is no cell", failuresDoc, c.name())
			}
			delete(missing, c.name())
			cells = append(cells, c)
		}
	}
	for name := range missing {
		t.Errorf("%s: %q is missing", failuresDoc, name)
	}
	return cells
}

// readRow returns the cells of a row, one for each combination of its states. It doesn't check the states; readTable does.
func readRow(line string) ([]cell, error) {
	columns := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
	if len(columns) != 6 {
		return nil, fmt.Errorf("%d columns", len(columns))
	}
	for i := range columns {
		columns[i] = strings.TrimSpace(columns[i])
	}
	outcome, err := readOutcome(columns[3:])
	if err != nil {
		return nil, err
	}
	var cells []cell
	for _, redis := range states(columns[0], redisWords()) {
		for _, endpoint := range states(columns[1], endpointFaults()) {
			for _, token := range states(columns[2], tokenLives()) {
				c := outcome
				c.redis, c.endpoint, c.token = redis, endpoint, token
				cells = append(cells, c)
			}
		}
	}
	return cells, nil
}

// states returns the states that a column names. "any" means all.
func states[T any](column string, all map[string]T) []string {
	if column == "any" {
		return slices.Collect(maps.Keys(all))
	}
	return strings.Split(column, " · ")
}

// readOutcome reads the last three columns of a row.
func readOutcome(columns []string) (c cell, err error) {
	switch columns[0] {
	case "200", "502", "503":
		c.sees, _ = strconv.Atoi(columns[0])
	default:
		return cell{}, fmt.Errorf("members see %q", columns[0])
	}
	var known bool
	if c.fetches, known = fetchWords()[columns[1]]; !known {
		return cell{}, fmt.Errorf("%q fetches", columns[1])
	}
	form := regexp.MustCompile("^`(roomgate_[a-z_]+)(?:{([a-z]+=\"[a-z]+\")})?`$")
	for text := range strings.SplitSeq(columns[2], ", ") {
		match := form.FindStringSubmatch(text)
		if match == nil {
			return cell{}, fmt.Errorf("metric %q", text)
		}
		c.metrics = append(c.metrics, metricName{match[1], match[2]})
	}
	return c, nil
}

// representatives returns the cells that every run plays. Each state of Redis, the endpoint and the token is in one of them.
func representatives() []string {
	return []string{
		"redis ok/endpoint ok/token due", // the ordinary refresh: one for the fleet, and nobody waits for it
		"redis ok/endpoint gone/token due",
		"redis gone/endpoint gone/token fresh",
		"redis slow/endpoint ok/token fresh",
		"redis ok/endpoint refusing/token expired",
		"redis read-only/endpoint garbage/token expired",
		"redis frozen/endpoint slow/token expired",
		"redis gone/endpoint ok/token expired",
	}
}

func TestFailureTable(t *testing.T) {
	t.Parallel()
	cells := readTable(t)
	if !tests.Whole() || raceDetector() { // with it all cells at once are too much for two cores
		chosen := representatives()
		cells = slices.DeleteFunc(cells, func(c cell) bool { return !slices.Contains(chosen, c.name()) })
		if len(cells) != len(chosen) {
			t.Fatalf("%d cells in %d representatives", len(cells), len(chosen))
		}
	}
	// The cells that take longest go first. Else the last of them would run alone.
	order := []string{"due", "expired", "fresh"}
	slices.SortStableFunc(cells, func(a, b cell) int { return slices.Index(order, a.token) - slices.Index(order, b.token) })
	slots := make(chan struct{}, cellsAtOnce)
	var wg sync.WaitGroup
	for _, c := range cells {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			t.Run(c.name(), func(t *testing.T) { play(t, c) })
		})
	}
	wg.Wait()
}

// play plays one cell: the replicas get a token, Redis and the endpoint fail as the cell says, and members go on asking.
func play(t *testing.T, c cell) {
	s := newStage(t, c)
	s.prepare(t)
	s.calls, s.rooms, s.told = s.stands.Interwater.AuthCalls(), s.stands.Interwater.RoomCalls(), s.measure(t)
	fault := endpointFaults()[c.endpoint]
	fault.Path = "/v1/auth"
	s.stands.Interwater.SetFaults(fault)
	redisFaults()[redisWords()[c.redis]](t, s.server, s.link)

	got, stop := openLoad(t, cellRate, s.urls("/v1/info"), s.member)
	first := s.settle(t, got)
	stop()
	s.judgeAnswers(t, got.all())
	s.judgeFetches(t, first)
}

// stage has the servers for one cell.
type stage struct {
	cell
	gateways
	server *sandbox.RedisServer
	link   *link
	stands *sandbox.Sandbox
	member string    // a member token
	lives  time.Time // the access token of prepare doesn't expire before

	calls, rooms int         // fetches and room requests before the faults
	told         [][]float64 // the cell's metrics on each replica before the faults
}

func newStage(t *testing.T, c cell) *stage {
	t.Helper()
	s := &stage{cell: c, server: newRedis(t), stands: newStands(t)}
	s.link, s.member = newLink(t, s.server.Addr), s.stands.Glory.MintToken("1", time.Hour)
	environ := settings(s.stands, s.link.Listen, "MEMBER_RATE_LIMIT=0")
	if c.redis == "slow" || c.redis == "frozen" {
		environ = append(environ, "REDIS_TIMEOUT=1s")
	}
	for range cellReplicas {
		s.replicas = append(s.replicas, startReplica(t, environ))
	}
	return s
}

// prepare makes every replica fetch a token with the cell's life, and waits until it is in the cell's state.
func (s *stage) prepare(t *testing.T) {
	t.Helper()
	client := newClient(t)
	eventually(t, "every replica has found its Redis", func() bool { // on a busy machine the first calls may time out
		return !slices.ContainsFunc(s.urlsOfAdmin("/status"), func(url string) bool {
			return !strings.Contains(get(t, client, url, "").body, `"state": "up"`)
		})
	})
	life := tokenLives()[s.token]
	s.stands.Interwater.SetFaults(sandbox.Fault{Path: "/v1/auth", Token: &sandbox.TokenFault{TTL: life}})
	s.lives = time.Now().Add(life - 2*time.Second) // it ends a second early
	for _, url := range s.urls("/v1/info") {
		eventually(t, "every replica has the token", func() bool { // on a busy machine a short one may have ended before it is used
			return get(t, client, url, s.member).status == 200
		})
	}
	if s.token == "expired" {
		lapsed := func(l ops.License) bool { return l.State == "empty" && l.ExpiresInSeconds == 0 }
		s.await(t, "the token has lapsed everywhere", lapsed)
		// A replica that is late with a refresh looks the same for a moment, so look again.
		lasting(t, time.Second)
		s.await(t, "the token has lapsed everywhere for good", lapsed)
	}
}

// await waits until holds is true for the license of every replica.
func (s *stage) await(t *testing.T, what string, holds func(ops.License) bool) {
	t.Helper()
	client, look := newClient(t), time.NewTicker(100*time.Millisecond)
	defer look.Stop()
	eventually(t, what, func() bool {
		<-look.C
		return !slices.ContainsFunc(s.urlsOfAdmin("/status"), func(url string) bool {
			var status ops.Status
			if err := json.Unmarshal([]byte(get(t, client, url, "").body), &status); err != nil {
				t.Fatal(err)
			}
			return !holds(status.Licenses[0])
		})
	})
}

// urlsOfAdmin returns the URLs of path on every replica's operations listener.
func (s *stage) urlsOfAdmin(path string) (list []string) {
	for _, r := range s.replicas {
		list = append(list, r.admin+path)
	}
	return list
}

// measure returns the cell's metrics on each replica.
func (s *stage) measure(t *testing.T) (values [][]float64) {
	t.Helper()
	client := newClient(t)
	for _, url := range s.urlsOfAdmin("/metrics") {
		exposition, list := get(t, client, url, "").want(t, 200).body, []float64(nil)
		for _, m := range s.metrics {
			list = append(list, m.in(exposition))
		}
		values = append(values, list)
	}
	return values
}

// settle waits until every replica has reached its outcome, every metric has grown, and enough members are answered. It returns the
// last moment known to be before the first fetch.
func (s *stage) settle(t *testing.T, got *samples) (first time.Time) {
	t.Helper()
	if s.fetches.askers > 0 {
		look := time.Now()
		eventually(t, "the token endpoint is asked", func() bool {
			first, look = look, time.Now()
			return s.stands.Interwater.AuthCalls() > s.calls
		})
		s.await(t, "every replica has a new token, or has been told why not", func(l ops.License) bool {
			if s.failing() {
				return l.LastError != ""
			}
			return l.ExpiresInSeconds > tokenLives()["due"].Seconds()
		})
		// On a busy machine a replica may know the outcome before its own fetch. It will fetch, too.
		eventually(t, "as many fetches as replicas ask", func() bool { return s.stands.Interwater.AuthCalls()-s.calls >= s.fetches.askers })
		s.judgeFetches(t, first)
	}
	eventually(t, "enough answers", func() bool { return len(got.all()) >= cellAnswers })
	look := time.NewTicker(250 * time.Millisecond)
	defer look.Stop()
	for i, m := range s.metrics {
		eventually(t, m.name+"{"+m.label+"} tells", func() bool {
			<-look.C
			now := s.measure(t)
			for replica := range now {
				if now[replica][i] > s.told[replica][i] {
					return true
				}
			}
			return false
		})
	}
	return first
}

// judgeAnswers compares the answers with the cell. On a slow machine a due token may expire before the end. Later answers are left out,
// because they belong to another cell.
func (s *stage) judgeAnswers(t *testing.T, all []sample) {
	t.Helper()
	if s.token == "due" {
		all = slices.DeleteFunc(all, func(x sample) bool { return x.at.Add(x.took).After(s.lives) })
	}
	for _, x := range all {
		seconds, _ := strconv.Atoi(x.retryAfter)
		if x.status != s.sees || x.status != 200 && seconds < 1 {
			t.Fatalf("a member saw %d with Retry-After %q after %v (%v), want %d", x.status, x.retryAfter, x.took, x.err, s.sees)
		}
	}
	if s.sees != 200 {
		if sent := s.stands.Interwater.RoomCalls() - s.rooms; sent > 0 {
			t.Errorf("%d room requests were sent without a token", sent)
		}
		return
	}
	if s.token != "expired" { // nobody waits for a token; the log shows it on a slow machine, too
		eventually(t, "every request had its token from memory", func() bool { return s.sources()["memory"] >= len(all) })
	}
}

// judgeFetches compares the fetches until now with the cell.
func (s *stage) judgeFetches(t *testing.T, first time.Time) {
	t.Helper()
	calls := s.stands.Interwater.AuthCalls() - s.calls
	took := time.Since(first)
	if least, most := s.fetches.askers, s.fetches.most(s.cell, took); calls < least || calls > most {
		t.Errorf("%d fetches in %v, want %d to %d", calls, took, least, most)
	}
}
