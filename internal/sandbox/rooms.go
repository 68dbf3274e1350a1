package sandbox

// The rooms that are open and who is in them. It is a simulation without state: everything follows
// from the start and the present second, so that nothing has to run, and views of one second agree.

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"
)

// roomPlan is when a room is open. Names are of the kinds that break careless proxies.
type roomPlan struct {
	name  string
	every time.Duration // the room opens anew each so often; 0 is open for good
	open  time.Duration // and stays open so long
	seats []seat
}

// seat is one participant, who comes each so often and stays so long. 0 is there for good.
type seat struct {
	name        string
	every, stay time.Duration
	location    string
	platform    string
}

// Platforms, the first of them the document's.
const (
	chrome = "Chrome 87.0.4280.88 on OS X 11.1.0 64-bit"
	safari = "Safari 14.0 on iOS 14.3"
	edge   = "Edge 87.0.664.66 on Windows 10 64-bit"
)

// plans are all rooms, in the order of the listing. Every room has somebody who is there for good, so
// that a room which is open is never empty; in gsda11 nobody else comes, for tests that need a room
// that never changes.
func plans() []roomPlan {
	return []roomPlan{
		{name: "주간회의", seats: []seat{
			{"김하늘", 0, 0, "Seoul, South Korea", chrome},
			{"이도윤", 90 * time.Second, 60 * time.Second, "Yangcheon-gu, South Korea", edge},
			{"박서연", 70 * time.Second, 25 * time.Second, "Busan, South Korea", safari},
		}},
		{name: "daily standup", seats: []seat{
			{"alice", 0, 0, "Seoul, South Korea", chrome},
			{"bob", 45 * time.Second, 30 * time.Second, "Incheon, South Korea", chrome},
		}},
		{name: "100% 출석", seats: []seat{
			{"최지우", 0, 0, "Daegu, South Korea", edge},
			{"정민준", 40 * time.Second, 20 * time.Second, "Daejeon, South Korea", chrome},
		}},
		{name: "gsda11", seats: []seat{
			{"gdsfagasd", 0, 0, "Yangcheon-gu, South Korea", chrome},
		}},
		{name: "R&D <a+b>", seats: []seat{
			{"O'Neil & \"Co\"", 0, 0, "Suwon, South Korea", safari},
			{"한지민", 55 * time.Second, 15 * time.Second, "Seoul, South Korea", edge},
		}},
		{name: "점심 번개", every: 5 * time.Minute, open: 3 * time.Minute, seats: []seat{
			{"강예준", 0, 0, "Seoul, South Korea", safari},
			{"윤채원", 30 * time.Second, 20 * time.Second, "Seoul, South Korea", chrome},
		}},
	}
}

// simulation is read-only, so that requests share it without a lock.
type simulation struct {
	start time.Time // when the first rooms opened
	plans []roomPlan
}

// newSimulation has been running for a while at now, so that participants have come already.
func newSimulation(now time.Time) simulation {
	return simulation{now.Add(-10 * time.Minute).UTC().Truncate(time.Second), plans()}
}

// session is an open room, as the listing shows it. Ids are numbers in strings, as in the document, and
// times are UTC with milliseconds.
type session struct {
	ID            string         `json:"id"`
	Domain        string         `json:"domain"`
	SessionID     string         `json:"sessionId"`
	RoomName      string         `json:"roomName"`
	Status        string         `json:"status"` // OPEN
	CreatedAt     string         `json:"createdAt"`
	SessionTokens []sessionToken `json:"sessionTokens"`
}

// sessionToken is one participant's connection. In the real API its Token lets anybody into the room,
// which makes it, and Location, what a proxy may want to redact.
type sessionToken struct {
	ID           string `json:"id"`
	ConnectionID string `json:"connectionId"` // another at each visit
	SessionID    string `json:"sessionId"`
	SessionName  string `json:"sessionName"` // 64 hexadecimal digits
	Token        string `json:"token"`       // the address to connect to
	UserName     string `json:"userName"`
	Role         string `json:"role"`
	Location     string `json:"location"`
	Platform     string `json:"platform"`
	Status       string `json:"status"` // active: who has left is not listed
	CreatedAt    string `json:"createdAt"`
	UpdatedAt    string `json:"updatedAt"`
}

