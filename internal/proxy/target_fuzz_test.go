package proxy

// Fuzzing for paths that slip through. A path that the gateway sends to a room route must be that route for every reader. The oracle
// shares no code with the gateway, and decodes as often as possible.

import (
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

// theRoutes matches the declared routes. It is written independently of the route table.
var theRoutes = regexp.MustCompile(`^/v1/(info|sessions|sessions/[^/]+)$`)

// lenientDecode undoes all percent-encoding once, as the most lenient servers do. Broken escapes stay, and overlong forms of ASCII count
// as ASCII.
func lenientDecode(s string) string {
	const digits = "0123456789abcdef"
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			high, low := strings.IndexByte(digits, s[i+1]|0x20), strings.IndexByte(digits, s[i+2]|0x20)
			if high >= 0 && low >= 0 {
				out.WriteByte(byte(high<<4 | low))
				i += 2
				continue
			}
		}
		out.WriteByte(s[i])
	}
	return strings.NewReplacer("\xc0\xae", ".", "\xc0\xaf", "/", "\xc1\x9c", `\`, "\xe0\x80\xaf", "/", "\xe0\x80\xae", ".").Replace(out.String())
}

// strays returns another path that some reader would find in raw, or "".
func strays(raw string) string {
	for seen := raw; ; {
		slashed := strings.ReplaceAll(seen, `\`, "/")
		if clean := path.Clean(slashed); clean != slashed || !theRoutes.MatchString(clean) {
			return seen
		}
		if cut := strings.IndexAny(seen, "\x00\r\n"); cut >= 0 {
			return seen[:cut]
		}
		next := lenientDecode(seen)
		if next == seen {
			return ""
		}
		seen = next
	}
}

// testTable returns a route table whose endpoints serve nothing.
func testTable(t testing.TB) (table *routeTable, glory, room *endpoint) {
	glory, room = &endpoint{upstream: upstreamGlory}, &endpoint{upstream: upstreamInterwater}
	table, err := newRouteTable([]string{"GET /v1/info", "GET /v1/sessions", "GET /v1/sessions/{room_name}"}, glory, room, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return table, glory, room
}

func FuzzNoReaderFindsAnotherPath(f *testing.F) {
	for _, tt := range uncleanPaths {
		f.Add(tt.path)
	}
	for _, name := range cleanNames {
		f.Add("/v1/sessions/" + name)
	}
	for _, raw := range []string{
		"/v1/info", "/v1/auth", "/v1/%61uth", "/V1/AUTH", "/v1/auth/", "/v1/sessions/", "/api/v1/profile", "/",
		"http://h/v1/info", "http:/v1/auth?x=://h/v1/info", "/v1/info?a=%zz", `/v1/sessions/"`, "/v1/sessions/<{|^`}>", "A://:0", `A://:""`,
	} {
		f.Add(raw)
	}
	table, glory, room := testTable(f)
	f.Fuzz(func(t *testing.T, raw string) {
		at, err := url.ParseRequestURI(raw) // net/http refuses the others before the gateway sees them
		if err != nil || strings.ContainsAny(raw, " \r\n") {
			return
		}
		c := &call{}
		next, err := table.lookup(&http.Request{Method: http.MethodGet, RequestURI: raw, URL: at}, http.MethodGet, c)
		if err != nil {
			return
		}
		sent := new(c.target.at(&url.URL{Scheme: "http", Host: "h"})).RequestURI()
		if !strings.HasSuffix(raw, sent) {
			t.Errorf("%q is sent as %q", raw, sent)
		}
		// The paths are compared decoded, because net/url encodes characters that should be encoded and aren't.
		if read, err := url.PathUnescape(c.target.path); err != nil || read != at.Path && at.Path != "" {
			t.Errorf("%q: net/http reads the path %q, the route table %q", raw, at.Path, read)
		}
		onlyPath, _, _ := strings.Cut(sent, "?")
		switch next {
		case room:
			if other := strays(onlyPath); other != "" {
				t.Errorf("%q goes to Interwater, where it could be read as %q", raw, other)
			}
		case glory:
			clean := path.Clean(lenientDecode(onlyPath))
			if !strings.HasPrefix(clean+"/", "/api/") && !strings.HasPrefix(clean+"/", "/public-api/") {
				t.Errorf("%q goes to Glory, where it could be read as %q", raw, clean)
			}
		}
	})
}

// TestTheOracleCanFail shows that the oracle of the fuzz test finds bad paths.
func TestTheOracleCanFail(t *testing.T) {
	for _, raw := range []string{
		"/v1/auth", "/v1/%61uth", "/v1/sessions/../auth", "/v1/sessions/..%2fauth", "/v1/sessions/%252e%252e%252fauth",
		`/v1/sessions/..\auth`, "/v1/sessions/..%c0%afauth", "/v1/sessions/a%00b", "/v1/sessions//x", "/v1/sessions/%2e",
	} {
		if strays(raw) == "" {
			t.Errorf("%q was not found", raw)
		}
	}
	for _, name := range cleanNames {
		if other := strays("/v1/sessions/" + name); other != "" {
			t.Errorf("%q would be read as %q", name, other)
		}
	}
}

func FuzzEveryNameThatIsAllowedPasses(f *testing.F) {
	for _, name := range []string{"주간회의", "gsda11", "a b", "100%", "a;b", "#1", "?", "...", "%2", strings.Repeat("가", 170)} {
		f.Add(name)
	}
	table, _, room := testTable(f)
	f.Fuzz(func(t *testing.T, name string) {
		forbidden := func(r rune) bool {
			return r < 0x20 || r == 0x7f || 0x80 <= r && r <= 0x9f || r == 0x2028 || r == 0x2029 || r == '/' || r == '\\'
		}
		if !utf8.ValidString(name) || strings.ContainsFunc(name, forbidden) || len(name) > 512 || name == "" ||
			name == "." || name == ".." || lenientDecode(name) != name {
			return
		}
		raw := "/v1/sessions/" + url.PathEscape(name)
		at, err := url.ParseRequestURI(raw)
		if err != nil {
			t.Fatal(err)
		}
		c := &call{}
		next, err := table.lookup(&http.Request{Method: http.MethodGet, RequestURI: raw, URL: at}, http.MethodGet, c)
		if err != nil || next != room {
			t.Fatalf("the room %q, sent as %q, does not pass: %v", name, raw, err)
		}
		if got := new(c.target.at(&url.URL{Scheme: "http", Host: "h"})).RequestURI(); got != raw {
			t.Errorf("%q is sent as %q", raw, got)
		}
	})
}
