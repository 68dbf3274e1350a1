package main

// Mixed traffic in random order, on connections that the lane and net/http share. It goes straight to a gateway, and through balancers
// that send different members' requests over one connection. Each answer must belong to its request.

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"roomgate/internal/sandbox"
	"roomgate/tests"
)

var (
	mixedTime = flag.Duration("mixed-time", 2*time.Second, "how long TestMixedTraffic sends on each way")
	mixedRate = flag.Int("mixed-rate", 300, "requests a second of TestMixedTraffic")
)

// echoed returns what both upstreams answer: the request, and as many bytes as the last number in target says.
func echoed(method, target, id, body string) string {
	size := 0
	_, _ = fmt.Sscanf(target[strings.LastIndexByte(target, '.')+1:], "%d", &size) // none: 0
	return fmt.Sprintf("%s %s %s %s ", method, target, id, body) + strings.Repeat("x", size)
}

// newEcho starts both upstreams as one server, and returns its URL.
func newEcho(t *testing.T, stands *sandbox.Sandbox) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/auth" {
			stands.Interwater.ServeHTTP(w, r)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the client has left
		}
		if strings.Contains(r.URL.Path, "slow") { // long enough for the lane to watch its client
			select {
			case <-time.After(150 * time.Millisecond):
			case <-r.Context().Done():
				return
			}
		}
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, echoed(r.Method, r.RequestURI, r.Header.Get("X-Request-Id"), string(body)))
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// mixer is the traffic on one way.
type mixer struct {
	addr, token                   string
	next                          chan struct{} // a request may be sent
	number                        atomic.Int64
	right, left, mismatch, failed atomic.Int64
	mu                            sync.Mutex
	wrong                         []string // the first 20 failures
}

// question is a request and its right answer.
type question struct {
	method, id, send string
	status           int
	body             string // "": not checked
}

// ask makes a request of any kind.
func (m *mixer) ask(random *rand.Rand, last bool) question {
	n := m.number.Add(1)
	q := question{method: http.MethodGet, id: fmt.Sprintf("m-%d", n), status: http.StatusOK}
	room := fmt.Sprintf("/v1/sessions/%s%d.%d", []string{"r", "r", "r", "slow"}[random.IntN(4)], n, []int{0, 10, 900, 9000, 70000}[random.IntN(5)])
	lines := []string{"X-Request-Id: " + q.id, "Authorization: Bearer " + m.token, "Accept: text/plain"}
	body, target := "", room
	switch random.IntN(12) {
	case 0, 1: // a login or a join
		q.method, target = http.MethodPost, []string{"/public-api/v1/login", "/public-api/v1/join"}[random.IntN(2)]
		body = fmt.Sprintf(`{"id":"a%d","password":"GET /v1/info HTTP/1.1"}`, n)
		lines = append(lines, "Content-Type: application/json")
		if random.IntN(2) == 0 {
			lines = append(lines, fmt.Sprint("Content-Length: ", len(body)))
		} else {
			lines = append(lines, "Transfer-Encoding: chunked")
		}
	case 2:
		target = fmt.Sprintf("/api/v1/echo/%d.%d", n, n%3000)
	case 3: // the lane hands it over
		lines = append(lines, "accept: text/html")
	case 4:
		q.method = http.MethodHead
	case 5:
		target, q.status = fmt.Sprintf("/v1/nowhere/%d", n), http.StatusNotFound
	case 6:
		lines, q.status = lines[:1], http.StatusUnauthorized
	}
	if last {
		lines = append(lines, "Connection: close")
	}
	q.send = message(q.method, target, lines...)
	if strings.Contains(q.send, "\r\nTransfer-Encoding") {
		q.send += fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body)
	} else {
		q.send += body
	}
	if q.status == http.StatusOK && q.method != http.MethodHead {
		q.body = echoed(q.method, target, q.id, body)
	}
	return q
}

