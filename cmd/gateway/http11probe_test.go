package main

// The scored cases of Http11Probe (MDA2AV/Http11Probe), copied by hand. They need a server that echoes what it gets. Here Glory does,
// and requests for / are sent to /api/. Each case has the probe's own verdict, so that the score is known.

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// probeCase is one case. want has the statuses of the answers, in order. nil: after the client has closed its side, only 400 may come.
type probeCase struct {
	id, send string
	want     []int
	warns    string // why the probe would only warn, or fail; "" where it passes
}

// Most cases begin with one of these.
const (
	probeGet     = "GET /api/ HTTP/1.1\r\nHost: g\r\n"
	probePost    = "POST /api/ HTTP/1.1\r\nHost: g\r\n"
	probeChunked = probePost + "Transfer-Encoding: chunked\r\n\r\n"
	probeHidden  = "GET /api/ HTTP/1.1\r\nHost: g\r\n\r\n"
	probeSocket  = "Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: "
)

// oddLine returns a good request without a body, with one more header line.
func oddLine(l string) string { return probeGet + l + "\r\n\r\n" }

// requestLine returns a request with this request line.
func requestLine(l string) string { return l + "\r\nHost: g\r\n\r\n" }

// bothLengths returns a request with both lengths, as lines say, that hides another request between its two ends.
func bothLengths(lines string) string {
	return probePost + lines + "\r\n\r\n0\r\n\r\n" + probeHidden
}

