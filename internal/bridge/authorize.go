package bridge

// This file chooses the license and role for a request: the first license whose ALLOW holds, as owner where its OWNER
// holds too.

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

// Request is what rules may ask of a request.
type Request struct {
	Method string
	Path   string // as sent
	Room   string // decoded once; "" where the route has none
}

// Grant is the license and role that a request may use.
type Grant struct {
	License, Role string
	place         int // of the license
	key           tokencache.Key
	issuer        *issuer
	decided       prometheus.Counter // of those that it is given to
}

// RuleError is a rule that stops the start.
type RuleError struct {
	License int    // its place in Options.Licenses
	Rule    string // ALLOW or OWNER
	Err     error  // for the operator; of a syntax or type error it shows the column
}

// Error implements error.
func (e *RuleError) Error() string {
	return fmt.Sprintf("license %d: %s: %v", e.License, e.Rule, e.Err)
}

// Unwrap gives the cause.
func (e *RuleError) Unwrap() error { return e.Err }

// licensed is one license with its compiled rules.
type licensed struct {
	allow, owner  *rule
	member, admin Grant
}

// newLicenses compiles all rules. The error joins a *RuleError for each bad one.
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

// CheckRules compiles the rules of licenses and looks at nothing else of them. The error joins a *RuleError for each rule
// that New would refuse.
func CheckRules(licenses []License) error {
	_, err := compileRules(licenses)
	return err
}

// compileRules returns the licenses with their rules alone.
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

// TokenLabels are the labels of every access token's key: its license and role, in this order.
func TokenLabels() []tokencache.Label {
	return []tokencache.Label{{Name: "license"}, {Name: "role", Values: RoleMember + ", " + RoleOwner}}
}

// newGrant puts everything that changes the token's authority into its key: in Redis no other may meet it.
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

// Authorize chooses the license and role. A rule that can't be evaluated doesn't hold, for instance because the member has
// no such claim. The error wraps ErrForbidden where no license admits the member, and ErrMemberToken or an error of package
// upstream where a rule needs a profile that Glory doesn't give; then nobody is admitted by a later license either.
func (b *Bridge) Authorize(ctx context.Context, m Member, r Request) (Grant, error) {
	if b.isDenied(m) {
		b.decided.WithLabelValues("none", "denied").Inc()
		return Grant{}, ErrDenied
	}
	now := b.secrets.Load()
	d, known := now.decided(m, b.clock)
	if !known {
		e := evaluation{bridge: b, from: m, request: &ruleRequest{Method: r.Method, Path: r.Path, Room: r.Room}, again: now.request}
		var err error
		if d, err = e.decide(ctx, now.licenses); err != nil {
			return Grant{}, err
		}
		if ctx.Err() == nil { // else a rule may have been broken off
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

// evaluation is the rules' view of one request, made as far as they ask for it.
type evaluation struct {
	bridge  *Bridge
	from    Member
	request *ruleRequest
	member  *ruleMember // nil until a rule needs it
	profile bool        // it has been got
	again   bool        // the member's next request will be judged anew
	until   moment      // the profile's end; 0: it hasn't been got
}

// decide goes through the licenses in their order. The error is only what keeps the profile away.
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

// holds evaluates one rule. The error is only what keeps the profile away.
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
