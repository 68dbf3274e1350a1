package sandbox

// The Interwater stand-in is compared with its document here.

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// The document's samples.
const (
	docAccessToken = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpZCI6IjMiLCJkb21haW4iOiJodHRwczovL3JlYWRtZS5pbnRlcndhdGVyLmJpeiIsImFjY2Vzc0tleSI6ImZveml6Mm1keXdtIiwiaWF0IjoxNjEwMjU5NDUzLCJleHAiOjE2MTAyNjMwNTN9.bI3YamUjo3MZ_443Hj31nwOEkD_f16XLAuIVCtXlyzY"
	docInfo        = `{"status":true,"data":{"domain":"trial","roomLimit":10,"enabled":1,"createdAt":"2020-12-22T15:00:00.000Z"}}`
	docSessions    = `{"status":true,"data":[{"id":"938","domain":"trial","sessionId":"ses_ZB2Y3XJTyU","roomName":"gsda11","status":"OPEN","createdAt":"2021-01-06T16:04:09.000Z","sessionTokens":[{"id":"1881","connectionId":"con_Gxn95TnZBN","sessionId":"ses_ZB2Y3XJTyU","sessionName":"f61518bc6f7c54738752bb41eb8d513dd93fd5b1e9dcb4dbb1742c6e04e5df26","token":"wss://remote.interwater.biz?sessionId=ses_ZB2Y3XJTyU&token=tok_IxZzOIomwGzJxDHO&role=PUBLISHER&versi","userName":"gdsfagasd","role":"PUBLISHER","location":"Yangcheon-gu, South Korea","platform":"Chrome 87.0.4280.88 on OS X 11.1.0 64-bit","status":"active","createdAt":"2021-01-06T16:04:09.000Z","updatedAt":"2021-01-06T16:04:53.000Z"}]}]}`
	docRoom        = `{"status":true,"data":{"status":"ON_GOING","user":2,"roomName":"gsdagd"}}`
)

// authBody returns the body of /v1/auth for a license. more has further JSON members.
func authBody(l License, more string) string {
	return fmt.Sprintf(`{"accessKey":%q,"secretKey":%q%s}`, l.AccessKey, l.SecretKey, more)
}

func accessToken(t *testing.T, a answer) string {
	t.Helper()
	if a.status != http.StatusOK {
		t.Fatalf("got %d %s", a.status, a.body)
	}
	var v struct{ Data struct{ AccessToken string } }
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		t.Fatal(err)
	}
	return v.Data.AccessToken
}

func authToken(t *testing.T, s *Sandbox, c *http.Client) string {
	t.Helper()
	return accessToken(t, send(t, c, "POST", s.InterwaterURL+authRoute, authBody(s.Interwater.Licenses()[0], "")))
}

func TestAccessTokenIsTheDocuments(t *testing.T) {
	l := License{ID: "3", Domain: "https://readme.interwater.biz", AccessKey: "foziz2mdywm"}
	s, c := start(t, Options{Licenses: []License{l}})
	l = s.Interwater.Licenses()[0]
	a := send(t, c, "POST", s.InterwaterURL+authRoute, authBody(l, `,"expires":60`))
	wantShape(t, a.body, `{"status":true,"data":{"accessToken":"x"}}`)
	token := accessToken(t, a)
	if got, want := part(t, token, 0), part(t, docAccessToken, 0); got != want {
		t.Errorf("header %s, want %s", got, want)
	}
	got, want := decode(t, part(t, token, 1)), decode(t, part(t, docAccessToken, 1))
	life := func(c map[string]any) float64 { return c["exp"].(float64) - c["iat"].(float64) }
	if life(got) != life(want) {
		t.Errorf("token lives %v s, want %v", life(got), life(want))
	}
	for _, c := range []map[string]any{got, want} {
		c["iat"], c["exp"] = 0, 0
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("claims %v, want %v", got, want)
	}
	if len(token) != len(docAccessToken) {
		t.Errorf("token has %d bytes, the document's %d", len(token), len(docAccessToken))
	}
}

