package bridge

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"roomgate/internal/secret"
	"roomgate/internal/tokencache"
)

// CredentialHeader is the header in which Interwater expects the access token (interwater.md).
const CredentialHeader = "s-connector-jwt"

// The roles of an access token. Interwater makes an owner the administrator of the rooms that they create.
const (
	RoleMember = "member"
	RoleOwner  = "owner"
)

// License is one Interwater license.
type License struct {
	// Name is for operators, in metrics and logs.
	Name string
	// AccessKey and SecretKey are sent to v1/auth. SecretKey must not be empty.
	AccessKey, SecretKey secret.Value
	// TokenMinutes is the lifetime that v1/auth is asked for; over 0.
	TokenMinutes int
	// Allow and Owner are rules in CEL. Allow says which requests may use the license; "" is true. Owner says which of those get
	// the role of an owner; "" is false.
	Allow, Owner string
}

// tokens is what a Bridge needs of the token cache. *tokencache.Cache implements it, and documents the methods.
type tokens interface {
	Token(context.Context, tokencache.Key, tokencache.Fetch) (*tokencache.Token, tokencache.Layer, error)
	Reject(ctx context.Context, key tokencache.Key, t, before *tokencache.Token) error
	Forget(tokencache.Key)
}

// sender sends requests to one upstream, and follows no redirect. *upstream.Upstream implements it. Its errors are those of package
// upstream, or the context's.
type sender interface {
	http.RoundTripper
	// Base is the upstream's URL. It must not be changed.
	Base() *url.URL
}

// Options configures a Bridge. Fields are required unless said otherwise.
type Options struct {
	// Glory and Interwater send the calls of the authentication endpoints.
	Glory, Interwater sender
	// GloryTimeout bounds one call of check_login or profile, together with the look in Redis before it.
	GloryTimeout time.Duration
	// Local verifies member tokens in process. Without secrets, Glory is asked instead (remote mode).
	Local LocalVerification
	// Strangers is the number of member tokens without a verdict in memory that may be checked at once in remote mode. Less than
	// 8 counts as 8.
	Strangers int
	// MemberCacheTTL is for how long an admission by Glory, or a profile, is used. 0: Glory is asked each time. While Glory fails,
	// both are used for up to five times as long.
	MemberCacheTTL time.Duration
	// Licenses are tried in this order. There must be at least one.
	Licenses []License
	// Tokens is the cache of access tokens. The Bridge doesn't close it.
	Tokens tokens
	// Verdicts keeps Glory's admissions and profiles for the fleet. The caller seals it with the secret key of the first license;
	// Reload goes on with the new one.
	Verdicts vault
	// Denied is the deny list, which counts before all rules. Nil: nobody is denied.
	Denied denier
	// Metrics is where the package's collectors are registered. Nil: they aren't.
	Metrics prometheus.Registerer
}

// Bridge knows the licenses, and how members are verified. Create it with New. It is safe for concurrent use, except Reload.
type Bridge struct {
	// secrets is everything that Reload replaces. Each step of a request loads it once.
	secrets  atomic.Pointer[secrets]
	trials   trials
	options  Options
	remote   *remote // nil in local mode
	tokens   tokens
	profiles *profiles
	clock    clock
	denied   denier // nil: nobody
	metrics
}

