package bridge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"roomgate/internal/tokencache"
)

// Request is the part of a request that rules can see.
type Request struct {
	Method string
	Path   string // as sent
	Room   string // percent-decoded once; "": the route has no room
}

// Grant is the license and role that a request may use. It is a value of Authorize; the zero Grant can't be used.
type Grant struct {
	// License is the license's name, Role is RoleMember or RoleOwner.
	License, Role string
	place         int                // of the license in Options.Licenses
	key           tokencache.Key     // of its access token
	issuer        *issuer            // fetches its access token
	decided       prometheus.Counter // counts requests with this grant
}

// RuleError is an invalid rule. New, Reload and CheckRules return it, joined with those of other rules.
type RuleError struct {
	// License is the index in Options.Licenses.
	License int
	// Rule is "ALLOW" or "OWNER".
	Rule string
	// Err is for the operator. It shows where in the rule a mistake is.
	Err error
}

// Error implements error.
func (e *RuleError) Error() string {
	return fmt.Sprintf("license %d: %s: %v", e.License, e.Rule, e.Err)
}

// Unwrap returns the cause.
func (e *RuleError) Unwrap() error { return e.Err }

// licensed is a license with its compiled rules and its two grants. It never changes.
type licensed struct {
	allow, owner  *rule
	member, admin Grant
}

// newLicenses compiles the rules of o.Licenses and makes their grants, in the same order. The error joins a *RuleError for each
// invalid rule, or is about a license's keys or minutes.
func newLicenses(o Options, decided *prometheus.CounterVec) ([]licensed, error) {
	all, err := compileRules(o.Licenses)
	if err != nil {
		return nil, err
	}
	for i, license := range o.Licenses {
		a := &all[i]
		if a.member, err = newGrant(license, RoleMember, o.Interwater); err != nil {
			return nil, fmt.Errorf("license %s: %w", license.Name, err)
		}
		if a.admin, err = newGrant(license, RoleOwner, o.Interwater); err != nil {
			return nil, fmt.Errorf("license %s: %w", license.Name, err)
		}
		a.member.place, a.admin.place = i, i
		a.member.decided, a.admin.decided = decided.WithLabelValues(license.Name, RoleMember), decided.WithLabelValues(license.Name, RoleOwner)
	}
	return all, nil
}

// CheckRules compiles the rules of licenses; their other fields may be empty. The error joins a *RuleError for each rule that New
// would refuse.
func CheckRules(licenses []License) error {
	_, err := compileRules(licenses)
	return err
}

// compileRules returns the licenses with their rules, but without grants. The error is as in CheckRules.
func compileRules(licenses []License) ([]licensed, error) {
	env, err := newRuleEnv()
	if err != nil {
		return nil, err
	}
	all := make([]licensed, len(licenses))
	var wrong []error
	compiled := map[string]*rule{} // thousands of licenses may share a rule
	for i, license := range licenses {
		compile := func(name, text, otherwise string) *rule {
			text = cmp.Or(text, otherwise)
			if r, ok := compiled[text]; ok {
				return r
			}
			r, err := compileRule(env, text)
			if err != nil {
				wrong = append(wrong, &RuleError{License: i, Rule: name, Err: err})
				return nil
			}
			compiled[text] = r
			return r
		}
		a := &all[i]
		a.allow, a.owner = compile("ALLOW", license.Allow, "true"), compile("OWNER", license.Owner, "false")
		if a.owner != nil && a.owner.admitsAnybody(context.Background()) {
			wrong = append(wrong, &RuleError{License: i, Rule: "OWNER", Err: errors.New("makes everybody an owner; name a condition on the member")})
		}
	}
	return all, errors.Join(wrong...)
}

// TokenLabels returns the labels of the keys of access tokens, for tokencache.Options: license and role.
func TokenLabels() []tokencache.Label {
	return []tokencache.Label{{Name: "license"}, {Name: "role", Values: RoleMember + ", " + RoleOwner}}
}