// roomView is a room of its own. Its status is another word than the listing's, as in the document.
type roomView struct {
	Status   string `json:"status"` // ON_GOING
	User     int    `json:"user"`
	RoomName string `json:"roomName"`
}

// listing is the rooms open now, as the license sees them. It is never nil: JSON shall say [].
func (s simulation) listing(l License, now time.Time) []session {
	open := []session{}
	for n := range s.plans {
		if room, isOpen := s.at(n, l, now); isOpen && len(open) < l.RoomLimit {
			open = append(open, room)
		}
	}
	return open
}

// room is the view of one open room, made from the listing so that the two can't differ.
func (s simulation) room(l License, name string, now time.Time) (roomView, bool) {
	for _, open := range s.listing(l, now) {
		if open.RoomName == name {
			return roomView{"ON_GOING", len(open.SessionTokens), name}, true
		}
	}
	return roomView{}, false // also for a room beyond the license's limit
}

// at is the nth room as it is now, if it is open.
func (s simulation) at(n int, l License, now time.Time) (session, bool) {
	plan := s.plans[n]
	opened, round, isOpen := turn(s.start, now, plan.every, plan.open)
	if !isOpen {
		return session{}, false
	}
	// The document's sessionName looks like a hash; ours tells licenses and rooms apart.
	name := sha256.Sum256([]byte(l.Domain + "\x00" + plan.name))
	r := session{
		ID:        strconv.Itoa(938 + n + len(s.plans)*round),
		Domain:    l.Domain,
		SessionID: "ses_" + letters(10, uint64(n), uint64(round)),
		RoomName:  plan.name,
		Status:    "OPEN",
		CreatedAt: opened.Format(millis),
	}
	for m, st := range plan.seats {
		came, visit, present := turn(opened, now, st.every, st.stay)
		if !present {
			continue
		}
		// 1000 a seat and its visits: ids that are never used twice for as long as anybody looks.
		id := ((round*len(s.plans)+n)*10+m)*1000 + visit
		r.SessionTokens = append(r.SessionTokens, sessionToken{
			ID:           strconv.Itoa(1881 + id),
			ConnectionID: "con_" + letters(10, uint64(id), 1),
			SessionID:    r.SessionID,
			SessionName:  hex.EncodeToString(name[:]),
			Token: fmt.Sprintf("wss://sandbox.invalid?sessionId=%s&token=tok_%s&role=PUBLISHER&version=2.16.0",
				r.SessionID, letters(16, uint64(id), 2)),
			UserName:  st.name,
			Role:      "PUBLISHER",
			Location:  st.location,
			Platform:  st.platform,
			Status:    "active",
			CreatedAt: came.Format(millis),
			// A heartbeat each 10 s.
			UpdatedAt: came.Add(now.Sub(came).Truncate(10 * time.Second)).Format(millis),
		})
	}
	return r, true
}

// turn says, of what begins at start and again each so often and lasts so long: when the present turn
// began, the how manieth it is, and whether it is still on. An every of 0 is on for good.
func turn(start, now time.Time, every, lasts time.Duration) (began time.Time, n int, on bool) {
	if every == 0 {
		return start, 0, true
	}
	// By whole seconds: two requests within one second must see the same.
	passed := now.Sub(start).Truncate(time.Second)
	n = int(passed / every) // newSimulation lies in the past, so it is never negative
	began = start.Add(time.Duration(n) * every)
	return began, n, passed-time.Duration(n)*every < lasts
}

// letters are n random-looking ones that are always the same for a and b.
func letters(n int, a, b uint64) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	r := rand.New(rand.NewPCG(a, b))
	out := make([]byte, n)
	for i := range out {
		out[i] = alphabet[r.IntN(len(alphabet))]
	}
	return string(out)
}
