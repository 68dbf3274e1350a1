package sandbox

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Glory's documented routes.
const (
	healthPath     = "/public-api/v1/health" // needs no token, like join and login
	joinPath       = "/public-api/v1/join"
	loginPath      = "/public-api/v1/login"
	checkLoginPath = "/api/v1/check_login" // needs a member token, like profile
	profilePath    = "/api/v1/profile"
)

// Glory's documented messages.
const (
	badParameters = "유효하지 않은 파라미터입니다."
	badLogin      = "ID/PASSWORD 정보가 일치하지 않습니다 !"
	unauthorized  = "Full authentication is required to access this resource"
	alreadyJoined = "이미 존재하는 유저입니다. memberId: " // the id follows
)

// Glory is the stand-in for the member API. Its methods may be called concurrently.
type Glory struct {
	*front
	secret  string
	ttl     time.Duration // of member tokens
	members *members
	demo    Member
}

// NewGlory returns a Glory with one member, Demo. It fails if JWTSecret is too short for HS384.
func NewGlory(o Options) (*Glory, error) {
	g := &Glory{
		front:  newFront(refuseGlory, healthPath, joinPath, loginPath, checkLoginPath, profilePath),
		secret: o.JWTSecret,
		ttl:    o.MemberTokenTTL,
		demo:   Member{ID: "demo", Password: strings.ToLower(rand.Text()[:12])},
	}
	if g.secret == "" {
		g.secret = rand.Text() + rand.Text()
	}
	if len(g.secret) < 48 {
		return nil, fmt.Errorf("sandbox: JWTSecret has %d bytes, HS384 needs 48", len(g.secret))
	}
	if g.ttl == 0 { // as on the development server; production has 60 days
		g.ttl = 2 * time.Hour
	}
	var err error
	if g.members, err = newMembers(); err != nil {
		return nil, err
	}
	// The first member has sub "1"; see the package comment.
	_, err = g.members.join(joinRequest{
		ID: g.demo.ID, Password: g.demo.Password,
		Name: "홍길동", Nickname: "길동이", Email: "demo@example.com",
	})
	if err != nil {
		return nil, fmt.Errorf("sandbox: seed the demo member: %w", err)
	}
	g.ctl = g.controls(func() any { return g.stats() }, g.Reset)
	return g, nil
}

// Secret returns the HS384 secret of member tokens.
func (g *Glory) Secret() string { return g.secret }

// Demo returns the member who has joined already.
func (g *Glory) Demo() Member { return g.demo }

// Calls returns how many requests a path has seen, whatever the answers were. "other" counts all paths that the document doesn't
// have. For any other name Calls returns 0.
func (g *Glory) Calls(path string) int { return g.countOf(path) }

// Requests returns the latest requests, at most 256, oldest first.
func (g *Glory) Requests() []Request { return g.seen.list() }

// LastRequest returns the latest request, or a zero Request.
func (g *Glory) LastRequest() Request { return g.seen.last() }

// Reset clears faults, counts and recorded requests. Members stay.
func (g *Glory) Reset() { g.resetFront() }

// gloryStats is the answer of /_sandbox/stats.
type gloryStats struct {
	Members  int              `json:"members"`  // number of members, the demo member included
	Requests map[string]int64 `json:"requests"` // by path, zeros included
}

func (g *Glory) stats() gloryStats { return gloryStats{g.members.count(), g.snapshot()} }

// ServeHTTP implements http.Handler.
func (g *Glory) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if g.control(w, r) {
		return
	}
	// Count before any fault, so that a hanging request counts too.
	n, known := g.counts[r.URL.Path]
	if !known {
		n = g.counts[otherRoute]
	}
	n.Add(1)
	g.seen.add(r)
	g.answer(w, r, g.serve)
}

// serve is the API without faults. It compares exact paths. A ServeMux would redirect unclean paths, which no upstream known to
// us does.
func (g *Glory) serve(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case healthPath:
		if g.refuse.allow(w, r, http.MethodGet) {
			writeJSON(w, http.StatusOK, success(gloryResult{}))
		}
	case joinPath:
		if g.refuse.allow(w, r, http.MethodPost) {
			g.join(w, r)
		}
	case loginPath:
		if g.refuse.allow(w, r, http.MethodPost) {
			g.login(w, r)
		}
	default:
		if strings.HasPrefix(r.URL.Path, "/api/") {
			g.serveMember(w, r)
			return
		}
		g.refuse.status(w, http.StatusNotFound)
	}
}

// serveMember serves /api/. Without a token, even unknown paths get 403.
func (g *Glory) serveMember(w http.ResponseWriter, r *http.Request) {
	sub, err := g.authenticate(r.Header)
	if err != nil {
		g.refuse(w, http.StatusForbidden, unauthorized)
		return
	}
	switch r.URL.Path {
	case checkLoginPath:
		if g.refuse.allow(w, r, http.MethodGet) {
			writeJSON(w, http.StatusOK, success(gloryResult{}))
		}
	case profilePath:
		if g.refuse.allow(w, r, http.MethodGet) {
			g.profile(w, sub)
		}
	default:
		g.refuse.status(w, http.StatusNotFound)
	}
}

// join adds a member and answers with a member token, like login.
func (g *Glory) join(w http.ResponseWriter, r *http.Request) {
	// The answer doesn't say which parameter is wrong: the document has one message for all.
	var req joinRequest
	if err := readJSON(r, &req); err != nil || !req.valid() {
		g.refuse(w, http.StatusBadRequest, badParameters)
		return
	}
	sub, err := g.members.join(req)
	switch {
	case errors.Is(err, errJoined):
		g.refuse(w, http.StatusBadRequest, alreadyJoined+req.ID)
	case err != nil:
		g.refuse.status(w, http.StatusInternalServerError)
	default:
		writeJSON(w, http.StatusOK, success(gloryResult{Token: g.MintToken(sub, g.ttl)}))
	}
}

// login answers the same, after the same time, for an unknown id and a wrong password.
func (g *Glory) login(w http.ResponseWriter, r *http.Request) {
	var req Member
	if err := readJSON(r, &req); err != nil || req.ID == "" || req.Password == "" {
		g.refuse(w, http.StatusBadRequest, badParameters)
		return
	}
	sub, matched := g.members.login(req)
	if !matched {
		g.refuse(w, http.StatusBadRequest, badLogin)
		return
	}
	writeJSON(w, http.StatusOK, success(gloryResult{Token: g.MintToken(sub, g.ttl)}))
}

// profile shows the member with that sub.
func (g *Glory) profile(w http.ResponseWriter, sub string) {
	p, known := g.members.profile(sub)
	if !known {
		// A valid token of an unknown member: tests can mint one.
		g.refuse(w, http.StatusForbidden, unauthorized)
		return
	}
	writeJSON(w, http.StatusOK, success(gloryResult{Profile: &p}))
}

// gloryAnswer is the envelope of success. Its fields depend on the route.
type gloryAnswer struct {
	Data gloryResult `json:"data"`
}

// gloryResult always has the result "ok": failures have another envelope.
type gloryResult struct {
	Result  string   `json:"result"`
	Token   string   `json:"token,omitempty"`
	Profile *profile `json:"profile,omitempty"`
}

// success fills in the result, so that no route can forget it.
func success(d gloryResult) gloryAnswer {
	d.Result = "ok"
	return gloryAnswer{d}
}

// refuseGlory writes Glory's envelope of failure, in which the status is a string.
func refuseGlory(w http.ResponseWriter, status int, message string) {
	writeJSON(w, status, struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}{strconv.Itoa(status), message})
}
