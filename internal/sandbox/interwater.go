package sandbox

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Interwater's documented routes. In counts, roomRoute stands for all rooms.
const (
	authRoute     = "/v1/auth" // takes keys; all others take an access token
	infoRoute     = "/v1/info"
	sessionsRoute = "/v1/sessions"
	roomRoute     = "/v1/sessions/:room_name"
)

// millis is the format of Interwater's times, which are in UTC.
const millis = "2006-01-02T15:04:05.000Z07:00"

// Interwater is the stand-in for the room API. Its methods may be called concurrently.
type Interwater struct {
	*front
	licenses  []License // never changes
	tokens    issued
	rooms     simulation
	createdAt string // of all licenses

	authCalls, roomCalls, rejected atomic.Int64
}

// NewInterwater returns an Interwater. It fails if two licenses share an access key.
func NewInterwater(o Options) (*Interwater, error) {
	now := time.Now()
	i := &Interwater{
		front:     newFront(refuseInterwater, authRoute, infoRoute, sessionsRoute, roomRoute),
		rooms:     newSimulation(now),
		createdAt: now.UTC().Format(millis),
	}
	given := o.Licenses
	if len(given) == 0 {
		given = make([]License, 1)
	}
	for n, l := range given {
		l = l.filled(n)
		// With a shared key, the order of licenses would decide whose token it gets.
		same := func(other License) bool { return other.AccessKey == l.AccessKey }
		if slices.ContainsFunc(i.licenses, same) {
			return nil, fmt.Errorf("sandbox: license %d has the same access key as another", n)
		}
		i.licenses = append(i.licenses, l)
	}
	// Only Interwater can revoke: Glory's member tokens are valid until they expire.
	mux := i.controls(func() any { return i.stats() }, i.Reset)
	mux.HandleFunc("POST "+controlPrefix+"revoke", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]int{"revoked": i.RevokeTokens()})
	})
	i.ctl = mux
	return i, nil
}

// filled returns the license with its zero fields filled in. n is its index.
func (l License) filled(n int) License {
	if l.ID == "" {
		l.ID = strconv.Itoa(n + 1)
	}
	if l.Domain == "" {
		l.Domain = "sandbox"
		if n > 0 {
			l.Domain += "-" + l.ID
		}
	}
	if l.AccessKey == "" {
		l.AccessKey = strings.ToLower(rand.Text()[:11]) // as long as in the document
	}
	if l.SecretKey == "" {
		key := make([]byte, 144) // about as long as in the document
		_, _ = rand.Read(key)    // never fails
		l.SecretKey = hex.EncodeToString(key)
	}
	if l.RoomLimit == 0 {
		l.RoomLimit = 10
	}
	return l
}

// Licenses returns all licenses, filled in.
func (i *Interwater) Licenses() []License { return slices.Clone(i.licenses) }

// AuthCalls returns how many POST /v1/auth came, whatever the answers were.
func (i *Interwater) AuthCalls() int { return int(i.authCalls.Load()) }

// RoomCalls returns how many other requests came, whatever the answers were. They include those to unknown paths, and other
// methods of /v1/auth, because none of them exchanges keys.
func (i *Interwater) RoomCalls() int { return int(i.roomCalls.Load()) }

// Calls returns how many requests a route has seen. route is a documented path, such as "/v1/sessions/:room_name", or "other".
func (i *Interwater) Calls(route string) int { return i.countOf(route) }

// RoomRequests returns the latest of the requests that RoomCalls counts, at most 256, oldest first.
func (i *Interwater) RoomRequests() []Request { return i.seen.list() }

// LastRoomRequest returns the latest of the requests that RoomCalls counts, or a zero Request.
func (i *Interwater) LastRoomRequest() Request { return i.seen.last() }

// Reset clears faults, counts and recorded requests. Access tokens stay valid.
func (i *Interwater) Reset() {
	i.resetFront()
	i.authCalls.Store(0)
	i.roomCalls.Store(0)
	i.rejected.Store(0)
}

// interwaterStats is the answer of /_sandbox/stats. Its numbers are read one after another, so under load they may be from
// slightly different moments.
type interwaterStats struct {
	AuthCalls    int64            `json:"auth_calls"`
	RoomCalls    int64            `json:"room_calls"`
	Rejected     int64            `json:"rejected"`      // room calls answered 401
	TokensIssued int              `json:"tokens_issued"` // since the start; reset doesn't clear it
	TokensLive   int              `json:"tokens_live"`   // not revoked and not expired
	Requests     map[string]int64 `json:"requests"`
}

