package main

// HTTP/2, frame by frame: forbidden and repeated fields must not become an HTTP/1.1 request with another meaning (the catalogue's row
// S17). The helpers for TLS are here, too.

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// newTLSArena is newArena with TLS on the public listener.
func newTLSArena(t *testing.T, own ...string) *arena {
	t.Helper()
	lender := httptest.NewTLSServer(http.NotFoundHandler()) // for its certificate and key
	defer lender.Close()
	pair := lender.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for name, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: pair.Certificate[0]}, keyFile: {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return newArena(t, append(own, "TLS_CERT_FILE="+certFile, "TLS_KEY_FILE="+keyFile)...)
}

// insecure returns a client's TLS configuration that trusts any certificate.
func insecure(protocols ...string) *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, NextProtos: protocols}
}

// http2 is a connection on which tests write single frames.
type http2 struct {
	*tls.Conn
	stream uint32
}

func (s *arena) dialHTTP2(t *testing.T) *http2 {
	t.Helper()
	conn, err := tls.Dial("tcp", s.addr(), insecure("h2"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	if protocol := conn.ConnectionState().NegotiatedProtocol; protocol != "h2" {
		t.Fatalf("the protocol is %q", protocol)
	}
	h := &http2{Conn: conn, stream: 1}
	io.WriteString(h, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"+string(h2Frame(4, 0, 0, nil)))
	return h
}

// h2Frame returns a frame (RFC 9113 §4.1). Kinds are 0 DATA, 1 HEADERS, 3 RST_STREAM, 4 SETTINGS, 7 GOAWAY, 8 WINDOW_UPDATE and
// 9 CONTINUATION. Of the flags, 1 ends the stream and 4 the field block.
func h2Frame(kind, flags byte, stream uint32, payload []byte) []byte {
	head := []byte{byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload)), kind, flags}
	return append(binary.BigEndian.AppendUint32(head, stream), payload...)
}

// h2Fields returns a block of literal fields without indexing (RFC 7541 §6.2.2). fields are names and values in turn.
func h2Fields(fields ...string) []byte {
	var block []byte
	for i, s := range fields {
		if i%2 == 0 {
			block = append(block, 0)
		}
		if len(s) < 127 {
			block = append(block, byte(len(s)))
		} else { // RFC 7541 §5.1
			block = append(block, 127)
			rest := len(s) - 127
			for ; rest >= 128; rest >>= 7 {
				block = append(block, byte(rest)|128)
			}
			block = append(block, byte(rest))
		}
		block = append(block, s...)
	}
	return block
}

// ask sends a request without a body and returns the answer. status 0: the stream was reset or the connection ended.
func (h *http2) ask(t *testing.T, fields ...string) (status int, body string) {
	t.Helper()
	h.Write(h2Frame(1, 5, h.stream, h2Fields(fields...)))
	return h.answer(t)
}

// answer reads the answer on the stream that was used last.
func (h *http2) answer(t *testing.T) (status int, body string) {
	t.Helper()
	var data bytes.Buffer
	for {
		head := make([]byte, 9)
		if _, err := io.ReadFull(h, head); err != nil {
			return 0, ""
		}
		payload := make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
		if _, err := io.ReadFull(h, payload); err != nil {
			return 0, ""
		}
		kind, flags, mine := head[3], head[4], binary.BigEndian.Uint32(head[5:]) == h.stream
		switch {
		case kind == 7, kind == 3 && mine:
			return 0, ""
		case kind == 1 && mine && status == 0:
			status = h2Status(payload)
		case kind == 0 && mine:
			data.Write(payload)
		}
		if mine && kind <= 1 && flags&1 != 0 {
			h.stream += 2
			if _, code, ok := strings.Cut(data.String(), `{"code":"`); ok && status < 0 {
				status, _ = strconv.Atoi(code[:3])
			}
			return status, data.String()
		}
	}
}

// h2Status returns a status that is in HPACK's static table, and -1 for another: then the body tells.
func h2Status(block []byte) int {
	for len(block) > 0 && block[0]&0xe0 == 0x20 { // an update of the table's size
		block = block[1:]
	}
	if len(block) == 0 {
		return -1
	}
	if status, ok := map[byte]int{0x88: 200, 0x8c: 400, 0x8d: 404, 0x8e: 500}[block[0]]; ok {
		return status
	}
	return -1
}

func TestHTTP2SaysNothingElseInHTTP1(t *testing.T) {
	t.Parallel()
	s := newTLSArena(t)
	base := func(own ...string) []string {
		return append([]string{":method", "GET", ":scheme", "https", ":path", "/v1/info", ":authority", "g", "authorization", "Bearer " + s.token}, own...)
	}
	with := func(name, value string) []string {
		fields := base()
		for i := 0; i < len(fields); i += 2 {
			if fields[i] == name {
				fields[i+1] = value
			}
		}
		return fields
	}
	for _, c := range []struct {
		name   string
		fields []string
		want   []int // any of them; 0: the stream was reset or the connection ended
		rooms  int
	}{
		{"as it should be", base(), []int{200}, 1},
		{"transfer-encoding", base("transfer-encoding", "chunked"), []int{0, 400}, 0},
		{"connection", base("connection", "s-connector-jwt"), []int{0, 400}, 0},
		{"upgrade", base("upgrade", "h2c"), []int{0, 400}, 0},
		{"te", base("te", "gzip"), []int{0, 400}, 0},
		{"CR LF in a value", base("x-a", "b\r\nS-Connector-Jwt: EVIL"), []int{0, 400}, 0},
		{"NUL in a value", base("x-a", "b\x00c"), []int{0, 400}, 0},
		{"upper case", base("S-Connector-Jwt", "EVIL"), []int{0, 400}, 0},
		{"space in a name", base("x a", "b"), []int{0, 400}, 0},
		{"credential", base("s-connector-jwt", "EVIL", "s_connector_jwt", "EVIL"), []int{200}, 1},
		{"path without slash", with(":path", "v1/info"), []int{0, 400}, 0},
		{"path with a space", with(":path", "/v1/info HTTP/1.1"), []int{0, 400, 404}, 0},
		{"path with #", with(":path", "/v1/info#/../auth"), []int{0, 400}, 0},
		{"path to auth", with(":path", "/v1/sessions/..%2fauth"), []int{400}, 0},
		{"path empty", with(":path", ""), []int{0, 400}, 0},
		{"path twice", base(":path", "/v1/auth"), []int{0, 400}, 0},
		{"method CONNECT with a path", with(":method", "CONNECT"), []int{0, 400, 405}, 0},
		{"authority is no host", with(":authority", "gw@"+s.evil), []int{0, 400}, 0},
		{"authority is two", with(":authority", "g.example, other"), []int{0, 400}, 0},
		{"path with raw UTF-8", with(":path", "/v1/sessions/\xec\xa3\xbc"), []int{400}, 0},
		{"path with characters of no URI", with(":path", "/v1/sessions?<script>"), []int{400}, 0},
		{"origin twice", base("origin", "https://a.test", "origin", "https://b.test"), []int{400}, 0},
		{"authority empty", with(":authority", ""), []int{0, 400}, 0},
		{"two authorities in one", with(":authority", "g, EVIL"), []int{0, 400}, 0},
		{"authority with a space", with(":authority", "g EVIL"), []int{0, 400}, 0},
		{"another host", base("host", "EVIL"), []int{0, 400}, 0},
		{"two hosts", base("host", "g", "host", "g"), []int{0, 400}, 0},
		{"the same host", base("host", "g"), []int{200}, 1},
		{"host alone", append([]string{":method", "GET", ":scheme", "https", ":path", "/v1/info"}, "host", "g", "authorization", "Bearer "+s.token), []int{200}, 1},
		{"two member tokens", base("authorization", "Bearer "+s.token), []int{401}, 0},
		{"content-length without a body", base("content-length", "70"), []int{400}, 0},
		{"content-length twice", base("content-length", "0", "content-length", "0"), []int{400}, 0},
		{"content-length that is none", base("content-length", "+0"), []int{400}, 0},
		{"content-length of no body", base("content-length", "0"), []int{200}, 1},
		{"content-length of a login without a body", append(with(":method", "POST"), "content-length", "70"), []int{400}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s.stands.Interwater.Reset()
			got, body := s.dialHTTP2(t).ask(t, c.fields...)
			ok := false
			for _, want := range c.want {
				ok = ok || got == want
			}
			if rooms := s.stands.Interwater.RoomCalls(); !ok || rooms != c.rooms && c.rooms >= 0 {
				t.Errorf("status %d (%s), want one of %v; %d room requests", got, body, c.want, rooms)
			}
			s.invariants(t, nil, body)
			for _, r := range s.stands.Interwater.RoomRequests() {
				if r.Header.Get("X-Forwarded-Host") != "g" {
					t.Errorf("X-Forwarded-Host: %q", r.Header["X-Forwarded-Host"])
				}
			}
		})
	}
	s.retired(t)
}

// A body that isn't as long as its content-length reaches nobody.
func TestHTTP2BodyOfAnotherLengthReachesNobody(t *testing.T) {
	t.Parallel()
	s := newTLSArena(t)
	for _, length := range []string{"1", "9"} {
		h := s.dialHTTP2(t)
		h.Write(h2Frame(1, 4, h.stream, h2Fields(":method", "POST", ":scheme", "https", ":path", "/public-api/v1/login", ":authority", "g", "content-length", length)))
		h.Write(h2Frame(0, 1, h.stream, []byte("{}")))
		if got, body := h.answer(t); got != 0 && got != 400 || len(s.stands.Glory.Requests()) > 0 {
			t.Errorf("a length of %s for 2 bytes: %d (%s), %d requests to Glory", length, got, body, len(s.stands.Glory.Requests()))
		}
	}
	s.retired(t)
}