// probesRefused returns the cases that the gateway answers 400 before it closes the connection.
func probesRefused() map[string]string {
	long := strings.Repeat("A", 100_000)
	cases := map[string]string{
		"RFC9112-2.2-BARE-LF-REQUEST-LINE": "GET /api/ HTTP/1.1\nHost: g\r\n\r\n", "RFC9112-2.2-BARE-LF-HEADER": "GET /api/ HTTP/1.1\r\nHost: g\nX-Test: value\r\n\r\n",
		"RFC9112-5.1-OBS-FOLD": oddLine("X-Test: value\r\n continued"), "RFC9110-5.6.2-SP-BEFORE-COLON": oddLine("X-Test : value"),
		"RFC9112-3-MULTI-SP-REQUEST-LINE": requestLine("GET  /api/ HTTP/1.1"), "RFC9112-7.1-MISSING-HOST": "GET /api/ HTTP/1.1\r\n\r\n",
		"RFC9112-5-EMPTY-HEADER-NAME": oddLine(": empty-name"), "RFC9112-3-CR-ONLY-LINE-ENDING": "GET /api/ HTTP/1.1\rHost: g\r\n\r\n",
		"RFC9112-3-MISSING-TARGET": requestLine("GET HTTP/1.1"), "RFC9112-3.2-FRAGMENT-IN-TARGET": requestLine("GET /api/path#frag HTTP/1.1"),
		"RFC9112-2.3-HTTP09-REQUEST": "GET /api/\r\n", "RFC9112-5-INVALID-HEADER-NAME": oddLine("Bad[Name: value"), "RFC9112-5-HEADER-NO-COLON": oddLine("NoColonHere"),
		"RFC9110-5.4-DUPLICATE-HOST": oddLine("Host: other.example.com"), "RFC9112-6.1-CL-NON-NUMERIC": probePost + "Content-Length: abc\r\n\r\n",
		"RFC9112-6.1-CL-PLUS-SIGN": probePost + "Content-Length: +5\r\n\r\nhello", "COMP-WHITESPACE-BEFORE-HEADERS": "GET /api/ HTTP/1.1\r\n \r\nHost: g\r\n\r\n",
		"COMP-DUPLICATE-HOST-SAME": oddLine("Host: g"), "COMP-HOST-WITH-USERINFO": "GET /api/ HTTP/1.1\r\nHost: user@g\r\n\r\n", "COMP-HOST-WITH-PATH": "GET /api/ HTTP/1.1\r\nHost: g/path\r\n\r\n",
		"COMP-ASTERISK-WITH-GET": requestLine("GET * HTTP/1.1"), "COMP-UNKNOWN-TE-501": probePost + "Transfer-Encoding: gzip\r\n\r\n",
		"COMP-HOST-EMPTY-VALUE": "GET /api/ HTTP/1.1\r\nHost: \r\n\r\n", "COMP-REQUEST-LINE-TAB": requestLine("GET\t/api/ HTTP/1.1"), "COMP-VERSION-MISSING-MINOR": requestLine("GET /api/ HTTP/1"),
		"COMP-VERSION-LEADING-ZEROS": requestLine("GET /api/ HTTP/01.01"), "COMP-VERSION-WHITESPACE": requestLine("GET /api/ HTTP/ 1.1"), "COMP-VERSION-CASE": requestLine("GET /api/ http/1.1"),
		"COMP-SPACE-IN-TARGET": requestLine("GET /api/pa th HTTP/1.1"),
		"MAL-BINARY-GARBAGE":   "\x8f\x01\x16garbage\xff\r\n\x00", "MAL-LONG-METHOD": long + " /api/ HTTP/1.1\r\nHost: g\r\n\r\n", "MAL-NUL-IN-URL": requestLine("GET /api/\x00test HTTP/1.1"),
		"MAL-CONTROL-CHARS-HEADER": oddLine("X-Test: abc\x07\x08\x0bdef"), "MAL-NON-ASCII-HEADER-NAME": oddLine("X-T\xc3\xabst: value"), "MAL-NON-ASCII-URL": requestLine("GET /api/caf\xc3\xa9 HTTP/1.1"),
		"MAL-CL-OVERFLOW": probePost + "Content-Length: 99999999999999999999\r\n\r\n", "MAL-WHITESPACE-ONLY-LINE": "   \r\n\r\n", "MAL-NUL-IN-HEADER-VALUE": oddLine("X-Test: val\x00ue"),
		"MAL-CHUNK-SIZE-OVERFLOW": probeChunked + "FFFFFFFFFFFFFFFF0\r\nhello\r\n0\r\n\r\n", "MAL-CL-EMPTY": probePost + "Content-Length: \r\n\r\n", "MAL-URL-BACKSLASH": requestLine("GET /api/path\\file HTTP/1.1"),
		"MAL-URL-OVERLONG-UTF8": requestLine("GET /api/\xc0\xaf\xc0\xaf/ HTTP/1.1"), "MAL-CHUNK-EXT-64K": probeChunked + "5;ext=" + strings.Repeat("a", 64<<10) + "\r\nhello\r\n0\r\n\r\n",
		"SMUG-DUPLICATE-CL": probePost + "Content-Length: 5\r\nContent-Length: 10\r\n\r\nhelloworld", "SMUG-TE-SP-BEFORE-COLON": probePost + "Transfer-Encoding : chunked\r\nContent-Length: 5\r\n\r\nhello",
		"SMUG-TE-NOT-FINAL-CHUNKED": probePost + "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", "SMUG-BARE-CR-HEADER-VALUE": probePost + "Content-Length: 5\r\nX-Test: val\rue\r\n\r\nhello",
		"SMUG-TE-HTTP10":           "POST /api/ HTTP/1.0\r\nHost: g\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\nhello",
		"SMUG-MULTIPLE-HOST-COMMA": "GET /api/ HTTP/1.1\r\nHost: g, other.example.com\r\n\r\n", "SMUG-CLTE-SMUGGLED-HEAD": strings.Replace(bothLengths("Content-Length: 43\r\nTransfer-Encoding: chunked"), "\r\nGET", "\r\nHEAD", 1),
		"SMUG-TECL-SMUGGLED-GET": probePost + "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n2c\r\nGET /api/ HTTP/1.1\r\nHost: g\r\nContent-Length: 7\r\n\r\n0\r\n\r\n", "SMUG-DUPLICATE-CL-SMUGGLED-GET": probePost + "Content-Length: 4\r\nContent-Length: 43\r\n\r\nPING" + probeHidden,
		"SMUG-OPTIONS-TE-OBS-FOLD": "OPTIONS /api/ HTTP/1.1\r\nHost: g\r\nTransfer-Encoding:\r\n chunked\r\nContent-Length: 5\r\n\r\nhello" + probeHidden, "SMUG-CHUNK-INVALID-SIZE-DESYNC": probeChunked + "+0\r\n\r\nX" + probeHidden,
		"NORM-SP-BEFORE-COLON-CL": probePost + "Content-Length: 11\r\nContent-Length : 5\r\n\r\nhello world", "NORM-TAB-IN-NAME": probePost + "Content-Length: 11\r\nContent\tLength: 99\r\n\r\nhello world",
		"MAL-CL-TAB-BEFORE-VALUE": probePost + "Content-Length:\t5\r\n\r\nhello",
		"NORM-UNDERSCORE-CL":      probePost + "Content-Length: 11\r\nContent_Length: 99\r\n\r\nhello world", "NORM-UNDERSCORE-TE": probePost + "Content-Length: 11\r\nTransfer_Encoding: chunked\r\n\r\nhello world",
		"SMUG-CL-LEADING-ZEROS-OCTAL": probePost + "Content-Length: 0200\r\n\r\n" + strings.Repeat("A", 200),
	}
	for id, length := range map[string]string{
		"LEADING-ZEROS": "005", "NEGATIVE": "-1", "COMMA-DIFFERENT": "5, 10", "OCTAL": "0o5", "HEX-PREFIX": "0x5", "INTERNAL-SPACE": "1 0", "UNDERSCORE": "1_0", "NEGATIVE-ZERO": "-0", "DOUBLE-ZERO": "00",
		"TRAILING-SPACE": "5 ", "EXTRA-LEADING-SP": " 5",
	} {
		cases["SMUG-CL-"+id] = probePost + "Content-Length: " + length + "\r\n\r\nhello12345"
	}
	for id, chunks := range map[string]string{
		"BARE-SEMICOLON": "5;\r\nhello\r\n", "EXT-INVALID-TOKEN": "5;bad[=x\r\nhello\r\n", "UNDERSCORE": "1_0\r\nhello world!!!!!\r\n", "HEX-PREFIX": "0x5\r\nhello\r\n", "SIZE-PLUS": "+5\r\nhello\r\n",
		"SIZE-TRAILING-OWS": "5 \r\nhello\r\n", "LEADING-SP": " 5\r\nhello\r\n", "MISSING-TRAILING-CRLF": "5\r\nhello", "EXT-LF": "5;\nhello\r\n", "SPILL": "5\r\nhello!!\r\n", "LF-TERM": "5\r\nhello\n",
		"EXT-CTRL": "5;\x00ext\r\nhello\r\n", "EXT-CR": "5;a\rX\r\nhello\r\n", "NEGATIVE": "-1\r\nhello\r\n", "BARE-CR-TERM": "5\rhello\r\n",
	} {
		cases["SMUG-CHUNK-"+id] = probeChunked + chunks + "0\r\n\r\n"
	}
	cases["SMUG-CHUNK-LF-TRAILER"] = probeChunked + "5\r\nhello\r\n0\r\n\n"
	for id, coding := range map[string]string{
		"XCHUNKED": " xchunked", "TRAILING-SPACE": " chunked ", "DOUBLE-CHUNKED": " chunked, chunked", "CASE-MISMATCH": " Chunked", "EMPTY-VALUE": " ", "LEADING-COMMA": " , chunked", "TRAILING-COMMA": " chunked,",
		"DUPLICATE-HEADERS": " chunked\r\nTransfer-Encoding: identity", "VTAB": " \x0bchunked", "FORMFEED": " \x0cchunked", "NULL": " chunked\x00", "IDENTITY": " identity", "OBS-FOLD": "\r\n chunked",
	} {
		cases["SMUG-TE-"+id] = probePost + "Transfer-Encoding:" + coding + "\r\nContent-Length: 5\r\n\r\nhello"
	}
	for id, lines := range map[string]string{
		"CL-TE-BOTH": "Content-Length: 5\r\nTransfer-Encoding: chunked", "CLTE-PIPELINE": "Content-Length: 4\r\nTransfer-Encoding: chunked", "TECL-PIPELINE": "Transfer-Encoding: chunked\r\nContent-Length: 30",
		"CLTE-CONN-CLOSE": "Content-Length: 5\r\nTransfer-Encoding: chunked", "TECL-CONN-CLOSE": "Transfer-Encoding: chunked\r\nContent-Length: 5", "CLTE-DESYNC": "Content-Length: 6\r\nTransfer-Encoding: chunked",
		"TECL-DESYNC": "Transfer-Encoding: chunked\r\nContent-Length: 30", "CLTE-SMUGGLED-GET": "Content-Length: 43\r\nTransfer-Encoding: chunked", "CLTE-SMUGGLED-GET-CL-PLUS": "Content-Length: +43\r\nTransfer-Encoding: chunked",
		"CLTE-SMUGGLED-GET-CL-NON-NUMERIC": "Content-Length: 43x\r\nTransfer-Encoding: chunked", "CLTE-SMUGGLED-GET-TE-OBS-FOLD": "Transfer-Encoding:\r\n chunked\r\nContent-Length: 43",
		"CLTE-SMUGGLED-GET-TE-TRAILING-SPACE": "Content-Length: 43\r\nTransfer-Encoding: chunked ", "CLTE-SMUGGLED-GET-TE-LEADING-COMMA": "Content-Length: 43\r\nTransfer-Encoding: , chunked",
		"CLTE-SMUGGLED-GET-TE-CASE-MISMATCH": "Content-Length: 43\r\nTransfer-Encoding: Chunked", "TE-DUPLICATE-HEADERS-SMUGGLED-GET": "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\nContent-Length: 43",
	} {
		cases["SMUG-"+id] = bothLengths(lines)
	}
	return cases
}

