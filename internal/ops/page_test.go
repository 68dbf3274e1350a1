package ops

// The status page is tested here without a browser.

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// evil takes the place of names and errors from elsewhere.
const evil = `<img src=x onerror="alert(1)">`

// sinceThen is when all degradations began.
var sinceThen = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// troubled returns a status with something in every part of the page.
func troubled() Status {
	return Status{
		Version: "v1", UptimeSeconds: 3723,
		Licenses: []License{
			{Name: "campus", Role: "member", State: "fresh", AgeSeconds: 61, ExpiresInSeconds: 3539},
			{Name: evil, Role: "owner", State: "failing", LastError: "refused", NextTrySeconds: 41.5},
		},
		Upstreams: []Upstream{{"glory", "http://g", "closed"}, {"interwater", "http://i", "open"}},
		Redis:     Redis{State: "down", LastError: evil},
		Lane:      Lane{On: true},
		Limits:    []Limit{{"login_limit", "LOGIN_RATE_LIMIT", "0"}, {"overload", "MAX_IN_FLIGHT", "4096"}},
		Replicas: []Replica{
			{ID: "ABCDEFGH", Host: evil, Version: "v1", UptimeSeconds: 90061, Self: true, Figures: &Figures{Rate: 12, Answered: 700, Failed: 7, Level: LevelDown}},
			{ID: "IJKLMNOP", Host: "old", Version: "v0", UptimeSeconds: 90061, SeenSecondsAgo: 2},
		},
		Facts: Facts{
			Verification: "remote", Time: sinceThen, RedisClockSeconds: new(-75.), TLSExpires: &sinceThen, PID: 4711,
			LastReload: &Reload{At: time.Now().Add(-time.Minute), Error: evil},
		},
		Degraded: []Degradation{
			{Reason: "circuit", Subject: "interwater", Text: "circuit", Level: LevelDown, Since: sinceThen},
			{Reason: "token", Subject: evil, Text: "token", Level: LevelDown, Since: sinceThen},
			{Reason: "redis", Text: "redis is down", Level: LevelRisk, Since: sinceThen},
		},
	}
}

func troubledHandler() http.Handler {
	g := newGauged()
	g.request(evil, .1)
	h := NewHistory(g.registry, func() []Degradation { return troubled().Degraded })
	h.look(time.Now().Add(-time.Second))
	g.request(evil, .1)
	g.refused.WithLabelValues("bad_token").Inc()
	g.lane.WithLabelValues("taken", "").Add(3)
	g.lane.WithLabelValues("handed_over", "method").Inc()
	h.look(time.Now())
	return NewHandler(Options{
		Ready: func() (bool, string) { return true, "" }, Status: troubled, Registry: g.registry, History: h,
	})
}

func visit(h http.Handler, path string, headers ...string) *httptest.ResponseRecorder {
	r, w := httptest.NewRequest(http.MethodGet, path, nil), httptest.NewRecorder()
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	h.ServeHTTP(w, r)
	return w
}

func TestThePageSaysEverything(t *testing.T) {
	h := troubledHandler()
	for lang, want := range map[string][]string{
		"en": {"✕ Down: members get errors", "Redis is down (since 03:04:05 UTC)", "circuit open: interwater", "no new access token: ", "up 1h 02m", "1m 01s", "58m 59s",
			"license refused", "off", "4,096", "invalid member token", "1d 01h", "this one", "answered by the lane", `"75%"`, "not a GET", "<html lang=\"en\">",
			"the others can't be seen", "other replicas report through Redis", "in 42s", "kill -HUP 4711", "v0 × 1, v1 × 1", "remote: by Glory", "2026-01-02 03:04:05 UTC",
			"Redis's clock is 1m 15s behind", "expired", "failed; the old ones stay in use", "1m 00s ago · ", "unknown"},
		"ko": {"✕ 장애: 회원 요청이 실패하고 있습니다", "03:04:05 UTC부터", "Redis 연결 끊김", "서킷 열림: interwater", "가동 시간 1시간 2분", "1분 1초", "58분 59초",
			"라이선스 거부됨", "꺼짐", "4,096", "유효하지 않은 회원 토큰", "1일 1시간", "패스트 레인에서 응답", "<html lang=\"ko\">", "발급 후 경과", "42초 후", "원격: Glory에 확인"},
	} {
		w := visit(h, "/?lang="+lang)
		for _, text := range want {
			if !strings.Contains(w.Body.String(), text) {
				t.Errorf("%s: the page doesn't say %q", lang, text)
			}
		}
		if w.Header().Get("Content-Language") != lang || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%v", w.Header())
		}
		without := regexp.MustCompile(`<noscript>([^<]*)</noscript>`).FindStringSubmatch(w.Body.String())
		if without == nil || !strings.HasPrefix(without[1], want[0]+" · ") || !strings.Contains(without[1], want[1]) {
			t.Errorf("%s: without scripts it says %q", lang, without)
		}
	}
}