func (i *Interwater) stats() interwaterStats {
	total, live := i.tokens.counts()
	return interwaterStats{
		AuthCalls: i.authCalls.Load(), RoomCalls: i.roomCalls.Load(), Rejected: i.rejected.Load(),
		TokensIssued: total, TokensLive: live, Requests: i.snapshot(),
	}
}

// ServeHTTP implements http.Handler.
func (i *Interwater) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if i.control(w, r) {
		return
	}
	route, room := routeOf(r.URL)
	i.counts[route].Add(1)
	if route == authRoute && r.Method == http.MethodPost {
		i.authCalls.Add(1)
	} else {
		i.roomCalls.Add(1)
		i.seen.add(r)
	}
	// Find the route only once, for the counts and for the answer.
	i.answer(w, r, func(w http.ResponseWriter, r *http.Request) { i.serve(w, r, route, room) })
}

// routeOf returns the route and, for roomRoute, the room's name. It is as tolerant as the servers that a proxy must expect: if a
// spelling hides a route from the proxy's rules, it is found here.
func routeOf(u *url.URL) (route, room string) {
	// Cut the name out before decoding: an encoded slash belongs to it.
	if raw, isRoom := strings.CutPrefix(u.EscapedPath(), sessionsRoute+"/"); isRoom && raw != "" {
		name, err := url.PathUnescape(strings.TrimSuffix(raw, "/"))
		if err != nil || strings.Contains(strings.TrimSuffix(raw, "/"), "/") {
			return otherRoute, ""
		}
		return roomRoute, name
	}
	path := strings.ToLower(strings.TrimSuffix(u.Path, "/"))
	switch path {
	case authRoute, infoRoute, sessionsRoute:
		return path, ""
	}
	return otherRoute, ""
}

// serve is the API without faults. Unknown paths are 404 for everybody. The token is checked before the method, so that a client
// without one learns only that the route exists.
func (i *Interwater) serve(w http.ResponseWriter, r *http.Request, route, room string) {
	if route == otherRoute {
		i.refuse.status(w, http.StatusNotFound)
		return
	}
	if route == authRoute {
		if i.refuse.allow(w, r, http.MethodPost) {
			i.auth(w, r)
		}
		return
	}
	license, valid := i.tokens.license(r.Header.Values(leakHeader))
	if !valid {
		i.rejected.Add(1)
		i.refuse(w, http.StatusUnauthorized, "invalid access token")
		return
	}
	if !i.refuse.allow(w, r, http.MethodGet) {
		return
	}
	switch route {
	case infoRoute:
		succeed(w, licenseView{license.Domain, license.RoomLimit, 1, i.createdAt})
	case sessionsRoute:
		succeed(w, i.rooms.listing(license, time.Now()))
	case roomRoute:
		view, open := i.rooms.room(license, room, time.Now())
		if !open {
			i.refuse(w, http.StatusNotFound, "room not found")
			return
		}
		succeed(w, view)
	}
}

// licenseView is a license as /v1/info shows it.
type licenseView struct {
	Domain    string `json:"domain"`
	RoomLimit int    `json:"roomLimit"` // also the maximum number of rooms listed
	Enabled   int    `json:"enabled"`   // 1: a number, as in the document
	CreatedAt string `json:"createdAt"` // when the sandbox started
}

// licenseOf returns the license of a key pair. It compares hashes of the secret keys in constant time, so that timing reveals
// nothing, not even their length.
func (i *Interwater) licenseOf(accessKey, secretKey string) (License, bool) {
	for _, l := range i.licenses { // a handful
		want, got := sha256.Sum256([]byte(l.SecretKey)), sha256.Sum256([]byte(secretKey))
		if l.AccessKey == accessKey && subtle.ConstantTimeCompare(want[:], got[:]) == 1 {
			return l, true
		}
	}
	return License{}, false
}

// succeed writes Interwater's envelope of success.
func succeed(w http.ResponseWriter, v any) {
	writeJSON(w, http.StatusOK, struct {
		Status bool `json:"status"`
		Data   any  `json:"data"`
	}{true, v})
}

// refuseInterwater writes Interwater's envelope of failure. The document describes only its field status.
func refuseInterwater(w http.ResponseWriter, status int, message string) {
	writeJSON(w, status, struct {
		Status  bool   `json:"status"`
		Message string `json:"message"`
	}{false, message})
}