// New checks o and returns a Bridge. It makes no calls. For rules that are invalid, the error joins a *RuleError for each.
func New(o Options) (*Bridge, error) {
	if o.Glory == nil || o.Interwater == nil || o.Tokens == nil || o.Verdicts == nil {
		return nil, errors.New("bridge: Glory, Interwater, Tokens and Verdicts are required")
	}
	if len(o.Licenses) == 0 {
		return nil, errors.New("bridge: at least one license is required")
	}
	b := &Bridge{options: o, tokens: o.Tokens, denied: o.Denied, clock: newClock(), metrics: newMetrics()}
	var local *local
	if len(o.Local.Secrets) > 0 {
		local = newLocal(o.Local)
	} else {
		b.remote = newRemote(o, b.clock)
	}
	b.profiles = newProfiles(o, b.clock)
	all, err := newLicenses(o, b.decided)
	if err != nil {
		return nil, err
	}
	b.secrets.Store(newSecrets(local, all))
	if o.Metrics != nil {
		if err := b.register(o.Metrics); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return b, nil
}

// Authenticate returns the member who presents these values of the Authorization header. It blocks only in remote mode, while it
// asks Redis and Glory: for at most GloryTimeout, and not beyond ctx. It asks nobody if the token isn't a JWT by its form or
// has expired.
//
// The error wraps ErrNoMemberToken, ErrMemberToken or an error of package upstream, or is ctx's. It is ErrLoggedOut if the token was
// logged out.
func (b *Bridge) Authenticate(ctx context.Context, authorization []string) (Member, error) {
	member, err := b.Verify(ctx, authorization)
	if err != nil {
		return Member{}, err
	}
	if err := b.listed(member); errors.Is(err, ErrLoggedOut) { // ErrDenied is for Authorize
		return Member{}, err
	}
	return member, nil
}

// Verify is Authenticate without the check for logouts: a token that was logged out is valid here.
func (b *Bridge) Verify(ctx context.Context, authorization []string) (Member, error) {
	raw, err := bearer(authorization)
	if err != nil {
		return Member{}, err
	}
	local := b.secrets.Load().local
	if member, ok := b.recall(local, raw); ok {
		return member, nil
	}
	token, err := parseMemberToken(raw)
	if err != nil {
		return Member{}, err
	}
	var member Member
	mode := "local"
	if local != nil {
		member, err = local.verify(token)
	} else {
		mode = "remote"
		member, err = b.remote.verify(ctx, token)
	}
	b.verified.WithLabelValues(mode, outcome(err)).Inc()
	return member, err
}

// recall returns the member of a token that was verified before, if that verdict is still valid. It asks nobody.
func (b *Bridge) recall(local *local, raw string) (Member, bool) {
	if local != nil {
		member, ok := local.recall(raw)
		if ok {
			b.admittedLocally.Inc()
		}
		return member, ok
	}
	member, ok := b.remote.recall(raw)
	if ok {
		b.admittedByGlory.Inc()
	}
	return member, ok
}

// Credential is the access token for one upstream request. Printing it doesn't show the token.
type Credential struct {
	// Source is where the token came from: memory, redis or fetched.
	Source string
	token  *tokencache.Token // for Reject; nil: the credential is from NewCredential
	key    tokencache.Key    // of token
	value  secret.Value      // if token is nil
}

// NewCredential wraps an access token that no Bridge has issued. It must not be passed to Reject.
func NewCredential(source, value string) Credential {
	return Credential{Source: source, value: secret.New(value)}
}

// Value returns the access token itself, for CredentialHeader.
func (c Credential) Value() string {
	if c.token != nil {
		return c.token.Value()
	}
	return c.value.Reveal()
}

// Credential returns a valid access token for the grant. If none is in memory it waits for Redis or a fetch, but not beyond ctx. If
// the license's keys have been replaced since Authorize, the token is one of the new keys. The error is a *NoCredential or
// ctx's.
func (b *Bridge) Credential(ctx context.Context, g Grant) (Credential, error) {
	g = b.current(g)
	token, layer, err := b.tokens.Token(ctx, g.key, g.issuer.fetch)
	if err != nil {
		return Credential{}, noCredential(err)
	}
	return Credential{Source: string(layer), token: token, key: g.key}, nil
}

// Reject reports that Interwater has rejected c. before is the credential that was rejected earlier for the same request; the zero
// value: there was none. It waits for Redis for at most one timeout.
//
// Without an error, the next call of Credential returns another token. The error is a *NoCredential if another token wouldn't
// help, because c is itself a replacement: see tokencache.Cache.Reject.
func (b *Bridge) Reject(ctx context.Context, c, before Credential) error {
	earlier := before.token
	if !before.key.Same(c.key) { // the license's keys were replaced between the two
		earlier = nil
	}
	if err := b.tokens.Reject(ctx, c.key, c.token, earlier); err != nil {
		return noCredential(err)
	}
	return nil
}
