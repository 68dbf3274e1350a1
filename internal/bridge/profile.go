package bridge

// This file gets members' profiles from Glory, for rules that ask for them: once for each member and MemberCacheTTL, for
// the whole fleet.

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"roomgate/internal/upstream"

	lru "github.com/hashicorp/golang-lru/v2"
)

// maxProfiles are kept in memory; about 500 bytes each.
const maxProfiles = 20_000

// Profile is what Glory tells of a member (glory.md, section 4). The names are CEL's, JSON's and the document's.
type Profile struct {
	ID       string `cel:"id" json:"id"`
	Name     string `cel:"name" json:"name"`
	Nickname string `cel:"nickname" json:"nickname"`
	Email    string `cel:"email" json:"email"`
	Point    int64  `cel:"point" json:"point"`
}

// profiles is safe for concurrent use.
type profiles struct {
	glory   sender
	timeout time.Duration
	ttl     time.Duration // 0: none is kept
	shared  vault
	kept    *lru.Cache[[32]byte, keptProfile]
	flights flights[Profile]
}

type keptProfile struct {
	profile Profile
	until   time.Time
}

func newProfiles(o Options) (*profiles, error) {
	kept, err := lru.New[[32]byte, keptProfile](maxProfiles)
	if err != nil {
		return nil, fmt.Errorf("profiles: %w", err)
	}
	return &profiles{
		glory: o.Glory, timeout: o.GloryTimeout, ttl: o.MemberCacheTTL, shared: o.Verdicts, kept: kept,
	}, nil
}

// of returns the member's profile. It is kept by the member token, of which a member may have several: a profile never
// reaches anybody who has not presented that very token. The error wraps ErrMemberToken or an error of
// package upstream, or is ctx's.
func (p *profiles) of(ctx context.Context, m Member) (Profile, error) {
	if k, ok := p.kept.Get(m.token.digest); ok && time.Now().Before(k.until) {
		return k.profile, nil
	}
	return p.flights.join(ctx, m.token.digest, p.timeout, func(own context.Context) (Profile, error) { return p.find(own, m.token) })
}

// find looks in the fleet's memory and asks Glory.
func (p *profiles) find(ctx context.Context, t presented) (Profile, error) {
	name := "profile " + hex.EncodeToString(t.digest[:])
	if p.ttl > 0 {
		if text, left, ok := p.shared.Load(ctx, name); ok {
			var profile Profile
			if json.Unmarshal(text, &profile) == nil {
				p.kept.Add(t.digest, keptProfile{profile, time.Now().Add(min(left, p.ttl))})
				return profile, nil
			}
		}
	}
	profile, err := p.ask(ctx, t.raw.Reveal())
	if err != nil || p.ttl == 0 {
		return profile, err
	}
	p.kept.Add(t.digest, keptProfile{profile, time.Now().Add(p.ttl)})
	text, err := json.Marshal(profile)
	if err == nil {
		p.shared.Save(ctx, name, text, p.ttl)
	}
	return profile, nil
}

// ask makes the call.
func (p *profiles) ask(ctx context.Context, raw string) (Profile, error) {
	answer, denied, err := askGlory(ctx, p.glory, "profile", raw)
	if err != nil {
		return Profile{}, err
	}
	if denied {
		return Profile{}, fmt.Errorf("%w: profile denied by Glory", ErrMemberToken)
	}
	return readProfile(answer)
}

// readProfile takes the profile out of Glory's answer. A field that is missing or of another type makes it unusable: a
// rule would decide on what isn't there.
func readProfile(text []byte) (Profile, error) {
	object, err := StrictObject(text)
	if err != nil {
		return Profile{}, fmt.Errorf("profile: %w: %w", upstream.ErrFailed, err)
	}
	data, _ := object["data"].(map[string]any)
	fields, ok := data["profile"].(map[string]any)
	if !ok {
		return Profile{}, fmt.Errorf("profile: %w: no profile in the answer", upstream.ErrFailed)
	}
	var p Profile
	for name, field := range map[string]*string{"id": &p.ID, "name": &p.Name, "nickname": &p.Nickname, "email": &p.Email} {
		if *field, ok = fields[name].(string); !ok {
			return Profile{}, fmt.Errorf("profile: %w: field %s", upstream.ErrFailed, name)
		}
	}
	number, _ := fields["point"].(json.Number)
	if p.Point, err = number.Int64(); err != nil {
		return Profile{}, fmt.Errorf("profile: %w: field point", upstream.ErrFailed)
	}
	return p, nil
}
