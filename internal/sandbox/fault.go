package sandbox

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Kind is a way to misbehave.
type Kind string

// The kinds of faults. "The answer" is the Fault's own (Status, Body, Redirect), or the API's normal answer if the Fault has
// none.
const (
	KindNormal     Kind = ""            // the answer, after the delay
	KindGarbage    Kind = "garbage"     // an HTML page; status 200 unless Status is set
	KindEmpty      Kind = "empty"       // no body; status 200 unless Status is set
	KindHang       Kind = "hang"        // nothing until the client leaves or Close is called
	KindReset      Kind = "reset"       // the bytes of Body, then TCP RST
	KindCut        Kind = "cut"         // the answer with half its body, then the connection is closed
	KindHuge       Kind = "huge"        // a JSON string of Size bytes, chunked
	KindBomb       Kind = "bomb"        // a gzip body that inflates to Size bytes
	KindTrickle    Kind = "trickle"     // the answer's headers, then a byte of its body every Interval
	KindEarlyHints Kind = "early-hints" // a 103 that carries s-connector-jwt, then the answer
	KindTrailer    Kind = "trailer"     // the answer with s-connector-jwt as a trailer
	KindEcho       Kind = "echo"        // the request's headers as JSON body, and s-connector-jwt as header
	KindCookie     Kind = "cookie"      // the answer with Set-Cookie and other headers that a proxy must not pass on
	KindUpgrade    Kind = "upgrade"     // 101 to h2c, then the connection is closed
	KindRaw        Kind = "raw"         // the bytes of Body instead of an HTTP answer, then the connection is closed
)

// Fault describes how requests are answered wrongly, late or not at all. In JSON, names are in snake_case and durations are Go
// strings such as "250ms". The zero Fault changes nothing.
type Fault struct {
	// Path is the decoded path that the fault applies to. "*" at its end makes it a prefix. "" means every path.
	Path string `json:"path,omitempty"`
	// Method is the method that the fault applies to. "" means every method.
	Method string `json:"method,omitempty"`
	// Times is how many more requests the fault applies to; then it is removed. 0: until cleared.
	Times int `json:"times,omitempty"`

	Kind Kind `json:"kind,omitempty"`

	// Delay is how long to wait before anything else, whatever the kind.
	Delay time.Duration `json:"delay,omitempty"`
	// Status replaces the normal answer. 0 keeps it, or means 200 if the kind or Body replaces it. A status of 400 or more
	// without Body has the API's own form of error.
	Status int `json:"status,omitempty"`
	// Body replaces the normal body; "" keeps it.
	Body string `json:"body,omitempty"`
	// ContentType is the type of Body; "": JSON.
	ContentType string `json:"content_type,omitempty"`
	// Header is set on the answer. Headers that the API sets itself take precedence.
	Header map[string]string `json:"header,omitempty"`
	// RetryAfter is the answer's Retry-After in seconds; 0: none.
	RetryAfter int `json:"retry_after,omitempty"`
	// Redirect makes the answer a redirect to this Location, with Status or 302; "": no redirect.
	Redirect string `json:"redirect,omitempty"`
	// Size is the length of KindHuge and KindBomb in bytes; 0: 64 MiB.
	Size int64 `json:"size,omitempty"`
	// Interval is the pause of KindTrickle before each byte; 0: 1 second.
	Interval time.Duration `json:"interval,omitempty"`

	// Token makes POST /v1/auth issue a wrong access token; nil: a correct one. It doesn't affect other routes.
	Token *TokenFault `json:"token,omitempty"`
}

