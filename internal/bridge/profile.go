package bridge

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"roomgate/internal/upstream"
)

// maxProfiles is the number of profiles that are kept on this replica, at about 500 bytes each.
const maxProfiles = 20_000

// Profile is a member's profile from Glory (glory.md, section 4). The fields have the same names in Glory's answer, in CEL and in
// Redis.
type Profile struct {
	ID       string `cel:"id" json:"id"`
	Name     string `cel:"name" json:"name"`
	Nickname string `cel:"nickname" json:"nickname"`
	Email    string `cel:"email" json:"email"`
	Point    int64  `cel:"point" json:"point"`
}

// profiles gets members' profiles from Glory, for rules that need them: once for each member token and Options.MemberCacheTTL in
// the whole fleet. It is safe for concurrent use.
type profiles struct {
	glory sender
	kept  *memory[Profile]
}

func newProfiles(o Options, c clock) *profiles {
	return &profiles{o.Glory, newMemory[Profile]("member profile", maxProfiles, o, c)}
}

// of returns the member's profile, and until when a decision by it may be remembered. The profile is kept for one member token,
// although a member may have several. So only a request with the same token gets it. The error wraps ErrMemberToken or an error of
// package upstream, or is ctx's.
func (p *profiles) of(ctx context.Context, m Member) (Profile, moment, error) {
	q := inquiry[Profile]{digest: m.token.digest, ask: func(ctx context.Context) (Profile, error) {
		return p.ask(ctx, m.token.raw.Reveal())
	}}
	if m.known != nil {
		q.expiry = time.Unix(0, m.known.expiry)
	}
	s, err := p.kept.of(ctx, q)
	return s.what, max(s.fresh, s.recheck), err
}

// ProfilesRunOut reports whether rules use profiles older than Options.MemberCacheTTL, because Glory fails: one was used in
// the last minute, and Glory hasn't answered a question for a profile since.
func (b *Bridge) ProfilesRunOut() bool { return b.profiles.kept.runsOut() }

// ask calls Glory's profile route. The error is as in inquiry.ask.
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

// readProfile reads the profile in Glory's answer. If a field is missing or has another type, the error wraps upstream.ErrFailed:
// rules must not decide by an empty field.
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
