package bridge

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"roomgate/internal/sandbox"
	"roomgate/internal/secret"
	"roomgate/internal/upstream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	// patience is how long a test waits for something that must happen. Only a failing test waits that long.
	patience  = 20 * time.Second
	secretA   = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" // 48 bytes, as HS384 wants
	secretB   = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	hs384     = `{"alg":"HS384"}`
	accessKey = "ACCESS-KEY-CANARY"
	secretKey = "SECRET-KEY-CANARY"
)

// signed makes a JWT of any header and claims by hand, because a library would refuse to forge one.
func signed(secret, header, claims string, digest ...func() hash.Hash) string {
	input := segment(header) + "." + segment(claims)
	h := sha512.New384
	if len(digest) > 0 {
		h = digest[0]
	}
	mac := hmac.New(h, []byte(secret))
	mac.Write([]byte(input))
	return input + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func hs256() hash.Hash { return sha256.New() }
func hs512() hash.Hash { return sha512.New() }

func segment(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

// claims returns valid claims. The given ones are added, or replace those of the same name.
func claims(change ...any) string {
	c := map[string]any{
		"sub": "2", "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(), "iss": "com.smarth", "loginChannel": "id_pw",
	}
	for i := 0; i < len(change); i += 2 {
		if change[i+1] == nil {
			delete(c, change[i].(string))
			continue
		}
		c[change[i].(string)] = change[i+1]
	}
	text, err := json.Marshal(c)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// good returns a token that everybody accepts.
func good(change ...any) string { return signed(secretA, hs384, claims(change...)) }

func mustParse(raw string) *url.URL {
	u, err := url.Parse(raw)
	if err != nil {
		panic(err)
	}
	return u
}

// scripted starts a server with h, in place of an upstream.
func scripted(t *testing.T, h http.HandlerFunc) *url.URL {
	t.Helper()
	server := httptest.NewUnstartedServer(h)
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	server.Start()
	t.Cleanup(server.Close)
	return mustParse(server.URL)
}

// at returns the upstream at base.
func at(t testing.TB, base *url.URL) *upstream.Upstream {
	t.Helper()
	u, err := upstream.New(upstream.Options{Name: "u", Base: base, Timeout: patience, Slots: 1000, Direct: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(u.Close)
	return u
}

// upstreams starts a sandbox of both upstreams, with the secret and the license of these tests.
func upstreams(t *testing.T) *sandbox.Sandbox {
	t.Helper()
	s, err := sandbox.Start(sandbox.Options{
		JWTSecret: secretA, Licenses: []sandbox.License{{AccessKey: accessKey, SecretKey: secretKey}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func license() License {
	return License{Name: "default", AccessKey: secret.New(accessKey), SecretKey: secret.New(secretKey), TokenMinutes: 60}
}

type kept struct {
	value []byte
	until time.Time
}

// fakeVault is a vault in this process.
type fakeVault struct {
	mu    sync.Mutex
	kept  map[string]kept
	calls []string
	seal  secret.Value // of the last Reseal
}

func (v *fakeVault) Reseal(secret secret.Value) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.seal = secret
}

func (v *fakeVault) Load(_ context.Context, name string) ([]byte, time.Duration, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.calls = append(v.calls, "load "+name)
	if left := time.Until(v.kept[name].until); left > 0 {
		return v.kept[name].value, left, true
	}
	return nil, 0, false
}

func (v *fakeVault) Save(_ context.Context, name string, value []byte, ttl time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.calls = append(v.calls, fmt.Sprintf("save %s %v %s", name, value, ttl))
	if v.kept == nil {
		v.kept = map[string]kept{}
	}
	v.kept[name] = kept{value, time.Now().Add(ttl)}
}

// asked returns the calls of Load and Save, in order.
func (v *fakeVault) asked() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return strings.Join(v.calls, "\n")
}

// roundTrip is a Glory without a network, for synctest bubbles. It returns the status for an Authorization header.
type roundTrip func(authorization string) (status int, err error)

// RoundTrip implements http.RoundTripper.
func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) {
	status, err := f(r.Header.Get("Authorization"))
	if gone := r.Context().Err(); gone != nil { // a real call would have ended by then
		return nil, gone
	}
	if err != nil {
		return nil, fmt.Errorf("glory: %w: %w", upstream.ErrFailed, err)
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(`{"data":{"result":"ok"}}`)), Request: r}, nil
}

// Base implements sender.
func (f roundTrip) Base() *url.URL {
	return &url.URL{Scheme: "http", Host: "glory.invalid", Path: "/base"}
}

// counted returns a Glory that counts calls and answers with status; 0: with an error.
func counted(calls *atomic.Int64, status *atomic.Int64) roundTrip {
	return func(string) (int, error) {
		calls.Add(1)
		if status.Load() == 0 {
			return 0, io.ErrUnexpectedEOF
		}
		return int(status.Load()), nil
	}
}

// noTokens is the token cache of a Bridge that isn't asked for access tokens.
type noTokens struct{ tokens }

// options returns the options of a Bridge that asks Glory.
func options(t testing.TB, glory *url.URL) Options {
	return Options{
		Glory: at(t, glory), Interwater: at(t, mustParse("http://interwater.invalid")), GloryTimeout: patience, MemberCacheTTL: time.Minute, Licenses: []License{license()}, Tokens: noTokens{}, Verdicts: &fakeVault{},
	}
}

func newBridge(t testing.TB, o Options) *Bridge {
	t.Helper()
	b, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// ask authenticates a raw token.
func ask(b *Bridge, raw string) (Member, error) {
	return b.Authenticate(context.Background(), []string{"Bearer " + raw})
}
