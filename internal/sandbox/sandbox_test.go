package sandbox

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start runs a sandbox for one test, and returns it with a client that leaves no connections or goroutines behind.
func start(t *testing.T, o Options) (*Sandbox, *http.Client) {
	t.Helper()
	s, err := Start(o)
	if err != nil {
		t.Fatal(err)
	}
	tr := &http.Transport{DisableCompression: true}
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s, &http.Client{
		Transport:     tr,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// answer is a response that was read to its end.
type answer struct {
	status int
	header http.Header
	body   string
	err    error // of reading the body
}

// send sends one request. header is pairs of names and values.
func send(t *testing.T, c *http.Client, method, url, body string, header ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for n := 0; n < len(header); n += 2 {
		req.Header.Set(header[n], header[n+1])
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(got), err}
}

// wantJSON compares the status and the whole body, as JSON values.
func (a answer) wantJSON(t *testing.T, status int, body string) {
	t.Helper()
	if a.status != status || !equalJSON(t, a.body, body) {
		t.Errorf("got %d %s, want %d %s", a.status, a.body, status, body)
	}
}

func equalJSON(t *testing.T, a, b string) bool {
	t.Helper()
	var x, y bytes.Buffer
	for s, out := range map[string]*bytes.Buffer{a: &x, b: &y} {
		var v any
		if err := json.Unmarshal([]byte(s), &v); err != nil {
			t.Errorf("%q: %v", s, err)
		}
		canonical, _ := json.Marshal(v)
		out.Write(canonical)
		if a == b {
			return true
		}
	}
	return x.String() == y.String()
}

// decode reads one JSON object.
func decode(t *testing.T, raw string) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(raw), &v); err != nil {
		t.Fatalf("%q: %v", raw, err)
	}
	return v
}

// shape returns a value with every leaf replaced by its type and every list by its first element: what two answers of one route
// have in common.
func shape(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, e := range v {
			out[k] = shape(e)
		}
		return out
	case []any:
		if len(v) == 0 {
			return "empty list"
		}
		return []any{shape(v[0])}
	case string:
		return "string"
	case float64:
		return "number"
	case bool:
		return "bool"
	}
	return "null"
}

func wantShape(t *testing.T, got, sample string) {
	t.Helper()
	a, _ := json.Marshal(shape(decode(t, got)))
	b, _ := json.Marshal(shape(decode(t, sample)))
	if string(a) != string(b) {
		t.Errorf("shape\n got %s\nwant %s", a, b)
	}
}

// part decodes segment n of a JWT.
func part(t *testing.T, token string, n int) string {
	t.Helper()
	segments := strings.Split(token, ".")
	if len(segments) != 3 {
		t.Fatalf("%q is no JWT", token)
	}
	raw, err := base64.RawURLEncoding.DecodeString(segments[n])
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func names(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }

func TestStartNamesABusyAddress(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	busy := ln.Addr().String()
	for _, o := range []Options{{GloryAddr: busy}, {InterwaterAddr: busy}} {
		if _, err := Start(o); err == nil || !strings.Contains(err.Error(), busy) {
			t.Errorf("Start(%+v) = %v, want an error that names %s", o, err, busy)
		}
	}
}

func TestOptionsAreChecked(t *testing.T) {
	if _, err := Start(Options{JWTSecret: strings.Repeat("x", 47)}); err == nil {
		t.Error("a secret of 47 bytes was taken for HS384")
	}
	if _, err := NewGlory(Options{JWTSecret: strings.Repeat("x", 48)}); err != nil {
		t.Error(err)
	}
	if _, err := Start(Options{Licenses: []License{{AccessKey: "a"}, {AccessKey: "a"}}}); err == nil {
		t.Error("two licenses with one access key were taken")
	}
}

func TestZeroOptionsAreFilledIn(t *testing.T) {
	s, _ := start(t, Options{})
	if n := len(s.Glory.Secret()); n < 48 {
		t.Errorf("secret has %d characters", n)
	}
	ls := s.Interwater.Licenses()
	if len(ls) != 1 || ls[0].Domain != "sandbox" || ls[0].ID != "1" || ls[0].RoomLimit != 10 ||
		len(ls[0].AccessKey) != 11 || len(ls[0].SecretKey) != 288 {
		t.Errorf("licenses = %+v", ls)
	}
	for _, u := range []string{s.GloryURL, s.InterwaterURL} {
		if !strings.HasPrefix(u, "http://127.0.0.1:") {
			t.Errorf("URL %s is not on loopback", u)
		}
	}
}

func TestCloseTwice(t *testing.T) {
	s, _ := start(t, Options{})
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	// The cleanup makes the second call.
}

func TestManyRequestsAtOnce(t *testing.T) {
	s, c := start(t, Options{})
	token := authToken(t, s, c)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				req, _ := http.NewRequestWithContext(t.Context(), "GET", s.InterwaterURL+sessionsRoute, nil)
				req.Header.Set(leakHeader, token)
				resp, err := c.Do(req)
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				if resp.StatusCode != 200 {
					t.Errorf("status %d", resp.StatusCode)
				}
				s.Interwater.RoomRequests()
				s.Interwater.SetFaults(Fault{Path: "/v1/info", Status: 500})
				s.Interwater.Faults()
			}
		})
	}
	wg.Wait()
	if n := s.Interwater.RoomCalls(); n != 400 {
		t.Errorf("RoomCalls = %d, want 400", n)
	}
	if n := len(s.Interwater.RoomRequests()); n != recorded {
		t.Errorf("%d requests recorded, want %d", n, recorded)
	}
}