// probeCases returns all cases.
func probeCases() []probeCase {
	long, status := strings.Repeat("A", 100_000), func(codes ...int) []int { return codes }
	list := []probeCase{
		{"COMP-BASELINE", probeHidden, status(200), ""},
		{"COMP-POST-CL-BODY", probePost + "Content-Length: 5\r\n\r\nhello", status(200), ""}, {"COMP-POST-CL-ZERO", probePost + "Content-Length: 0\r\n\r\n", status(200), ""},
		{"COMP-POST-NO-CL-NO-TE", probePost + "\r\n", status(200), ""}, {"COMP-CHUNKED-BODY", probeChunked + "5\r\nhello\r\n0\r\n\r\n", status(200), ""},
		{"COMP-CHUNKED-MULTI", probeChunked + "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", status(200), ""}, {"COMP-CHUNKED-EMPTY", probeChunked + "0\r\n\r\n", status(200), ""},
		{"COMP-CHUNKED-TRAILER-VALID", probeChunked + "5\r\nhello\r\n0\r\nX-Checksum: abc\r\n\r\n", status(200), ""}, {"COMP-CHUNKED-HEX-UPPERCASE", probeChunked + "A\r\nhelloworld\r\n0\r\n\r\n", status(200), ""},
		{"COMP-RANGE-POST", probePost + "Content-Length: 5\r\nRange: bytes=0-10\r\n\r\nhello", status(200), ""},
		{"COMP-POST-CL-UNDERSEND", probePost + "Content-Length: 10\r\n\r\nhello", nil, ""}, {"COMP-CHUNKED-NO-FINAL", probeChunked + "5\r\nhello\r\n", nil, ""},
		{"MAL-POST-CL-HUGE-NO-BODY", probePost + "Content-Length: 999999999\r\n\r\n", status(413), "413 by MAX_BODY_BYTES"},
		{"MAL-INCOMPLETE-REQUEST", probeGet + "X-Test: value", nil, ""}, {"MAL-EMPTY-REQUEST", "", nil, ""},
		{"COMP-UPGRADE-POST", probePost + "Connection: Upgrade\r\n" + probeSocket + "13\r\n\r\n", status(200), ""}, {"COMP-UPGRADE-MISSING-CONN", oddLine(probeSocket + "13"), status(200), ""},
		{"COMP-UPGRADE-UNKNOWN", oddLine("Connection: Upgrade\r\nUpgrade: totally-made-up/1.0"), status(200), ""},
		{"COMP-UPGRADE-INVALID-VER", oddLine("Connection: Upgrade\r\n" + probeSocket + "99"), status(200), "nothing is upgraded"},
		{"COMP-UPGRADE-HTTP10", "GET /api/ HTTP/1.0\r\nHost: g\r\nConnection: Upgrade\r\n" + probeSocket + "13\r\n\r\n", status(200), ""},
		{"COMP-CONNECTION-CLOSE", oddLine("Connection: close"), status(200), ""}, {"COMP-HTTP10-DEFAULT-CLOSE", "GET /api/ HTTP/1.0\r\nHost: g\r\n\r\n", status(200), ""},
		{"COMP-NO-1XX-HTTP10", "POST /api/ HTTP/1.0\r\nHost: g\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello", status(200), ""},
		{"COMP-HEAD-NO-BODY", "HEAD /api/ HTTP/1.1\r\nHost: g\r\n\r\n", status(200), ""}, {"COMP-METHOD-CASE", requestLine("get /api/ HTTP/1.1"), status(405), ""}, {"COMP-UNKNOWN-METHOD", requestLine("FOOBAR /api/ HTTP/1.1"), status(405), ""},
		{"COMP-METHOD-CONNECT", "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n", status(405), ""}, {"COMP-405-ALLOW", requestLine("DELETE /api/ HTTP/1.1"), status(405), ""},
		{"COMP-NO-CL-IN-204", requestLine("OPTIONS /api/ HTTP/1.1"), status(204), ""}, {"COMP-OPTIONS-ALLOW", requestLine("OPTIONS /api/ HTTP/1.1"), status(204), ""},
		{"COMP-DATE-HEADER", probeHidden, status(200), ""}, {"COMP-CONTENT-TYPE", probeHidden, status(200), ""}, {"COMP-EXPECT-UNKNOWN", oddLine("Expect: 200-ok"), status(417), ""},
		{"COMP-LONG-URL-OK", requestLine("GET /api/" + strings.Repeat("a", 7900) + " HTTP/1.1"), status(200), ""},
		{"COMP-OPTIONS-STAR", requestLine("OPTIONS * HTTP/1.1"), status(404), "no Glory route"}, {"COMP-LEADING-CRLF", "\r\n\r\n" + probeHidden, status(200), "RFC 9112 §2.2 wants them ignored"},
		{"COMP-CHUNKED-EXTENSION", probeChunked + "5;ext=value\r\nhello\r\n0\r\n\r\n", status(400), "refused on purpose: no client sends any"},
		{"COMP-DUPLICATE-CT", probePost + "Content-Length: 5\r\nContent-Type: text/plain\r\nContent-Type: text/html\r\n\r\nhello", status(200), "Glory's to judge"},
		{"MAL-URL-PERCENT-NULL", requestLine("GET /api/path%00.html HTTP/1.1"), status(400), ""}, {"MAL-URL-PERCENT-CRLF", requestLine("GET /api/path%0d%0aX-Injected:%20true HTTP/1.1"), status(400), ""},
		{"RFC9112-2.3-INVALID-VERSION", requestLine("GET /api/ HTTP/9.9"), status(505), ""}, {"MAL-H2-PREFACE", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", status(505), ""},
		{"MAL-LONG-URL", requestLine("GET /api/" + long + " HTTP/1.1"), status(431), ""}, {"MAL-LONG-HEADER-VALUE", oddLine("X-Big: " + long), status(431), ""}, {"MAL-LONG-HEADER-NAME", oddLine(long + ": val"), status(431), ""},
		{"MAL-MANY-HEADERS", oddLine(strings.TrimSuffix(strings.Repeat("X-H: value\r\n", 10_000), "\r\n")), status(431), ""},
	}
	for id, send := range probesRefused() {
		list = append(list, probeCase{id, send, status(400), ""})
	}
	return list
}

// probedGlory echoes bodies of GET, HEAD and POST, answers OPTIONS, and refuses DELETE.
func probedGlory(w http.ResponseWriter, r *http.Request) {
	const allow = "GET, HEAD, POST, OPTIONS"
	w.Header().Set("Content-Type", "text/plain")
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost:
		var body bytes.Buffer
		if _, err := io.Copy(&body, r.Body); err == nil {
			_, _ = w.Write(body.Bytes())
		}
	case http.MethodOptions:
		w.Header().Set("Allow", allow)
		w.WriteHeader(http.StatusNoContent)
	case http.MethodDelete:
		w.Header().Set("Allow", allow)
		w.WriteHeader(http.StatusMethodNotAllowed)
	}
}

