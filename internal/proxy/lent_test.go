package proxy

// The memory lent for an answer of up to 64 KiB belongs to one request at a time.

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"path"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// longText returns the answer to a room: its name, repeated.
func longText(room string, length int) string {
	return strings.Repeat(room, length/len(room)+1)[:length]
}

// longTexts starts a gateway with the lane. Its upstream answers with longText, in the length that the query gives.
func longTexts(t *testing.T) *gateway {
	t.Helper()
	texts := make(map[string]string)
	for _, room := range []string{"room0", "room1", "room2"} {
		texts[room] = longText(room, smallAnswer)
	}
	interwater := scripted(t, func(w http.ResponseWriter, r *http.Request) {
		length, _ := strconv.Atoi(r.URL.RawQuery)
		w.Header().Set("Content-Length", r.URL.RawQuery)
		_, _ = io.WriteString(w, texts[path.Base(r.URL.Path)][:length])
	})
	return start(t, func(o *setup) { o.lane, o.Interwater, o.RoomCoalesce = true, interwater, true })
}

// askLong asks for an answer as long as text, and reads it into text.
func askLong(conn net.Conn, in *bufio.Reader, room string, text []byte) error {
	fmt.Fprintf(conn, "GET /v1/sessions/%s?%d HTTP/1.1\r\nHost: g\r\n%s\r\n\r\n", room, len(text), asMember)
	answer, err := http.ReadResponse(in, nil)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	_, err = io.ReadFull(answer.Body, text)
	return err
}

func TestLentMemoryIsOneAnswers(t *testing.T) {
	t.Parallel()
	g := longTexts(t)
	var clients sync.WaitGroup
	for client := range 8 {
		conn := g.dial(t)
		clients.Go(func() {
			defer conn.Close()
			in, text := bufio.NewReader(conn), make([]byte, smallAnswer)
			for i := range 60 {
				room, length := fmt.Sprint("room", (i+client/4)%3), 20+i*1000 // several clients ask the same at the same time
				if err := askLong(conn, in, room, text[:length]); err != nil || string(text[:length]) != longText(room, length) {
					t.Errorf("%s in %d bytes: %v, begins with %.20q", room, length, err, text)
					return
				}
			}
		})
	}
	clients.Wait()
}

func TestLongAnswersAreReadIntoLentMemory(t *testing.T) {
	g := longTexts(t)
	conn := g.dial(t)
	in, text := bufio.NewReader(conn), make([]byte, smallAnswer)
	const requests = 100
	var before, after runtime.MemStats
	for i := range requests + 1 {
		if i == 1 {
			runtime.ReadMemStats(&before)
		}
		if err := askLong(conn, in, "room0", text); err != nil {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / requests; each > smallAnswer*3/4 {
		t.Errorf("%d bytes were allocated for an answer of %d", each, smallAnswer)
	}
}
