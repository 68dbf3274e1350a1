package sandbox

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"
)

// roomPlan says when a room is open. Names are of kinds that break careless proxies.
type roomPlan struct {
	name  string
	every time.Duration // how often the room opens; 0: it is always open
	open  time.Duration // how long it stays open
	seats []seat
}

// seat is one participant, who comes once per every and stays for stay. If every is 0, the participant is always there.
type seat struct {
	name        string
	every, stay time.Duration
	location    string
	platform    string
}

// Platforms. The first is the document's.
const (
	chrome = "Chrome 87.0.4280.88 on OS X 11.1.0 64-bit"
	safari = "Safari 14.0 on iOS 14.3"
	edge   = "Edge 87.0.664.66 on Windows 10 64-bit"
)

// plans returns all rooms, in the order of the listing. Every room has a participant who is always there, so an open room is
// never empty. In gsda11 there is nobody else, for tests that need a room that never changes.
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

// simulation computes the rooms from the time since start. It has no state: nothing runs, and all views of the same second agree.
// It is read-only, so requests share it without a lock.
type simulation struct {
	start time.Time // when the first rooms opened
	plans []roomPlan
}

// newSimulation returns a simulation that started before now, so that participants have come already.
func newSimulation(now time.Time) simulation {
	return simulation{now.Add(-10 * time.Minute).UTC().Truncate(time.Second), plans()}
}

// session is an open room in the listing. Ids are numbers in strings, as in the document. Times are in UTC with milliseconds.
type session struct {
	ID            string         `json:"id"`
	Domain        string         `json:"domain"`
	SessionID     string         `json:"sessionId"`
	RoomName      string         `json:"roomName"`
	Status        string         `json:"status"` // OPEN
	CreatedAt     string         `json:"createdAt"`
	SessionTokens []sessionToken `json:"sessionTokens"`
}

// sessionToken is one participant's connection. In the real API, its Token lets anybody into the room. So a proxy may want to
// redact it, and Location.
type sessionToken struct {
	ID           string `json:"id"`
	ConnectionID string `json:"connectionId"` // differs for each visit
	SessionID    string `json:"sessionId"`
	SessionName  string `json:"sessionName"` // 64 hexadecimal digits
	Token        string `json:"token"`       // the address to connect to
	UserName     string `json:"userName"`
	Role         string `json:"role"`
	Location     string `json:"location"`
	Platform     string `json:"platform"`
	Status       string `json:"status"` // active: participants who have left are not listed
	CreatedAt    string `json:"createdAt"`
	UpdatedAt    string `json:"updatedAt"`
}

// roomView is a single room. Its status has other words than in the listing, as in the document.
type roomView struct {
	Status   string `json:"status"` // ON_GOING
	User     int    `json:"user"`
	RoomName string `json:"roomName"`
}

// listing returns the open rooms that the license sees. It is never nil, so that JSON has [].
func (s simulation) listing(l License, now time.Time) []session {
	open := []session{}
	for n := range s.plans {
		if room, isOpen := s.at(n, l, now); isOpen && len(open) < l.RoomLimit {
			open = append(open, room)
		}
	}
	return open
}

// room returns one open room. It uses the listing, so that the two can't differ.
func (s simulation) room(l License, name string, now time.Time) (roomView, bool) {
	for _, open := range s.listing(l, now) {
		if open.RoomName == name {
			return roomView{"ON_GOING", len(open.SessionTokens), name}, true
		}
	}
	return roomView{}, false // also for a room beyond the license's limit
}

// at returns room n as it is now, and whether it is open.
func (s simulation) at(n int, l License, now time.Time) (session, bool) {
	plan := s.plans[n]
	opened, round, isOpen := turn(s.start, now, plan.every, plan.open)
	if !isOpen {
		return session{}, false
	}
	// The document's sessionName looks like a hash. Ours is different for each license and room.
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
		// 1000 ids per seat, for its visits: enough that no id is used twice while anybody looks.
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
			// A heartbeat every 10 s.
			UpdatedAt: came.Add(now.Sub(came).Truncate(10 * time.Second)).Format(millis),
		})
	}
	return r, true
}

// turn is for an event that begins at start, recurs every so often and lasts for a while. It returns when the current recurrence
// began, its index, and whether it is still on. If every is 0, the event is always on.
func turn(start, now time.Time, every, lasts time.Duration) (began time.Time, n int, on bool) {
	if every == 0 {
		return start, 0, true
	}
	// Count whole seconds: two requests within one second must see the same.
	passed := now.Sub(start).Truncate(time.Second)
	n = int(passed / every) // never negative, because start is in the past
	began = start.Add(time.Duration(n) * every)
	return began, n, passed-time.Duration(n)*every < lasts
}

// letters returns n random-looking letters and digits, always the same for the same a and b.
func letters(n int, a, b uint64) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	r := rand.New(rand.NewPCG(a, b))
	out := make([]byte, n)
	for i := range out {
		out[i] = alphabet[r.IntN(len(alphabet))]
	}
	return string(out)
}
