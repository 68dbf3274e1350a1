package sandbox

// Interwater: the room API's routes.

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

// Interwater's documented routes. As keys of counts, roomRoute stands for every room.
const (
	authRoute     = "/v1/auth" // takes keys; all others take an access token
	infoRoute     = "/v1/info"
	sessionsRoute = "/v1/sessions"
	roomRoute     = "/v1/sessions/:room_name"
)

// millis is the format of Interwater's times, for times in UTC.
const millis = "2006-01-02T15:04:05.000Z07:00"

// Interwater is the stand-in of the room API. Its methods may be called concurrently.
type Interwater struct {
	*front
	licenses  []License // never changes
	tokens    issued
	rooms     simulation
	createdAt string // of all licenses

	authCalls, roomCalls, rejected atomic.Int64
}

// NewInterwater makes an Interwater. It fails when two licenses share an access key.
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
		// A key that belongs to two would make whose token it is a matter of order.
		same := func(other License) bool { return other.AccessKey == l.AccessKey }
		if slices.ContainsFunc(i.licenses, same) {
			return nil, fmt.Errorf("sandbox: license %d has the access key of another", n)
		}
		i.licenses = append(i.licenses, l)
	}
	// Only Interwater has something to revoke: member tokens live until they expire.
	mux := i.controls(func() any { return i.stats() }, i.Reset)
	mux.HandleFunc("POST "+controlPrefix+"revoke", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]int{"revoked": i.RevokeTokens()})
	})
	i.ctl = mux
	return i, nil
}

// filled is the license with its zero fields filled in; n is its place in the list.
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
		l.AccessKey = strings.ToLower(rand.Text()[:11]) // as long as the document's
	}
	if l.SecretKey == "" {
		key := make([]byte, 144) // about as long as the document's
		_, _ = rand.Read(key)    // never fails
		l.SecretKey = hex.EncodeToString(key)
	}
	if l.RoomLimit == 0 {
		l.RoomLimit = 10
	}
	return l
}

// Licenses are all licenses, filled in.
func (i *Interwater) Licenses() []License { return slices.Clone(i.licenses) }

// AuthCalls is how many POST /v1/auth were seen, whatever was answered.
func (i *Interwater) AuthCalls() int { return int(i.authCalls.Load()) }

// RoomCalls is how many requests of all other kinds were seen, whatever was answered: also those to
// unknown paths, and other methods of /v1/auth, because none of them is an exchange of keys.
func (i *Interwater) RoomCalls() int { return int(i.roomCalls.Load()) }

// Calls is how many requests a route has seen: one of the documented paths, "/v1/sessions/:room_name"
// among them, or "other".
func (i *Interwater) Calls(route string) int { return i.countOf(route) }

// RoomRequests are the latest of the requests that RoomCalls counts, at most 256, oldest first.
func (i *Interwater) RoomRequests() []Request { return i.seen.list() }

// LastRoomRequest is the latest of them, or a zero Request.
func (i *Interwater) LastRoomRequest() Request { return i.seen.last() }

// Reset clears faults, counts and recorded requests. Access tokens stay valid.
func (i *Interwater) Reset() {
	i.resetFront()
	i.authCalls.Store(0)
	i.roomCalls.Store(0)
	i.rejected.Store(0)
}

// interwaterStats is what /_sandbox/stats shows. Its numbers are read one after another, so under load
// they may be of slightly different moments.
type interwaterStats struct {
	AuthCalls    int64            `json:"auth_calls"`
	RoomCalls    int64            `json:"room_calls"`
	Rejected     int64            `json:"rejected"`      // room calls answered 401
	TokensIssued int              `json:"tokens_issued"` // since the start: reset leaves it
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
	// The route is found once, for the counts and for the answer.
	i.answer(w, r, func(w http.ResponseWriter, r *http.Request) { i.serve(w, r, route, room) })
}

// routeOf finds the route and, for roomRoute, the room's name. It is as forgiving as the servers that
// a proxy must expect behind it: what is hidden from it by a spelling must not be found here.
func routeOf(u *url.URL) (route, room string) {
	// The name is cut out before decoding: an encoded slash belongs to it.
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

// serve is the API without faults. An unknown path is 404 for everybody, and a token is asked for
// before the method: who has none learns no more than that the route is there.
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
	RoomLimit int    `json:"roomLimit"` // also the most that is listed
	Enabled   int    `json:"enabled"`   // 1, a number as in the document
	CreatedAt string `json:"createdAt"` // when the sandbox was made
}

// licenseOf finds the license of a key pair. Keys are compared in constant time, by their hashes, so
// that lengths tell nothing either.
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

// refuseInterwater writes its envelope of failure, of which the document has only the field status.
func refuseInterwater(w http.ResponseWriter, status int, message string) {
	writeJSON(w, status, struct {
		Status  bool   `json:"status"`
		Message string `json:"message"`
	}{false, message})
}
