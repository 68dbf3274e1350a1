package main

// Several licenses behind one gateway: which member gets which license and role. The access key in Interwater's token tells.

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"roomgate/internal/sandbox"
)

// licenseSeen returns the access key and role in the token of the last room request.
func licenseSeen(t *testing.T, stands *sandbox.Sandbox) (accessKey string, owner bool) {
	t.Helper()
	return readLicense(t, stands.Interwater.LastRoomRequest().Header.Get("s-connector-jwt"))
}

func readLicense(t *testing.T, token string) (accessKey string, owner bool) {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("no access token was sent: %q", token)
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims struct {
		AccessKey string `json:"accessKey"`
		IsOwner   bool   `json:"isOwner"`
	}
	if err := json.Unmarshal(text, &claims); err != nil {
		t.Fatal(err)
	}
	return claims.AccessKey, claims.IsOwner
}

// newCompany starts a gateway with two licenses. The company's admits an e-mail domain, and one of its members, by sub, is an owner.
// The partners' admits by sub. The map has a member token for each of owner, staff, partner and stranger.
func newCompany(t *testing.T, own ...string) (*sandbox.Sandbox, *replica, map[string]string) {
	t.Helper()
	stands, err := sandbox.Start(sandbox.Options{Licenses: []sandbox.License{
		{AccessKey: "company-key", SecretKey: "company-secret"}, {AccessKey: "partner-key", SecretKey: "partner-secret"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stands.Close() })
	environ := append(settings(stands, newRedis(t).Addr), "INTERWATER_ACCESS_KEY=", "INTERWATER_SECRET_KEY=", "MEMBER_RATE_LIMIT=0",
		"INTERWATER_LICENSE_0_NAME=company", "INTERWATER_LICENSE_0_ACCESS_KEY=company-key", "INTERWATER_LICENSE_0_SECRET_KEY=company-secret",
		`INTERWATER_LICENSE_0_ALLOW=member.profile.email.endsWith("@company.example")`, `INTERWATER_LICENSE_0_OWNER=member.sub == "2"`,
		"INTERWATER_LICENSE_1_NAME=partners", "INTERWATER_LICENSE_1_ACCESS_KEY=partner-key", "INTERWATER_LICENSE_1_SECRET_KEY=partner-secret",
		`INTERWATER_LICENSE_1_ALLOW=member.sub in ["4"]`)
	r := startReplica(t, append(environ, own...))
	client, tokens := newClient(t), map[string]string{}
	// The demo member has sub 1; these get 2 to 5.
	for _, who := range [][2]string{{"owner", "company.example"}, {"staff", "company.example"}, {"partner", "partner.example"}, {"stranger", "evil-company.example.org"}} {
		body := `{"id":"` + who[0] + `","password":"abcd","name":"a","nickname":"b","email":"` + who[0] + "@" + who[1] + `"}`
		if a, err := call(t.Context(), client, http.MethodPost, r.url+"/public-api/v1/join", "", body); err != nil || a.status != 200 {
			t.Fatalf("join: %v %+v", err, a)
		}
		tokens[who[0]] = login(t, client, r.url, who[0], "abcd")
	}
	return stands, r, tokens
}

func TestEachMemberGetsTheirLicense(t *testing.T) {
	t.Parallel()
	stands, r, tokens := newCompany(t)
	client := newClient(t)
	for _, tt := range []struct {
		who, key string
		owner    bool
	}{{"owner", "company-key", true}, {"staff", "company-key", false}, {"partner", "partner-key", false}} {
		get(t, client, r.url+"/v1/info", tokens[tt.who]).want(t, 200)
		if key, owner := licenseSeen(t, stands); key != tt.key || owner != tt.owner {
			t.Errorf("%s: license %s, owner %v; want %s, %v", tt.who, key, owner, tt.key, tt.owner)
		}
	}
	before := stands.Interwater.RoomCalls()
	if a := get(t, client, r.url+"/v1/info", tokens["stranger"]).want(t, 403); a.body != `{"code":"403","message":"Not admitted"}` {
		t.Errorf("%s", a.body)
	}
	if stands.Interwater.RoomCalls() != before {
		t.Error("the stranger's request reached Interwater")
	}
	profiles := stands.Glory.Calls("/api/v1/profile")
	for range 5 {
		get(t, client, r.url+"/v1/info", tokens["staff"]).want(t, 200)
	}
	if got := stands.Glory.Calls("/api/v1/profile"); got != profiles {
		t.Errorf("%d more profile calls within MEMBER_CACHE_TTL", got-profiles)
	}
	r.stop()
	if err := r.ended(); err != nil { // after it the log is complete
		t.Error(err)
	}
	audits := r.log.events("audit")
	if len(audits) != 2 || audits[0]["event"] != "owner_use" || audits[0]["sub"] != "2" || audits[0]["license"] != "company" ||
		audits[1]["event"] != "license_refusal" || audits[1]["sub"] != "5" {
		t.Errorf("audit events: %v", audits)
	}
	if calls := stands.Interwater.AuthCalls(); calls != 3 {
		t.Errorf("%d calls of v1/auth, want one for each license and role in use", calls)
	}
}

func TestNobodyGetsAnOwnersTokenByMistake(t *testing.T) {
	t.Parallel()
	stands, r, tokens := newCompany(t)
	client := newClient(t)
	var wg sync.WaitGroup
	for i := range 150 {
		who := []string{"owner", "staff", "partner"}[i%3]
		wg.Go(func() {
			// The request id reaches Interwater, so that the test can match member and token.
			request, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, r.url+"/v1/info", nil)
			request.Header.Set("Authorization", "Bearer "+tokens[who])
			request.Header.Set("X-Request-Id", who)
			response, err := client.Do(request)
			if err != nil || response.StatusCode != 200 {
				t.Errorf("%s: %v %v", who, err, response)
				return
			}
			response.Body.Close()
		})
	}
	wg.Wait()
	seen := map[string]bool{}
	for _, request := range stands.Interwater.RoomRequests() {
		who, token := request.Header.Get("X-Request-Id"), request.Header.Get("s-connector-jwt")
		if strings.Count(token, ".") != 2 {
			t.Fatalf("%s's %s %s has the token %q", who, request.Method, request.RequestURI, token)
		}
		if _, owner := readLicense(t, token); owner != (who == "owner") {
			t.Fatalf("%s was sent with an owner's token: %v", who, owner)
		}
		seen[who] = true
	}
	if len(seen) != 3 {
		t.Errorf("only %v were seen", seen)
	}
}

func TestGloryFailingAdmitsNobody(t *testing.T) {
	t.Parallel()
	stands, r, tokens := newCompany(t, "MEMBER_CACHE_TTL=0s")
	impatient := startReplica(t, append(slices.Clone(r.environ), "GLORY_TIMEOUT=300ms"))
	client := newClient(t)
	for _, tt := range []struct {
		gate  *replica
		want  int
		fault sandbox.Fault
	}{
		{r, 502, sandbox.Fault{Path: "/api/v1/profile", Status: 500}},
		{r, 401, sandbox.Fault{Path: "/api/v1/profile", Status: 403}},
		{impatient, 504, sandbox.Fault{Path: "/api/v1/profile", Kind: sandbox.KindHang}},
	} {
		stands.Glory.SetFaults(tt.fault)
		get(t, client, tt.gate.url+"/v1/info", tokens["staff"]).want(t, tt.want)
		// The same for a member whom a later license would admit: the first license might be theirs.
		get(t, client, tt.gate.url+"/v1/info", tokens["partner"]).want(t, tt.want)
	}
	stands.Glory.SetFaults(sandbox.Fault{Path: "/api/v1/profile", Body: `{"data":{"profile":{"email":"x@company.example"}}}`})
	get(t, client, r.url+"/v1/info", tokens["stranger"]).want(t, 502)
}

func TestRedactedForMembersAndNotForOwners(t *testing.T) {
	t.Parallel()
	_, r, tokens := newCompany(t, "ROOM_REDACT_FIELDS=token,location")
	client := newClient(t)
	for who, sees := range map[string]bool{"owner": true, "staff": false} {
		a := get(t, client, r.url+"/v1/sessions", tokens[who]).want(t, 200)
		if got := strings.Contains(a.body, `"token":`) || strings.Contains(a.body, `"location":`); got != sees {
			t.Errorf("%s sees the fields: %v, want %v", who, got, sees)
		}
		if !strings.Contains(a.body, `"roomName":"주간회의"`) || !json.Valid([]byte(a.body)) {
			t.Errorf("%s: %s", who, a.body)
		}
	}
}

func TestBadRulesStopTheStartBesideAllElse(t *testing.T) {
	environ := append(settings(newStands(t), "127.0.0.1:1"), "INTERWATER_ALLOW=member.foo == '1'", "INTERWATER_OWNER=true", "MAX_BODY_BYTES=0")
	_, stderr, status := program(t, environ, "serve")
	for _, want := range []string{"MAX_BODY_BYTES: ", "\nINTERWATER_ALLOW: ERROR: <input>:1:7", "\nINTERWATER_OWNER: makes everybody"} {
		if status != 2 || !strings.Contains(stderr, want) {
			t.Errorf("%d, no %q in\n%s", status, want, stderr)
		}
	}
}
