package bridge

// This file is the package's face: what it needs, and the steps that a room request takes through it.

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"roomgate/internal/tokencache"
)

// CredentialHeader is the header in which Interwater wants the access token.
const CredentialHeader = "s-connector-jwt"

// Roles of an access token.
const (
	RoleMember = "member"
	RoleOwner  = "owner"
)

// License is one Interwater license.
type License struct {
	// Name is how operators call it.
	Name string
	// AccessKey and SecretKey are what v1/auth wants.
	AccessKey, SecretKey tokencache.Secret
	// TokenMinutes is the life asked for.
	TokenMinutes int
	// Allow and Owner are CEL rules: who may use the license, and who of them as an owner. "" is true and false.
	Allow, Owner string
}

// tokens is the token cache as it is needed here. *tokencache.Cache is one.
type tokens interface {
	Token(context.Context, tokencache.Key, tokencache.Fetch) (*tokencache.Token, tokencache.Layer, error)
	Reject(ctx context.Context, key tokencache.Key, t, before *tokencache.Token) error
	Forget(tokencache.Key)
}

// sender sends requests to one upstream and follows no redirect. *upstream.Upstream is one.
type sender interface {
	http.RoundTripper
	Base() *url.URL
}

// Options configures a Bridge. Fields are required unless said otherwise.
type Options struct {
	// Glory and Interwater carry the calls of the authentication endpoints.
	Glory, Interwater sender
	// GloryTimeout bounds one question to check_login or profile, with the look in the fleet's memory before it.
	GloryTimeout time.Duration
	// Local verifies in process where it has secrets; else Glory is asked.
	Local LocalVerification
	// Strangers is how many member tokens may be checked at once of which this replica knows no verdict; under 8: 8.
	Strangers int
	// MemberCacheTTL is how long an admission by Glory, or a profile, counts; 0: it is asked each time. An admission counts for
	// up to five times as long while Glory can't be asked.
	MemberCacheTTL time.Duration
	// Licenses are tried in this order; at least one.
	Licenses []License
	Tokens   tokens
	// Verdicts is the fleet's memory of Glory's admissions and of profiles, sealed with the secret key of the first license.
	Verdicts vault
	// Denied are members who are turned away whatever the rules say. Nil: none.
	Denied denier
	// Metrics takes the package's collectors. Nil: they are not registered.
	Metrics prometheus.Registerer
}

// Bridge is safe for concurrent use.
type Bridge struct {
	secrets  atomic.Pointer[secrets]
	trials   trials
	options  Options
	remote   *remote
	tokens   tokens
	profiles *profiles
	clock    clock
	denied   denier // nil: nobody
	metrics
}

// New checks o and returns a Bridge. It calls nobody.
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

// Authenticate tells who presents these Authorization headers. Without a token of the right form nobody is called. The
// error wraps ErrNoMemberToken, ErrMemberToken or an error of package upstream, or is ctx's.
func (b *Bridge) Authenticate(ctx context.Context, authorization []string) (Member, error) {
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

// recall returns the member of a token that has been verified before, where that still counts.
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

// Credential is the access token for one upstream request.
type Credential struct {
	// Source is where it came from: memory, redis or fetched.
	Source string
	value  tokencache.Secret
	token  *tokencache.Token // to report it by, with its key; nil: no Bridge has issued it
	key    tokencache.Key
}

// NewCredential wraps an access token. Reject takes only those that a Bridge has issued.
func NewCredential(source, value string) Credential {
	return Credential{Source: source, value: tokencache.NewSecret(value)}
}

// Value is what goes into CredentialHeader.
func (c Credential) Value() string { return c.value.Reveal() }

// Credential returns a valid access token for the grant, waiting for a fetch if need be, but never beyond ctx. The
// error is a *NoCredential or ctx's.
func (b *Bridge) Credential(ctx context.Context, g Grant) (Credential, error) {
	g = b.current(g)
	token, layer, err := b.tokens.Token(ctx, g.key, g.issuer.fetch)
	if err != nil {
		return Credential{}, noCredential(err)
	}
	credential := NewCredential(string(layer), token.Value())
	credential.token, credential.key = token, g.key
	return credential, nil
}

// Reject reports that Interwater turned c down. before is the credential that it turned down earlier for the same request; zero:
// there is none. The next Credential is another one, unless the error is a *NoCredential: c was fetched after before had been
// rejected, now or a while ago, and replacing it again would bring nothing.
func (b *Bridge) Reject(ctx context.Context, c, before Credential) error {
	earlier := before.token
	if !before.key.Same(c.key) { // the license's keys were replaced in between
		earlier = nil
	}
	if err := b.tokens.Reject(ctx, c.key, c.token, earlier); err != nil {
		return noCredential(err)
	}
	return nil
}