func TestAuth(t *testing.T) {
	s, c := start(t, Options{Licenses: []License{{}, {}}})
	l := s.Interwater.Licenses()
	mixed := License{AccessKey: l[0].AccessKey, SecretKey: l[1].SecretKey}
	for name, tc := range map[string]struct {
		body   string
		status int
		life   float64 // seconds
		owner  any     // the claim
	}{
		"default":        {authBody(l[0], ""), 200, 3600, nil},
		"second license": {authBody(l[1], ""), 200, 3600, nil},
		"minutes":        {authBody(l[0], `,"expires":5`), 200, 300, nil},
		"half a minute":  {authBody(l[0], `,"expires":0.5`), 200, 30, nil},
		"a millisecond":  {authBody(l[0], `,"expires":0.00002`), 200, 1, nil},
		"owner":          {authBody(l[0], `,"isOwner":true`), 200, 3600, true},
		"no owner":       {authBody(l[0], `,"isOwner":false`), 200, 3600, nil},
		"mixed keys":     {authBody(mixed, ""), 401, 0, nil},
		"no keys":        {`{}`, 401, 0, nil},
		"expires 0":      {authBody(l[0], `,"expires":0`), 400, 0, nil},
		"expires string": {authBody(l[0], `,"expires":"60"`), 400, 0, nil},
		"expires ages":   {authBody(l[0], `,"expires":1e30`), 400, 0, nil},
		"owner string":   {authBody(l[0], `,"isOwner":"true"`), 400, 0, nil},
		"no JSON":        {`accessKey=1`, 400, 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			a := send(t, c, "POST", s.InterwaterURL+authRoute, tc.body)
			if a.status != tc.status {
				t.Fatalf("got %d %s, want %d", a.status, a.body, tc.status)
			}
			if a.status != 200 {
				wantShape(t, a.body, `{"status":false,"message":"x"}`)
				return
			}
			got := decode(t, part(t, accessToken(t, a), 1))
			if life := got["exp"].(float64) - got["iat"].(float64); life != tc.life {
				t.Errorf("lives %v s, want %v", life, tc.life)
			}
			if got["isOwner"] != tc.owner {
				t.Errorf("isOwner = %v, want %v", got["isOwner"], tc.owner)
			}
		})
	}
	if n := s.Interwater.AuthCalls(); n != 14 {
		t.Errorf("AuthCalls = %d, want 14", n)
	}
	if n := s.Interwater.RoomCalls(); n != 0 {
		t.Errorf("RoomCalls = %d, want 0", n)
	}
}

func TestTokensOfOneSecondDiffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s issued
		a := s.issue(License{}, time.Hour, false, TokenFault{})
		b := s.issue(License{}, time.Hour, false, TokenFault{})
		if a == b {
			t.Error("two tokens are the same")
		}
		if part(t, a, 1) != part(t, b, 1) {
			t.Error("the clock stands still, yet claims differ")
		}
	})
}

func TestATokenCountsUntilItsExpiryAndNoLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s issued
		token := []string{s.issue(License{ID: "9"}, time.Minute, false, TokenFault{})}
		time.Sleep(time.Minute - time.Nanosecond)
		if l, ok := s.license(token); !ok || l.ID != "9" {
			t.Error("refused a nanosecond before its expiry")
		}
		time.Sleep(time.Nanosecond)
		if _, ok := s.license(token); ok {
			t.Error("taken at its expiry")
		}
	})
}

func TestExpiredTokensAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s issued
		for range 1024 {
			s.issue(License{}, time.Second, false, TokenFault{})
		}
		time.Sleep(time.Second)
		s.issue(License{}, time.Second, false, TokenFault{})
		if n := len(s.tokens); n != 1 {
			t.Errorf("%d tokens kept, want 1", n)
		}
	})
}

func TestRoomRoutesWantAToken(t *testing.T) {
	s, c := start(t, Options{})
	i := s.Interwater
	token := authToken(t, s, c)
	other := authToken(t, s, c)
	get := func(token string) int {
		return send(t, c, "GET", s.InterwaterURL+infoRoute, "", leakHeader, token).status
	}
	if a := send(t, c, "GET", s.InterwaterURL+infoRoute, ""); a.status != 401 {
		t.Errorf("no token: %d", a.status)
	} else {
		wantShape(t, a.body, `{"status":false,"message":"x"}`)
	}
	for name, bad := range map[string]string{"document's": docAccessToken, "cut": token[:len(token)-1], "member's": s.Glory.MintToken("1", time.Hour)} {
		if got := get(bad); got != 401 {
			t.Errorf("%s token: %d", name, got)
		}
	}
	twice := httptest.NewRequest("GET", infoRoute, nil)
	twice.Header["S-Connector-Jwt"] = []string{token, token}
	rec := httptest.NewRecorder()
	if i.ServeHTTP(rec, twice); rec.Code != 401 {
		t.Errorf("two headers: %d", rec.Code)
	}
	if !i.RevokeToken(token) || i.RevokeToken(token) {
		t.Error("RevokeToken did not tell known from unknown")
	}
	if got := get(token); got != 401 {
		t.Errorf("revoked: %d", got)
	}
	if got := get(other); got != 200 {
		t.Errorf("another than the revoked: %d", got)
	}
	if n := i.RevokeTokens(); n != 1 {
		t.Errorf("RevokeTokens = %d, want 1", n)
	}
	if got := get(other); got != 401 {
		t.Errorf("all revoked: %d", got)
	}
	if got := get(authToken(t, s, c)); got != 200 {
		t.Errorf("issued after the revocation: %d", got)
	}
}