// TokenFault describes what is wrong with an access token, or with the answer that contains it. The zero value changes nothing.
type TokenFault struct {
	// TTL is the token's lifetime, whatever the request asks for; 0: what it asks for. Claims count whole seconds, so TTL is
	// rounded away from 0, to at least 1 s. A negative TTL has exp before iat.
	TTL time.Duration `json:"ttl,omitempty"`
	// Skew moves the claims iat and exp, like a server with a wrong clock; negative: the clock is slow. The token's real lifetime
	// doesn't change.
	Skew time.Duration `json:"skew,omitempty"`
	// Expired makes iat and exp lie in the past. The token is never accepted.
	Expired bool `json:"expired,omitempty"`
	// NoExp and NoIat leave a claim out. The token still expires.
	NoExp bool `json:"no_exp,omitempty"`
	NoIat bool `json:"no_iat,omitempty"`
	// Raw replaces the accessToken with any JSON value, such as "", 123, null or "a b\r\n"; nil: the token itself. No such value
	// is accepted as a token.
	Raw json.RawMessage `json:"raw,omitempty"`
	// StatusFalse makes the answer {"status":false,…} with HTTP status 200 and no token.
	StatusFalse bool `json:"status_false,omitempty"`
}

// check refuses faults that would make net/http panic or could never work. A test whose fault doesn't happen would pass for the
// wrong reason.
func (f Fault) check() error {
	switch f.Kind {
	case KindNormal, KindGarbage, KindEmpty, KindHang, KindReset, KindCut, KindHuge, KindBomb, KindTrickle,
		KindEarlyHints, KindTrailer, KindEcho, KindCookie, KindUpgrade, KindRaw:
	default:
		return fmt.Errorf("unknown kind %q", f.Kind)
	}
	if f.Status != 0 && (f.Status < 200 || f.Status > 999) {
		return fmt.Errorf("status %d is outside of 200 to 999", f.Status)
	}
	if f.Times < 0 || f.Size < 0 || f.Delay < 0 || f.Interval < 0 {
		return fmt.Errorf("times, size, delay and interval can't be negative")
	}
	if f.Token != nil && f.Token.Raw != nil && !json.Valid(f.Token.Raw) {
		return fmt.Errorf("token.raw is not a JSON value")
	}
	return nil
}

// matches compares the decoded path, so that a fault for a Korean room can be written in plain Korean.
func (f Fault) matches(r *http.Request) bool {
	if f.Method != "" && f.Method != r.Method {
		return false
	}
	if prefix, ok := strings.CutSuffix(f.Path, "*"); ok {
		return strings.HasPrefix(r.URL.Path, prefix)
	}
	return f.Path == "" || f.Path == r.URL.Path
}

// SetFaults replaces all faults. Only the first that matches a request applies to it. SetFaults panics on an unknown Kind or an
// impossible value, which are mistakes in the calling test.
func (f *front) SetFaults(faults ...Fault) {
	for n, fault := range faults {
		if err := fault.check(); err != nil {
			panic(fmt.Sprintf("sandbox: fault %d: %v", n, err))
		}
	}
	f.faults.set(faults)
}

// Faults returns the faults in force, with the rest of their Times. It is never nil.
func (f *front) Faults() []Fault { return f.faults.list() }

// faultList holds the faults in force. What they point to is shared and never changed.
type faultList struct {
	mu  sync.Mutex
	all []Fault // set has copied it, so it may be changed
}

// set replaces all faults. A request that has taken its fault keeps it.
func (l *faultList) set(faults []Fault) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = slices.Clone(faults)
}

// list returns a copy. It is never nil, so that JSON has [].
func (l *faultList) list() []Fault {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]Fault{}, l.all...)
}

// take returns the fault for a request, and uses up one of its Times.
func (l *faultList) take(r *http.Request) (Fault, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	// Searching under the lock is fine: lists are short, and nothing is sent to a client here.
	n := slices.IndexFunc(l.all, func(f Fault) bool { return f.matches(r) })
	if n < 0 {
		return Fault{}, false
	}
	fault := l.all[n]
	switch {
	case fault.Times == 1:
		l.all = slices.Delete(l.all, n, n+1)
	case fault.Times > 1:
		l.all[n].Times--
	}
	return fault, true
}