// newGrant returns the grant of a license and role. Its key has everything that changes what the access token may do: the secret key
// and the access key, Interwater's URL, the role and the minutes. So in Redis a request never finds a token with other rights.
func newGrant(l License, role string, interwater sender) (Grant, error) {
	if l.TokenMinutes <= 0 {
		return Grant{}, errors.New("TokenMinutes must be positive")
	}
	key, err := tokencache.NewKey(l.SecretKey, interwater.Base().String(), l.AccessKey.Reveal(), role, strconv.Itoa(l.TokenMinutes))
	if err != nil {
		return Grant{}, err
	}
	key.Labels, key.AskedLife = []string{l.Name, role}, time.Duration(l.TokenMinutes)*time.Minute
	return Grant{License: l.Name, Role: role, key: key, issuer: &issuer{
		interwater: interwater, license: l, owner: role == RoleOwner,
	}}, nil
}

// Authorize chooses the license and role for a request of m: the first license whose Allow is true, with the role of an owner if
// its Owner is true too. A rule that fails to evaluate is false, for instance because the member doesn't have the claim. It
// blocks only if a rule needs the member's profile, which may come from Redis or Glory: for at most GloryTimeout, and not beyond ctx.
//
// The error wraps ErrDenied if the member or the token is on the deny list, and ErrForbidden if no license admits the member. If a
// rule needs a profile and there is none, the error wraps ErrMemberToken or an error of package upstream, or is ctx's; then
// no further license is tried.
func (b *Bridge) Authorize(ctx context.Context, m Member, r Request) (Grant, error) {
	if err := b.listed(m); err != nil {
		b.decided.WithLabelValues("none", "denied").Inc()
		return Grant{}, err
	}
	now := b.secrets.Load()
	d, known := now.decided(m, b.clock)
	if !known {
		e := evaluation{bridge: b, from: m, request: &ruleRequest{Method: r.Method, Path: r.Path, Room: r.Room}, again: now.request}
		var err error
		if d, err = e.decide(ctx, now.licenses); err != nil {
			return Grant{}, err
		}
		if ctx.Err() == nil { // otherwise a rule may be false only because ctx has ended
			now.remember(m, d)
		}
	}
	if d.place < 0 {
		b.decided.WithLabelValues("none", "none").Inc()
		return Grant{}, ErrForbidden
	}
	grant := now.licenses[d.place].member
	if d.owner {
		grant = now.licenses[d.place].admin
	}
	grant.decided.Inc()
	return grant, nil
}

// evaluation evaluates the rules for one request. Claims and profile are read when the first rule needs them. It isn't safe for
// concurrent use.
type evaluation struct {
	bridge  *Bridge
	from    Member
	request *ruleRequest
	member  *ruleMember // nil until a rule is evaluated
	profile bool        // member has its profile
	again   bool        // the member's next request needs the claims again, since decisions aren't remembered
	until   moment      // the end of the profile; 0: no rule has needed one
}

// decide returns the decision of the first license that admits the member. The error is that of getting the profile.
func (e *evaluation) decide(ctx context.Context, licenses []licensed) (decision, error) {
	for i, l := range licenses {
		allowed, err := e.holds(ctx, l.allow)
		if err != nil {
			return decision{}, err
		}
		if !allowed {
			continue
		}
		owner, err := e.holds(ctx, l.owner)
		return decision{place: int32(i), owner: owner, until: e.until}, err
	}
	return decision{place: -1, until: e.until}, nil
}

// holds evaluates one rule. A rule that fails is false. The error is that of getting the profile.
func (e *evaluation) holds(ctx context.Context, r *rule) (bool, error) {
	if r.always != nil {
		return *r.always, nil
	}
	if e.member == nil {
		e.member = &ruleMember{Sub: e.from.Subject, Iss: e.from.Issuer}
	}
	if r.claims && e.member.Claims == nil {
		e.member.Claims = e.from.ruleClaims(e.again)
	}
	if r.profile && !e.profile {
		var err error
		if e.member.Profile, e.until, err = e.bridge.profiles.of(ctx, e.from); err != nil {
			return false, err
		}
		e.profile = true
	}
	holds, err := r.holds(ctx, e.member, e.request)
	return holds && err == nil, nil
}