func TestRoomAnswersAreTheDocuments(t *testing.T) {
	s, c := start(t, Options{})
	token := authToken(t, s, c)
	for path, sample := range map[string]string{
		infoRoute: docInfo, sessionsRoute: docSessions, sessionsRoute + "/gsda11": docRoom,
	} {
		a := send(t, c, "GET", s.InterwaterURL+path, "", leakHeader, token)
		wantShape(t, a.body, sample)
		if strings.Contains(a.body, `\u00`) {
			t.Errorf("%s is HTML-escaped: %s", path, a.body)
		}
		if got := a.header.Get("Content-Type"); got != jsonType {
			t.Errorf("Content-Type %s", got)
		}
		if h := send(t, c, "HEAD", s.InterwaterURL+path, "", leakHeader, token); h.status != 200 || h.body != "" {
			t.Errorf("HEAD %s: %d %q", path, h.status, h.body)
		}
	}
	send(t, c, "GET", s.InterwaterURL+sessionsRoute+"/gsda11", "", leakHeader, token).
		wantJSON(t, 200, `{"status":true,"data":{"status":"ON_GOING","user":1,"roomName":"gsda11"}}`)
}

func TestRoomNamesAreDecodedOnce(t *testing.T) {
	s, c := start(t, Options{})
	token := authToken(t, s, c)
	for path, want := range map[string]int{
		"/v1/sessions/" + url.PathEscape("주간회의"):        200,
		"/v1/sessions/daily%20standup":                  200,
		"/v1/sessions/100%25%20" + url.PathEscape("출석"): 200,
		"/v1/sessions/R&D%20%3Ca+b%3E":                  200,
		"/v1/sessions/gsda11/":                          200,
		"/v1/sessions/%2567sda11":                       404, // gsda11 if decoded twice
		"/v1/sessions/gsda11%2F":                        404,
		"/v1/sessions/gsda11/x":                         404,
		"/v1/sessions/daily+standup":                    404,
		"/v1/sessions/GSDA11":                           404,
	} {
		if a := send(t, c, "GET", s.InterwaterURL+path, "", leakHeader, token); a.status != want {
			t.Errorf("%s: %d %s, want %d", path, a.status, a.body, want)
		}
		if got := s.Interwater.LastRoomRequest().RequestURI; got != path {
			t.Errorf("recorded %s, sent %s", got, path)
		}
	}
}

func TestRoutesAreFoundForgivingly(t *testing.T) {
	i, err := NewInterwater(Options{})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{
		"/v1/auth": 200, "/V1/Auth": 200, "/v1/auth/": 200, "/v1/%61uth": 200, "/v1%2fauth": 200,
		"//v1/auth": 404, "/v1/auth/x": 404, "/v1/../v1/auth": 404, "/": 404,
	} {
		r := httptest.NewRequest("POST", path, strings.NewReader(authBody(i.Licenses()[0], "")))
		r.Header.Set("Content-Type", "application/json")
		rec := httptest.NewRecorder()
		if i.ServeHTTP(rec, r); rec.Code != want {
			t.Errorf("%s: %d, want %d", path, rec.Code, want)
		}
	}
	if i.AuthCalls() != 5 || i.RoomCalls() != 4 {
		t.Errorf("%d auth calls, %d room calls", i.AuthCalls(), i.RoomCalls())
	}
	rec := httptest.NewRecorder()
	i.ServeHTTP(rec, httptest.NewRequest("GET", "/v1/auth", nil))
	if rec.Code != 405 || rec.Header().Get("Allow") != "POST" || i.AuthCalls() != 5 || i.RoomCalls() != 5 {
		t.Errorf("GET /v1/auth: %d, Allow %q", rec.Code, rec.Header().Get("Allow"))
	}
}

func TestListingAndRoomsAgreeAtEverySecond(t *testing.T) {
	begin := time.Date(2026, 1, 2, 3, 4, 5, 678, time.UTC)
	s, l := newSimulation(begin), License{Domain: "d", RoomLimit: 10}
	users := map[int]bool{}
	opened := map[int]bool{}
	for sec := range 600 {
		now := begin.Add(time.Duration(sec) * time.Second)
		list := s.listing(l, now)
		opened[len(list)] = true
		for _, room := range list {
			view, open := s.room(l, room.RoomName, now)
			if !open || view.User != len(room.SessionTokens) || view.User == 0 || room.Domain != "d" {
				t.Fatalf("at %v: %+v, %v, but listed %+v", now, view, open, room)
			}
			if room.RoomName == "주간회의" {
				users[view.User] = true
			}
			for _, tok := range room.SessionTokens {
				if tok.CreatedAt > tok.UpdatedAt || tok.CreatedAt < room.CreatedAt || tok.UpdatedAt > now.Format(millis) {
					t.Fatalf("times out of order: %+v in %+v", tok, room)
				}
			}
		}
	}
	if len(users) != 3 || len(opened) != 2 {
		t.Errorf("nobody comes and goes: users %v, rooms %v", users, opened)
	}
	if n := len(s.listing(License{RoomLimit: 2}, begin)); n != 2 {
		t.Errorf("%d rooms with a limit of 2", n)
	}
}