// converse plays one connection: some requests, one by one or pipelined, whole or in pieces. Now and then it leaves too early.
func (m *mixer) converse(random *rand.Rand) error {
	conn, err := net.Dial("tcp", m.addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	in := bufio.NewReader(conn)
	for turns := random.IntN(8); turns >= 0; turns-- {
		var questions []question
		var send strings.Builder
		for range max(1, random.IntN(8)-3) {
			if _, open := <-m.next; !open {
				return nil
			}
			questions = append(questions, m.ask(random, false))
			send.WriteString(questions[len(questions)-1].send)
		}
		if turns == 0 && random.IntN(2) == 0 {
			questions = append(questions, m.ask(random, true))
			send.WriteString(questions[len(questions)-1].send)
		}
		text := send.String()
		if random.IntN(20) == 0 { // leaves
			m.left.Add(int64(len(questions)))
			_, _ = io.WriteString(conn, text[:random.IntN(len(text)+1)])
			return nil
		}
		pieces := 1
		if random.IntN(3) == 0 {
			pieces = 2 + random.IntN(3)
		}
		written := make(chan error, 1)
		go func() { written <- inPieces(conn, text, pieces) }()
		for i := range questions {
			if err := m.judge(&questions[i], in); err != nil {
				return err
			}
		}
		if err := <-written; err != nil {
			return err
		}
	}
	return nil
}

// inPieces writes text in pieces, with pauses between them.
func inPieces(conn net.Conn, text string, pieces int) error {
	for ; pieces > 1; pieces-- {
		n := len(text) / pieces
		if _, err := io.WriteString(conn, text[:n]); err != nil {
			return err
		}
		text = text[n:]
		<-time.After(time.Duration(pieces) * time.Millisecond)
	}
	_, err := io.WriteString(conn, text)
	return err
}

// judge reads the answer to a request, and returns an error if it isn't the right one.
func (m *mixer) judge(q *question, in *bufio.Reader) error {
	answer, ok := readReply(in, q.method)
	id := answer.header.Get("X-Request-Id")
	switch {
	case !ok || answer.broken:
		return fmt.Errorf("no whole answer to %.200q", q.send)
	case id != q.id || q.body != "" && answer.body != q.body && answer.status == http.StatusOK:
		m.mismatch.Add(1)
		return fmt.Errorf("%.200q is answered with %q, %.200q", q.send, id, answer.body)
	case answer.status != q.status:
		return fmt.Errorf("%.200q is answered %d %.200q", q.send, answer.status, answer.body)
	}
	m.right.Add(1)
	return nil
}

// play sends rate requests a second for d.
func (m *mixer) play(d time.Duration, rate int) {
	m.next = make(chan struct{})
	var running sync.WaitGroup
	for worker := range uint64(12) {
		random := rand.New(rand.NewPCG(worker, 1))
		running.Go(func() {
			for {
				if _, open := <-m.next; !open {
					return
				}
				if err := m.converse(random); err != nil {
					m.failed.Add(1)
					m.mu.Lock()
					if len(m.wrong) < 20 {
						m.wrong = append(m.wrong, time.Now().Format("15:04:05.000 ")+err.Error())
					}
					m.mu.Unlock()
				}
			}
		})
	}
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	for over := time.After(d); ; {
		select {
		case <-tick.C:
			m.next <- struct{}{}
			continue
		case <-over:
		}
		close(m.next)
		running.Wait()
		return
	}
}

func TestMixedTraffic(t *testing.T) {
	t.Parallel()
	stands := newStands(t)
	echo := newEcho(t, stands)
	f := startFleet(t, 3, settings(stands, newRedis(t).Addr, "GLORY_URL="+echo, "INTERWATER_URL="+echo, "TRUSTED_PROXIES=127.0.0.0/8",
		"LOGIN_RATE_LIMIT=0", "ACCOUNT_RATE_LIMIT=0", "MEMBER_RATE_LIMIT=0", "IDLE_TIMEOUT=5m", "FAST_LANE=true"))
	for _, way := range []string{"straight", "haproxy", "nginx"} {
		t.Run(way, func(t *testing.T) {
			m := mixer{addr: strings.TrimPrefix(f.replicas[0].url, "http://"), token: stands.Glory.MintToken("1", time.Hour)}
			d := min(time.Second, *mixedTime)
			if way != "straight" {
				tests.Long(t)
				tests.Need(t, "haproxy", "nginx")
				m.addr = f.startBalancer(t, way)
			}
			if tests.Whole() {
				d = *mixedTime
			}
			before := f.laneTook(t)
			m.play(d, *mixedRate)
			t.Logf("%d right answers, %d requests whose client left, %d mismatched, %d connections failed; the lane took %v",
				m.right.Load(), m.left.Load(), m.mismatch.Load(), m.failed.Load(), f.laneTook(t)-before)
			if m.failed.Load() > 0 || m.right.Load() == 0 || f.laneTook(t) == before {
				t.Errorf("the first failures:\n%s\n%s", strings.Join(m.wrong, "\n"), f.eventsOf(m.wrong))
			}
		})
	}
}

// laneTook returns how many requests the lanes have answered.
func (f *gateways) laneTook(t *testing.T) (sum int) {
	t.Helper()
	client := newClient(t)
	for _, r := range f.replicas {
		sum += r.metric(t, client, `roomgate_lane_requests_total{reason="",result="taken"}`)
	}
	return sum
}

// eventsOf returns the log lines of requests whose ids are in texts.
func (f *gateways) eventsOf(texts []string) string {
	var found strings.Builder
	for _, text := range texts {
		_, id, ok := strings.Cut(text, `X-Request-Id: `)
		if id, _, _ = strings.Cut(id, `\r`); !ok {
			continue
		}
		for i, r := range f.replicas {
			for line := range strings.Lines(r.log.String()) {
				if strings.Contains(line, `"`+id+`"`) {
					fmt.Fprintf(&found, "gateway %d: %s", i, line)
				}
			}
		}
	}
	return found.String()
}
