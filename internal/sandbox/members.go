package sandbox

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"golang.org/x/crypto/bcrypt"
)

// errJoined: the id is taken.
var errJoined = errors.New("id has joined already")

// Limits of join. The document has none, but a store in memory needs some.
const (
	maxID       = 64  // bytes
	maxPassword = 72  // bytes: bcrypt takes no more
	maxField    = 255 // bytes
)

// startPoints is the value in the document's sample profile.
const startPoints = 1000

// cost is the lowest possible cost: load tests log in often, and these passwords protect nothing.
const cost = bcrypt.MinCost

// joinRequest is the body of join.
type joinRequest struct {
	ID       string `json:"id"`
	Password string `json:"password"`
	Name     string `json:"name"`
	Nickname string `json:"nickname"`
	Email    string `json:"email"`
}

// valid is our interpretation of "올바른 파라미터 형식", which the document doesn't explain.
func (q joinRequest) valid() bool {
	for _, field := range []string{q.Name, q.Nickname, q.Email} {
		if field == "" || len(field) > maxField {
			return false
		}
	}
	odd := func(c rune) bool { return unicode.IsSpace(c) || unicode.IsControl(c) }
	return q.ID != "" && len(q.ID) <= maxID && !strings.ContainsFunc(q.ID, odd) &&
		q.Password != "" && len(q.Password) <= maxPassword
}

// profile is a member as Glory shows them.
type profile struct {
	ID         string     `json:"id"`
	Name       string     `json:"name"`
	Nickname   string     `json:"nickname"`
	Email      string     `json:"email"`
	Point      int        `json:"point"`
	TodayLogin koreanTime `json:"todayLogin"` // the last login
	Datetime   koreanTime `json:"datetime"`   // when they joined
	Homepage   string     `json:"homepage"`
}

// koreanTime is a time in Glory's format, which has no time zone. It is Korean time. Korea has had no daylight saving time since
// 1988, so no time zone database is needed.
type koreanTime time.Time

// MarshalText implements encoding.TextMarshaler.
func (t koreanTime) MarshalText() ([]byte, error) {
	seoul := time.FixedZone("KST", 9*60*60)
	return time.Time(t).In(seoul).AppendFormat(nil, time.DateTime), nil
}

// members' lock guards a member. sub and hash never change, so reading them needs no lock.
type member struct {
	sub     string
	hash    []byte // of the password
	profile profile
}

// members is the set of all members. It only grows.
type members struct {
	decoy []byte // hash of a password that nobody knows

	mu    sync.RWMutex // never held while hashing
	byID  map[string]*member
	bySub map[string]*member
}

// newMembers returns an empty set.
func newMembers() (*members, error) {
	decoy, err := bcrypt.GenerateFromPassword([]byte(rand.Text()), cost)
	if err != nil {
		return nil, fmt.Errorf("sandbox: hash the decoy password: %w", err)
	}
	return &members{decoy: decoy, byID: map[string]*member{}, bySub: map[string]*member{}}, nil
}

// join adds a member and returns their sub, or errJoined.
func (m *members) join(q joinRequest) (string, error) {
	if m.find(q.ID) != nil {
		return "", errJoined
	}
	// Hashing is slow, so don't hold the lock. Meanwhile somebody else may join with the same id.
	hash, err := bcrypt.GenerateFromPassword([]byte(q.Password), cost)
	if err != nil {
		return "", fmt.Errorf("hash password: %w", err)
	}
	now := koreanTime(time.Now())
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.byID[q.ID] != nil {
		return "", errJoined
	}
	sub := strconv.Itoa(len(m.byID) + 1)
	added := &member{sub: sub, hash: hash, profile: profile{
		ID: q.ID, Name: q.Name, Nickname: q.Nickname, Email: q.Email,
		Point: startPoints, TodayLogin: now, Datetime: now,
	}}
	m.byID[q.ID], m.bySub[sub] = added, added
	return sub, nil
}

// login returns the member's sub if the password is theirs. It takes as long for an unknown id, so that timing doesn't reveal who
// has joined.
func (m *members) login(c Member) (sub string, matched bool) {
	found, hash := m.find(c.ID), m.decoy
	if found != nil {
		hash = found.hash
	}
	err := bcrypt.CompareHashAndPassword(hash, []byte(c.Password))
	// bcrypt compares only the first 72 bytes.
	if found == nil || err != nil || len(c.Password) > maxPassword {
		return "", false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	found.profile.TodayLogin = koreanTime(time.Now())
	return found.sub, true
}

// find returns nil for an unknown id.
func (m *members) find(id string) *member {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.byID[id]
}

// profile returns a copy, which later logins don't change.
func (m *members) profile(sub string) (profile, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if found := m.bySub[sub]; found != nil {
		return found.profile, true
	}
	return profile{}, false
}

// count returns the number of members, which is also the latest member's sub.
func (m *members) count() int {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return len(m.byID)
}
