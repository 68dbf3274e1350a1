package lane

// net/http must read each request that the lane takes or hands over as the lane has read it: the same request from exactly the same
// bytes. The fuzzer varies the bytes, the size of the pieces in which they come, and the size of the server's buffer.

import (
	"bufio"
	"bytes"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// pieces is a connection from which in is read, at most size bytes at a time.
type pieces struct {
	net.Conn
	in      []byte
	size    int
	written bytes.Buffer
}

func (c *pieces) Read(p []byte) (int, error) {
	if len(c.in) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.in[:min(c.size, len(c.in))])
	c.in = c.in[n:]
	return n, nil
}
func (c *pieces) Write(p []byte) (int, error)     { return c.written.Write(p) }
func (c *pieces) Close() error                    { return nil }
func (c *pieces) SetDeadline(time.Time) error     { return nil }
func (c *pieces) SetReadDeadline(time.Time) error { return nil }
func (c *pieces) RemoteAddr() net.Addr            { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

// handed returns the bytes of one request that the lane hands over. buffer is the size of the server's buffer.
func handed(t *testing.T, c *Conn, buffer int) []byte {
	t.Helper()
	var got []byte
	p := make([]byte, buffer)
	for range 1 << 20 {
		if got != nil && c.read == c.own && c.body.done() {
			return got
		}
		n, err := c.Read(p)
		if got = append(got, p[:n]...); err != nil {
			return got
		}
		if got == nil {
			t.Fatal("Read returns no bytes and no error")
		}
	}
	t.Fatal("Read makes no progress")
	return nil
}

// answers has an Options.Answer that takes a plain request if its bit is set. The bits of take are used in turn.
type answers struct {
	take  uint8
	asked int
	taken []Request // those that the test hasn't compared yet
	all   int       // how many were taken
}

func (a *answers) answer(w *Writer, r *Request) string {
	a.asked++
	if a.take>>((a.asked-1)%8)&1 == 0 {
		return "other"
	}
	one := *r
	one.Fields = slices.Clone(r.Fields)
	a.taken = append(a.taken, one)
	a.all++
	w.Begin(http.StatusOK)
	_ = w.Whole([]byte(strconv.Itoa(a.all)))
	return ""
}

func FuzzLaneReadsAsNetHTTP(f *testing.F) {
	for i, one := range slices.Concat(good, refused) {
		f.Add([]byte(one), uint16(4095), uint16(4095), uint8(i))
		f.Add([]byte(one+one), uint16(6), uint16(63), uint8(0x5a))
		f.Add([]byte(get+"\r\n"+one+get+"Pragma: no-cache\r\nConnection:close\r\n\r\n"), uint16(40), uint16(4095), uint8(0xff))
	}
	for _, head := range clients(f) {
		f.Add([]byte(head+head), uint16(1499), uint16(4095), uint8(0x0d))
	}
	f.Fuzz(readsAsNetHTTP)
}

// clients returns heads as real clients send them. Package proxy tests that the lane takes them.
func clients(f *testing.F) (heads []string) {
	f.Helper()
	files, _ := filepath.Glob("testdata/clients/*.http")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		heads = append(heads, strings.ReplaceAll(string(text), "\n", "\r\n"))
	}
	return heads
}

// readsAsNetHTTP reads in through the lane and compares. in comes in pieces of size+1 bytes, and the server's buffer has buffer+1. take
// is as in answers.
func readsAsNetHTTP(t *testing.T, in []byte, size, buffer uint16, take uint8) {
	inner := &pieces{in: in, size: int(size) + 1}
	var refusals []Refusal
	mine := answers{take: take}
	all := newConns(&Options{MaxHeaderBytes: 8 << 10, Answer: mine.answer, Refused: func(r Refusal) { refusals = append(refusals, r) }})
	all.runs = true // so that no watch starts: nothing here takes time
	c := newConn(inner, all)
	rest := in
	for range 20 {
		got := handed(t, c, int(buffer)+1)
		for len(mine.taken) > 0 {
			rest = takesAlike(t, &mine.taken[0], rest)
			mine.taken = mine.taken[1:]
		}
		if len(refusals) > 0 {
			if len(got) > 0 || len(refusals) > 1 || !inner.answers(mine.all) || !isAnswer(&inner.written) {
				t.Fatalf("refused %d times, handed over %q, answered %q", len(refusals), got, inner.written.String())
			}
			return
		}
		for len(got) > 0 && bytes.HasPrefix(rest, []byte("\r\n")) {
			rest = rest[2:]
		}
		if c.body.wrong != nil {
			if !bytes.HasPrefix(rest, bytes.TrimSuffix(got, longestPoison(got))) || !failsInBody(got) {
				t.Fatalf("net/http doesn't see that the body is malformed: %q", got)
			}
			return
		}
		if !bytes.HasPrefix(rest, got) {
			t.Fatalf("handed over %q of %q", got, rest)
		}
		rest = rest[len(got):]
		if !c.body.done() || c.due { // the input ends within the request, or the client wanted the connection closed
			if !inner.answers(mine.all) || inner.written.Len() > 0 {
				t.Fatalf("%d requests taken, and afterwards %q", mine.all, inner.written.String())
			}
			return
		}
		readsAlike(t, c, got)
		c.next()
	}
}