func TestRequestsAreTakenAndRefusedAsHttp11ProbeWants(t *testing.T) {
	t.Parallel()
	for _, lane := range []string{"FAST_LANE=true", noLane} {
		t.Run(lane, func(t *testing.T) { playProbes(t, lane) })
	}
}

func playProbes(t *testing.T, lane string) {
	glory := httptest.NewServer(http.HandlerFunc(probedGlory))
	defer glory.Close()
	s := newArena(t, "GLORY_URL="+glory.URL, lane)
	passed, all := 0, probeCases()
	for _, c := range all {
		if c.warns == "" {
			passed++
		}
		t.Run(c.id, func(t *testing.T) {
			refused := slices.Contains(c.want, 400) && !strings.HasPrefix(c.id, "MAL-URL-PERCENT")
			replies, raw, closed := s.converse(t, c.send, len(c.want), refused)
			var got []int
			for _, one := range replies {
				got = append(got, one.status)
			}
			if c.want == nil {
				got = slices.DeleteFunc(got, func(status int) bool { return status == 400 })
			}
			if !slices.Equal(got, c.want) || refused && !closed {
				t.Errorf("statuses %v, want %v; closed: %v; answer %.300q", got, c.want, closed, raw)
			}
			if len(c.want) == 1 && c.want[0] == 400 && len(replies) > 0 {
				envelope(t, s, replies)
			}
			if strings.HasSuffix(c.id, "-ALLOW") && (len(replies) != 1 || replies[0].header.Get("Allow") == "") {
				t.Error("no Allow")
			}
			s.invariants(t, replies, raw)
		})
	}
	t.Logf("%d of %d pass", passed, len(all))
	glory.CloseClientConnections()
	s.retired(t)
}