// Whoever is on call in Seoul reads these words.
func TestKoreanUsesOneWordForOneThing(t *testing.T) {
	for key, text := range texts() {
		for wrong, right := range map[string]string{"멤버": "회원", "대역": "모의 서버", "토큰 나이": "발급 후 경과"} {
			if strings.Contains(text[1], wrong) {
				t.Errorf("%s: %q says %s, not %s", key, text[1], wrong, right)
			}
		}
		if strings.Contains(strings.ReplaceAll(text[1], "패스트 레인", ""), "룸") {
			t.Errorf("%s: %q has another word for 회의실", key, text[1])
		}
	}
}

func TestWhatOthersWroteIsTextOnThePage(t *testing.T) {
	body := visit(troubledHandler(), "/").Body.String()
	if strings.Contains(body, "<img") {
		t.Error("a name has become HTML")
	}
	if n := strings.Count(body, `\u003cimg src=x onerror=`); n < 6 {
		t.Errorf("the name stands on the page %d times: as license, two errors, replica, route and in plots it should be there", n)
	}
	if !strings.Contains(body, "&lt;img src=x onerror=") {
		t.Error("without scripts, the name isn't there")
	}
	// The script must have no way to turn text into HTML.
	for _, way := range []string{"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function("} {
		if strings.Contains(pageScript, way) {
			t.Errorf("the script uses %s", way)
		}
	}
}

// A name in braces must not be replaced by a part of the page.
func TestNoTextTakesThePlaceOfAPart(t *testing.T) {
	o := Options{Ready: func() (bool, string) { return true, "" }, Registry: newGauged().registry}
	o.Status = func() Status { return Status{Version: "{{script}}{{without}}", ReplicasKnown: true} }
	o.History = NewHistory(o.Registry, nil)
	body := visit(NewHandler(o), "/").Body.String()
	if strings.Count(body, `"use strict"`) != 1 || strings.Count(body, "{{script}}{{without}}") != 1 {
		t.Error("a version has become a part of the page")
	}
}

func TestTheLanguageIsAskedForOrPreferred(t *testing.T) {
	h := troubledHandler()
	for _, tt := range []struct{ query, accept, want string }{
		{"", "", "en"}, {"", "ko", "ko"}, {"", "ko-KR,ko;q=0.9,en;q=0.5", "ko"}, {"", "fr,ko;q=0.5", "ko"}, {"", "fr", "en"},
		{"", "en-GB", "en"}, {"?lang=ko", "en", "ko"}, {"?lang=en", "ko", "en"}, {"?lang=%3Cscript%3E", "ko", "ko"},
		{"?lang=", "ko", "ko"}, {"", ",,;q=", "en"},
	} {
		if got := visit(h, "/"+tt.query, "Accept-Language", tt.accept).Header().Get("Content-Language"); got != tt.want {
			t.Errorf("lang %q, Accept-Language %q: %s, want %s", tt.query, tt.accept, got, tt.want)
		}
	}
}

