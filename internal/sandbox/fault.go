package sandbox

// Faults on demand: how they are described, in Go and in JSON, and which one a request meets.

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

// The kinds of faults. Where one alters "the answer", that is Fault's own (Status, Body, Redirect), or
// the API's normal one if Fault has none.
const (
	KindNormal     Kind = ""            // the answer, after the delay
	KindGarbage    Kind = "garbage"     // an HTML page, status 200 unless Status says otherwise
	KindEmpty      Kind = "empty"       // no body, status 200 unless Status says otherwise
	KindHang       Kind = "hang"        // nothing, until the client leaves or Close
	KindReset      Kind = "reset"       // the bytes of Body, if any, then TCP RST
	KindCut        Kind = "cut"         // the answer, but half its body; then the connection is closed
	KindHuge       Kind = "huge"        // a JSON string of Size bytes, chunked
	KindBomb       Kind = "bomb"        // a gzip body that inflates to Size bytes
	KindTrickle    Kind = "trickle"     // the answer's headers, then a byte of its body every Interval
	KindEarlyHints Kind = "early-hints" // a 103 that carries s-connector-jwt, then the answer
	KindTrailer    Kind = "trailer"     // the answer with s-connector-jwt as a trailer
	KindEcho       Kind = "echo"        // the request's headers as JSON body, and s-connector-jwt as header
	KindCookie     Kind = "cookie"      // the answer with Set-Cookie and others that a proxy must not pass on
	KindUpgrade    Kind = "upgrade"     // 101 to another protocol, then the connection is closed
	KindRaw        Kind = "raw"         // the bytes of Body instead of an HTTP answer, then closed
)

// Fault is one way in which requests are answered wrongly, late or not at all. In JSON the names are
// in snake_case, and durations are Go strings such as "250ms". The zero Fault changes nothing.
type Fault struct {
	// Path is the decoded path it applies to; one that ends in "*" is a prefix; "" is every path.
	Path string `json:"path,omitempty"`
	// Method is the method it applies to; "" is every method.
	Method string `json:"method,omitempty"`
	// Times is how many more requests it applies to, after which it is gone; 0 is until cleared.
	Times int `json:"times,omitempty"`

	Kind Kind `json:"kind,omitempty"`

	// Delay passes before anything else is done, whatever the kind.
	Delay time.Duration `json:"delay,omitempty"`
	// Status replaces the normal answer; 0 keeps it, or is 200 where the kind or Body replaces it.
	// Without Body, one from 400 on has the API's own form of error.
	Status int `json:"status,omitempty"`
	// Body replaces the normal answer's; "" keeps it.
	Body string `json:"body,omitempty"`
	// ContentType is that of Body; "" is JSON.
	ContentType string `json:"content_type,omitempty"`
	// Header is set on the answer, but gives way to what the API sets itself.
	Header map[string]string `json:"header,omitempty"`
	// RetryAfter is the answer's Retry-After in seconds; 0 sets none.
	RetryAfter int `json:"retry_after,omitempty"`
	// Redirect is the Location of a redirect in place of the normal answer, with Status or 302;
	// "" is no redirect.
	Redirect string `json:"redirect,omitempty"`
	// Size is the length of KindHuge and KindBomb in bytes; 0 is 64 MiB.
	Size int64 `json:"size,omitempty"`
	// Interval is the pause of KindTrickle before each byte; 0 is 1 second.
	Interval time.Duration `json:"interval,omitempty"`

	// Token makes POST /v1/auth issue a wrong access token; nil, a right one. Elsewhere it does nothing.
	Token *TokenFault `json:"token,omitempty"`
}

// TokenFault is what is wrong with an access token, or with the answer that brings it. The zero value
// is nothing.
type TokenFault struct {
	// TTL is the life of the token, whatever the request asks for; 0 is what it asks for. Claims count
	// whole seconds, so it is rounded away from 0, to 1 s at least; a negative one has exp before iat.
	TTL time.Duration `json:"ttl,omitempty"`
	// Skew moves the claims iat and exp, as a server does whose clock is wrong; negative is behind. The
	// token still lives as long as it should.
	Skew time.Duration `json:"skew,omitempty"`
	// Expired makes iat and exp lie in the past; the token is refused from the first.
	Expired bool `json:"expired,omitempty"`
	// NoExp and NoIat leave a claim out; the token still expires.
	NoExp bool `json:"no_exp,omitempty"`
	NoIat bool `json:"no_iat,omitempty"`
	// Raw is the JSON value in place of the accessToken, such as "", 123, null or "a b\r\n"; nil is the
	// token itself. A test may so hand out anything; none of it will be accepted.
	Raw json.RawMessage `json:"raw,omitempty"`
	// StatusFalse makes the answer {"status":false,…} with HTTP status 200 and no token.
	StatusFalse bool `json:"status_false,omitempty"`
}

// check finds what would make net/http panic, and what could never work: faults come from tests, and a
// test whose fault does not happen passes for the wrong reason.
func (f Fault) check() error {
	switch f.Kind {
	case KindNormal, KindGarbage, KindEmpty, KindHang, KindReset, KindCut, KindHuge, KindBomb, KindTrickle,
		KindEarlyHints, KindTrailer, KindEcho, KindCookie, KindUpgrade, KindRaw:
	default:
		return fmt.Errorf("unknown kind %q", f.Kind)
	}
	if f.Status != 0 && (f.Status < 200 || f.Status > 999) {
		return fmt.Errorf("status %d is not in 200…999", f.Status)
	}
	if f.Times < 0 || f.Size < 0 || f.Delay < 0 || f.Interval < 0 {
		return fmt.Errorf("times, size, delay and interval can't be negative")
	}
	if f.Token != nil && f.Token.Raw != nil && !json.Valid(f.Token.Raw) {
		return fmt.Errorf("token.raw is no JSON value")
	}
	return nil
}

// matches looks at the decoded path, so that a fault for a Korean room can be written as it reads.
func (f Fault) matches(r *http.Request) bool {
	if f.Method != "" && f.Method != r.Method {
		return false
	}
	if prefix, ok := strings.CutSuffix(f.Path, "*"); ok {
		return strings.HasPrefix(r.URL.Path, prefix)
	}
	return f.Path == "" || f.Path == r.URL.Path
}

// SetFaults replaces all faults. The first that matches a request applies to it, alone. It panics on a
// fault with an unknown Kind or an impossible value, which is a mistake in the calling test.
func (f *front) SetFaults(faults ...Fault) {
	for n, fault := range faults {
		if err := fault.check(); err != nil {
			panic(fmt.Sprintf("sandbox: fault %d: %v", n, err))
		}
	}
	f.faults.set(faults)
}

// Faults are those in force, with what is left of their Times. There is never a nil list.
func (f *front) Faults() []Fault { return f.faults.list() }

// faultList is the faults in force. What they point to is shared and never written.
type faultList struct {
	mu  sync.Mutex
	all []Fault // the list is ours to write; SetFaults copied it
}

// set replaces all; a request that has taken its fault keeps it.
func (l *faultList) set(faults []Fault) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = slices.Clone(faults)
}

// list is a copy, never nil: JSON shall say [].
func (l *faultList) list() []Fault {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]Fault{}, l.all...)
}

// take finds the fault for a request and uses up one of its Times.
func (l *faultList) take(r *http.Request) (Fault, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	// A walk under the lock: lists are short, and nothing is written to a client here.
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