// answers reads the lane's first n answers from what was written. It reports whether they are the right ones, in order.
func (c *pieces) answers(n int) bool {
	in := bufio.NewReader(bytes.NewReader(c.written.Bytes()))
	for i := range n {
		answer, err := http.ReadResponse(in, nil)
		if err != nil {
			return false
		}
		if body, err := io.ReadAll(answer.Body); err != nil || string(body) != strconv.Itoa(i+1) {
			return false
		}
	}
	left, _ := io.ReadAll(in)
	c.written.Next(c.written.Len() - len(left))
	return true
}

// takesAlike fails unless net/http reads, at the beginning of in, the request that the lane has taken. It returns what comes after it.
func takesAlike(t *testing.T, taken *Request, in []byte) (rest []byte) {
	t.Helper()
	for bytes.HasPrefix(in, []byte("\r\n")) {
		in = in[2:]
	}
	reader := bufio.NewReader(bytes.NewReader(in))
	r, err := http.ReadRequest(reader)
	if err != nil {
		t.Fatalf("taken %q, net/http: %v", in, err)
	}
	if body, err := io.ReadAll(r.Body); len(body) > 0 || err != nil || r.ContentLength != 0 || len(r.TransferEncoding) > 0 {
		t.Errorf("taken %q, with a body", in)
	}
	rest, _ = io.ReadAll(reader)
	if head := in[:len(in)-len(rest)]; bytes.Count(head, []byte("\r\n\r\n")) != 1 || !bytes.HasSuffix(head, []byte("\r\n\r\n")) {
		t.Errorf("taken %q, net/http reads %q", in, head)
	}
	if r.Method != http.MethodGet || r.RequestURI != taken.Target || r.Host != taken.Host || r.Close != taken.close || r.Proto != "HTTP/1.1" {
		t.Errorf("taken %+v, net/http reads %+v", taken, r)
	}
	fields := http.Header{}
	for _, field := range taken.Fields {
		fields.Add(field.Name, field.Value)
	}
	if len(fields["Host"]) != 1 || fields["Host"][0] != r.Host {
		t.Errorf("%q, net/http reads %q", fields["Host"], r.Host)
	}
	delete(fields, "Host")
	if !maps.EqualFunc(asSent(r.Header, fields), fields, slices.Equal[[]string]) {
		t.Errorf("taken %q, net/http reads %q", fields, r.Header)
	}
	return rest
}

// asSent removes the Cache-Control that net/http adds if a client sends only "Pragma: no-cache".
func asSent(read, sent http.Header) http.Header {
	if len(sent["Cache-Control"]) == 0 && len(sent["Pragma"]) > 0 && sent["Pragma"][0] == "no-cache" {
		delete(read, "Cache-Control")
	}
	return read
}

// longestPoison returns the end of got that stands in place of a malformed chunk. A small buffer may cut it short.
func longestPoison(got []byte) []byte {
	for n := len(malformed); n > 0; n-- {
		if bytes.HasSuffix(got, []byte(malformed[:n])) {
			return []byte(malformed[:n])
		}
	}
	return nil
}

// failsInBody reports whether net/http accepts the head of got and fails in the body.
func failsInBody(got []byte) bool {
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(got)))
	if err != nil {
		return false
	}
	_, err = io.Copy(io.Discard, r.Body)
	return err != nil
}

// readsAlike fails unless net/http reads the request that c has just handed over, to the last byte.
func readsAlike(t *testing.T, c *Conn, got []byte) {
	t.Helper()
	in := bufio.NewReader(bytes.NewReader(got))
	r, err := http.ReadRequest(in)
	if err != nil {
		t.Fatalf("net/http: %v: %q", err, got)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatalf("net/http: body: %v: %q", err, got)
	}
	if left, _ := io.ReadAll(in); len(left) > 0 {
		t.Fatalf("net/http leaves %q of %q", left, got)
	}
	line, head, _ := strings.Cut(string(got), "\r\n")
	if want := r.Method + " " + r.RequestURI + " " + r.Proto; line != want {
		t.Errorf("request line %q, net/http reads %q", line, want)
	}
	head, raw, _ := strings.Cut("\r\n"+head, "\r\n\r\n")
	fields := http.Header{}
	for _, field := range strings.Split(head, "\r\n")[1:] {
		name, value, _ := strings.Cut(field, ":")
		fields.Add(name, strings.Trim(value, " \t"))
	}
	if host := fields.Get("Host"); host != "" && !strings.EqualFold(r.Host, host) && r.Method != http.MethodConnect {
		t.Errorf("host %q, net/http reads %q", host, r.Host)
	}
	if r.Host != "" && !ValidHost(r.Host) {
		t.Errorf("host %q", r.Host)
	}
	for name, values := range asSent(r.Header, fields) {
		if strings.Join(fields[name], "\n") != strings.Join(values, "\n") {
			t.Errorf("%s: %q, net/http reads %q", name, fields[name], values)
		}
		delete(fields, name)
	}
	for name := range fields { // net/http removes these three from the header
		if name != "Host" && name != "Transfer-Encoding" && name != "Trailer" {
			t.Errorf("%s is lost in %q", name, got)
		}
	}
	if c.head.codings == 0 && raw != string(body) {
		t.Errorf("body %q, net/http reads %q", raw, body)
	}
}

// isAnswer reports whether written is one whole answer with "Connection: close".
func isAnswer(written *bytes.Buffer) bool {
	in := bufio.NewReader(written)
	answer, err := http.ReadResponse(in, &http.Request{Method: http.MethodHead})
	if err != nil {
		return false
	}
	body, _ := io.ReadAll(in)
	return answer.Close && answer.Header.Get("X-Request-Id") != "" && (len(body) == 0 || answer.ContentLength == int64(len(body)))
}