func TestBothLanguagesAreComplete(t *testing.T) {
	verbs := regexp.MustCompile(`%(\[\d\])?0?\d?[sd]`)
	for key, text := range texts() {
		if text[0] == "" || text[1] == "" {
			t.Errorf("%s: %q", key, text)
		}
		if en, ko := verbs.FindAllString(text[0], -1), verbs.FindAllString(text[1], -1); len(en) != len(ko) {
			t.Errorf("%s: %q and %q hold different things", key, text[0], text[1])
		}
	}
	// All texts that the code asks for must exist. Otherwise the page would show their names.
	w := wordsFor(httptest.NewRequest(http.MethodGet, "/", nil))
	for name, text := range w.forPage() {
		if name != "live" && text == name {
			t.Errorf("there is no text %q", name)
		}
	}
	for _, m := range regexp.MustCompile(`words(?:\.|\[")([a-z ]+)`).FindAllStringSubmatch(pageScript, -1) {
		if key := strings.TrimSpace(m[1]); w.forPage()[key] == "" && key != "unit" {
			t.Errorf("the script asks for %q, which it doesn't get", key)
		}
	}
	for _, table := range newView(w, troubled(), true, Past{}).Tables {
		labels := []string{table.Title, table.Empty}
		for _, c := range table.Columns {
			labels = append(labels, c.Label)
		}
		for _, label := range labels {
			if strings.HasPrefix(label, "column ") || strings.HasPrefix(label, "none ") || label == table.ID {
				t.Errorf("there is no text %q", label)
			}
		}
	}
}

func TestABrowserMayLoadNothingButThePage(t *testing.T) {
	w := visit(troubledHandler(), "/")
	policy := w.Header().Get("Content-Security-Policy")
	for _, part := range []string{
		"default-src 'none'", "connect-src 'self'", "script-src 'sha256-", "style-src 'sha256-", "frame-ancestors 'none'",
	} {
		if !strings.Contains(policy, part) {
			t.Errorf("the policy lacks %q: %s", part, policy)
		}
	}
	if strings.Contains(policy, "unsafe") {
		t.Error(policy)
	}
	elsewhere := regexp.MustCompile(`(?:src|href)="(?:https?:)?//[^"]*"| on\w+="| style="`)
	if m := elsewhere.FindString(w.Body.String()); m != "" {
		t.Errorf("the page has %q", m)
	}
}

func TestOnlyTheRootIsThePage(t *testing.T) {
	h := troubledHandler()
	for _, path := range []string{"/index.html", "/page.js", "/events/", "/x"} {
		if w := visit(h, path); w.Code != http.StatusNotFound {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", w.Code)
	}
}

// pipes is a listener in memory, for use in a synctest bubble.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

// Accept implements net.Listener.
func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (p *pipes) Close() error { close(p.done); return nil }

// Addr implements net.Listener.
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{} }

// served runs a handler in the bubble. watch opens a stream on it.
func served(t *testing.T, h http.Handler) (server *http.Server, watch func() (net.Conn, *http.Response)) {
	t.Helper()
	listener := &pipes{make(chan net.Conn), make(chan struct{})}
	server = &http.Server{Handler: h}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return server, func() (net.Conn, *http.Response) {
		near, far := net.Pipe()
		listener.conns <- far
		go func() { _, _ = io.WriteString(near, "GET /events?lang=ko HTTP/1.1\r\nHost: x\r\n\r\n") }()
		response, err := http.ReadResponse(bufio.NewReader(near), nil)
		if err != nil {
			t.Fatal(err)
		}
		return near, response
	}
}

func TestTheStreamSendsTheWholeViewEachSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, watch := served(t, troubledHandler())
		conn, response := watch()
		defer conn.Close()
		if got := response.Header.Get("Content-Type"); got != "text/event-stream" {
			t.Errorf("Content-Type %q", got)
		}
		began, events := time.Now(), 0
		for lines := bufio.NewScanner(response.Body); events < 4 && lines.Scan(); {
			data, ok := strings.CutPrefix(lines.Text(), "data: ")
			if !ok {
				continue
			}
			if want := time.Duration(events) * time.Second; time.Since(began) != want {
				t.Errorf("event %d came after %v, want %v", events, time.Since(began), want)
			}
			events++
			var v view
			if err := json.Unmarshal([]byte(data), &v); err != nil {
				t.Fatal(err)
			}
			if v.State.Text != "✕ 장애: 회원 요청이 실패하고 있습니다" || len(v.Tables) != 10 || len(v.Problems) != 3 || len(v.Marks) != 1 {
				t.Errorf("%+v", v)
			}
		}
		if events != 4 {
			t.Errorf("%d events", events)
		}
	})
}

func TestStreamsAreFewAndEndWithTheirReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := troubledHandler()
		_, watch := served(t, h)
		var conns []net.Conn
		for range streamMost {
			conn, _ := watch() // nobody reads: each is stuck in its first event
			conns = append(conns, conn)
		}
		if w := visit(h, "/events"); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
			t.Errorf("one too many: %d %v", w.Code, w.Header())
		}
		conns[0].Close() // leaves
		after(streamEvery)
		_, response := watch()
		var read atomic.Int64
		go func() { _, _ = io.Copy(&counting{&read}, response.Body) }()
		after(streamWrite) // the others are disconnected, and their places are free
		for range streamMost - 1 {
			if _, next := watch(); next.StatusCode != http.StatusOK {
				t.Fatalf("a place isn't free: %d", next.StatusCode)
			}
		}
		before := read.Load() // the one that reads goes on
		after(streamEvery)
		if read.Load() == before {
			t.Error("the one who reads was cut off too")
		}
	})
}

// counting is a writer that only counts.
type counting struct{ n *atomic.Int64 }

// Write implements io.Writer.
func (c *counting) Write(p []byte) (int, error) { c.n.Add(int64(len(p))); return len(p), nil }

func TestClosingTheServerEndsTheStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, watch := served(t, troubledHandler())
		_, response := watch()
		read := make(chan error)
		go func() { _, err := io.Copy(io.Discard, response.Body); read <- err }()
		after(3 * time.Second)
		_ = server.Close()
		if err := <-read; err == nil {
			t.Error("the stream ended in good order; a page would not know that it isn't live")
		}
		synctest.Wait()
	})
}

func TestPlotsHaveGapsAndThreeDigits(t *testing.T) {
	got, err := json.Marshal(values{0, 12345.6, math.NaN(), .00012345, 9.876, 100.4, math.Inf(1)})
	if want := "[0,12346,null,0.000123,9.88,100,null]"; err != nil || string(got) != want {
		t.Errorf("%s (%v), want %s", got, err, want)
	}
	w := wordsFor(httptest.NewRequest(http.MethodGet, "/", nil))
	p := latencyPlot(w, "x", []Point{{P50: math.NaN(), P95: math.NaN(), P99: math.NaN()}, {P50: .001, P95: .0123, P99: .2}})
	if p.Peak != "max 200 ms" || len(p.Lines) != 3 || p.Lines[0].Name != "p99" || p.Lines[0].Values[1] != 200 || !math.IsNaN(p.Lines[2].Values[0]) {
		t.Errorf("%+v", p)
	}
}

// Measures one view: what each reader of the stream costs per second.
func BenchmarkView(b *testing.B) {
	h, w := busyHistory(), wordsFor(httptest.NewRequest(http.MethodGet, "/?lang=ko", nil))
	size := 0
	for b.Loop() {
		text, err := json.Marshal(newView(w, troubled(), true, h.Past()))
		if err != nil {
			b.Fatal(err)
		}
		size = len(text)
	}
	b.ReportMetric(float64(size), "bytes/event")
}

// busyHistory returns a full History with ten routes.
func busyHistory() *History {
	g := newGauged()
	h := NewHistory(g.registry, nil)
	for i := range historyPoints * historyStep {
		for _, route := range slices.Collect(strings.SplitSeq("abcdefghij", "")) {
			g.request(route, float64(i%100)/100)
		}
		h.look(time.Unix(int64(i), 0))
	}
	return h
}

// The stream goes on during a drain, and says so.
func TestADrainIsSeen(t *testing.T) {
	o := Options{Ready: func() (bool, string) { return false, "draining" }, Status: troubled, Registry: newGauged().registry}
	o.History = NewHistory(o.Registry, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := o.History.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if body := visit(NewHandler(o), "/").Body.String(); !strings.Contains(body, "Draining: no new traffic is wanted") {
		t.Error("the page doesn't say that it drains")
	}
}
