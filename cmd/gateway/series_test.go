package main

// No room, path, method or member that clients make up becomes a series, so they can't fill the memory of a metrics server.

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// pipeline sends n requests over a few connections, without waiting for answers, and counts the answers by status.
func pipeline(t *testing.T, addr string, n int, request func(i int) string) map[int]int {
	t.Helper()
	const connections = 4
	var (
		mu       sync.Mutex
		statuses = map[int]int{}
		wg       sync.WaitGroup
	)
	for c := range connections {
		conn, err := net.Dial("tcp", strings.TrimPrefix(addr, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(5 * patience))
		wg.Go(func() {
			out := bufio.NewWriterSize(conn, 16<<10)
			for i := c; i < n; i += connections {
				io.WriteString(out, request(i))
			}
			out.Flush()
		})
		wg.Go(func() {
			defer conn.Close()
			in := bufio.NewReader(conn)
			for i := c; i < n; i += connections {
				response, err := http.ReadResponse(in, nil)
				if err != nil {
					t.Errorf("request %d: %v", i, err)
					return
				}
				io.Copy(io.Discard, response.Body)
				mu.Lock()
				statuses[response.StatusCode]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return statuses
}

// seriesOf returns the names and labels of all series in /metrics, except those of reloads, which come with time.
func seriesOf(t *testing.T, r *replica) (names []string) {
	t.Helper()
	for line := range strings.Lines(get(t, newClient(t), r.admin+"/metrics", "").want(t, 200).body) {
		if !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "roomgate_reloads_total") {
			names = append(names, line[:strings.LastIndexByte(line, ' ')])
		}
	}
	return names
}

// counted waits until the gateway has counted requests. It counts them after their answers.
func (r *replica) counted(t *testing.T, requests float64) {
	t.Helper()
	eventually(t, "all requests are counted", func() bool {
		var status struct{ Counters map[string]float64 }
		return json.Unmarshal([]byte(get(t, newClient(t), r.admin+"/status", "").body), &status) == nil && status.Counters["roomgate_requests_total"] >= requests
	})
}

// Half of the requests each have their own room and member, and every tenth of these members is admitted. The others each have their own
// path and method. All have made-up headers, too.
func TestClientsMakeUpNoSeries(t *testing.T) {
	t.Parallel()
	const many = 10_000
	stands := newStands(t)
	r := startReplica(t, settings(stands, newRedis(t).Addr, "INTERWATER_ALLOW=!member.sub.endsWith('x')"))
	if a, err := call(t.Context(), newClient(t), http.MethodPut, r.admin+"/loglevel?level=warn", "", ""); err != nil || a.status != 200 {
		t.Fatalf("%v %+v", err, a) // else the log would take the most time
	}
	request := func(i int) string {
		own := fmt.Sprintf("Host: h%d\r\nUser-Agent: u%d\r\nX-Request-Id: r%d\r\n", i, i, i)
		if i%2 == 1 {
			return fmt.Sprintf("MADE%d /path-%d?q=%d HTTP/1.1\r\n%s\r\n", i, i, i, own)
		}
		sub := fmt.Sprintf("%dx", i)
		if i%20 == 0 {
			sub = fmt.Sprint(i)
		}
		return fmt.Sprintf("GET /v1/sessions/room-%d HTTP/1.1\r\n%sAuthorization: Bearer %s\r\n\r\n", i, own, stands.Glory.MintToken(sub, time.Hour))
	}
	pipeline(t, r.url, 40, request)
	r.counted(t, 40)
	before := seriesOf(t, r)
	began := time.Now()
	statuses := pipeline(t, r.url, many, request)
	t.Logf("%v in %v, %d series", statuses, time.Since(began), len(before))
	if statuses[403] != many*9/20 || statuses[404] < many/2 || statuses[403]+statuses[404]+statuses[200] != many {
		t.Errorf("%v", statuses)
	}
	if calls := stands.Interwater.RoomCalls(); calls < many/20 {
		t.Errorf("%d rooms were asked for, want %d", calls, many/20)
	}
	r.counted(t, 40+many)
	if after := seriesOf(t, r); !slices.Equal(after, before) {
		t.Errorf("%d requests made other series: %q", many, slices.DeleteFunc(after, func(s string) bool { return slices.Contains(before, s) }))
	}
}
