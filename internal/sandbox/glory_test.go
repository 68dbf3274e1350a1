package sandbox

// The Glory stand-in is compared with its document here.

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// The document's samples.
const (
	docMemberToken = "eyJhbGciOiJIUzM4NCJ9.eyJzdWIiOiIyIiwiaWF0IjoxNjYyODA2MzY5LCJleHAiOjE2NjI4MTM1NjksImlzcyI6ImNvbS5zbWFydGgiLCJsb2dpbkNoYW5uZWwiOiJpZF9wdyJ9.Uti8P-dps6Ke_J-852g9eVylCa6GqGZU-ZOvGFCSMlXbTKpbvnnBlVeeZnRNr4PV"
	docJoin        = `{"id":"test-user-1","password":"abcd","name":"홍길동","nickname":"oracleman","email":"abc@gmail.com"}`
	docProfile     = `{"data":{"result":"ok","profile":{"id":"test001","name":"홍길동","nickname":"홍길똥","email":"yoe21@gmail.com","point":1000,"todayLogin":"2022-10-17 14:12:05","datetime":"2022-10-17 14:12:05","homepage":""}}}`
	docBadParams   = `{"code":"400","message":"유효하지 않은 파라미터입니다."}`
	docJoined      = `{"code":"400","message":"이미 존재하는 유저입니다. memberId: test-user-1"}`
	docBadLogin    = `{"code":"400","message":"ID/PASSWORD 정보가 일치하지 않습니다 !"}`
	docForbidden   = `{"code":"403","message":"Full authentication is required to access this resource"}`
	docOK          = `{"data":{"result":"ok"}}`
)

func memberToken(t *testing.T, a answer) string {
	t.Helper()
	if a.status != http.StatusOK {
		t.Fatalf("got %d %s", a.status, a.body)
	}
	var v struct{ Data struct{ Token string } }
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		t.Fatal(err)
	}
	return v.Data.Token
}

func TestMemberTokenIsTheDocuments(t *testing.T) {
	s, c := start(t, Options{})
	a := send(t, c, "POST", s.GloryURL+joinPath, docJoin)
	token := memberToken(t, a)
	wantShape(t, a.body, `{"data":{"result":"ok","token":"x"}}`)

	if got, want := part(t, token, 0), part(t, docMemberToken, 0); got != want {
		t.Errorf("header %s, want %s", got, want)
	}
	got, want := decode(t, part(t, token, 1)), decode(t, part(t, docMemberToken, 1))
	for _, claim := range []string{"sub", "iss", "loginChannel"} {
		if got[claim] != want[claim] {
			t.Errorf("%s = %v, want %v", claim, got[claim], want[claim])
		}
	}
	if fmt.Sprint(names(got)) != fmt.Sprint(names(want)) {
		t.Errorf("claims %v, want %v", names(got), names(want))
	}
	if life := got["exp"].(float64) - got["iat"].(float64); life != want["exp"].(float64)-want["iat"].(float64) {
		t.Errorf("token lives %v s", life)
	}
	if len(token) != len(docMemberToken) {
		t.Errorf("token has %d bytes, the document's %d", len(token), len(docMemberToken))
	}
}

func TestJoinAndLogin(t *testing.T) {
	s, c := start(t, Options{})
	memberToken(t, send(t, c, "POST", s.GloryURL+joinPath, docJoin))
	join := func(id, password string) string {
		b, _ := json.Marshal(joinRequest{id, password, "홍길동", "n", "e@x"})
		return string(b)
	}
	for name, tc := range map[string]struct{ path, body, want string }{
		"joined already":      {joinPath, docJoin, docJoined},
		"no fields":           {joinPath, `{}`, docBadParams},
		"no JSON":             {joinPath, `id=1`, docBadParams},
		"two values":          {joinPath, docJoin + docJoin, docBadParams},
		"number for id":       {joinPath, `{"id":1,"password":"a","name":"a","nickname":"a","email":"a"}`, docBadParams},
		"empty id":            {joinPath, join("", "a"), docBadParams},
		"space in id":         {joinPath, join("a b", "a"), docBadParams},
		"id too long":         {joinPath, join(strings.Repeat("a", maxID+1), "a"), docBadParams},
		"password too long":   {joinPath, join("a", strings.Repeat("a", maxPassword+1)), docBadParams},
		"body too big":        {joinPath, strings.Repeat(" ", maxBody) + docJoin, docBadParams},
		"wrong password":      {loginPath, `{"id":"test-user-1","password":"abce"}`, docBadLogin},
		"unknown id":          {loginPath, `{"id":"nobody","password":"abcd"}`, docBadLogin},
		"login without field": {loginPath, `{"id":"test-user-1"}`, docBadParams},
	} {
		t.Run(name, func(t *testing.T) {
			send(t, c, "POST", s.GloryURL+tc.path, tc.body).wantJSON(t, 400, tc.want)
		})
	}
	send(t, c, "POST", s.GloryURL+joinPath, docJoin, "Content-Type", "text/plain").wantJSON(t, 400, docBadParams)

	token := memberToken(t, send(t, c, "POST", s.GloryURL+loginPath, `{"id":"test-user-1","password":"abcd"}`))
	if sub := decode(t, part(t, token, 1))["sub"]; sub != "2" {
		t.Errorf("sub after login = %v, want 2", sub)
	}
	demo, _ := json.Marshal(s.Demo)
	memberToken(t, send(t, c, "POST", s.GloryURL+loginPath, string(demo)))
}

func TestAPasswordIsNotComparedByItsFirst72BytesOnly(t *testing.T) {
	s, c := start(t, Options{})
	long := strings.Repeat("p", maxPassword)
	body := `{"id":"long","password":"` + long + `","name":"n","nickname":"n","email":"e"}`
	memberToken(t, send(t, c, "POST", s.GloryURL+joinPath, body))
	memberToken(t, send(t, c, "POST", s.GloryURL+loginPath, `{"id":"long","password":"`+long+`"}`))
	send(t, c, "POST", s.GloryURL+loginPath, `{"id":"long","password":"`+long+`x"}`).wantJSON(t, 400, docBadLogin)
}

func TestOnlyOneOfManyJoinsWithOneID(t *testing.T) {
	m, err := newMembers()
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	subs := make(chan string, 16)
	for range 16 {
		wg.Go(func() {
			if sub, err := m.join(joinRequest{ID: "same", Password: "p"}); err == nil {
				subs <- sub
			}
		})
	}
	wg.Wait()
	if len(subs) != 1 || m.count() != 1 {
		t.Errorf("%d joins succeeded, %d members", len(subs), m.count())
	}
}

func TestMemberRoutes(t *testing.T) {
	s, c := start(t, Options{})
	g := s.Glory
	good := "Bearer " + g.MintToken("1", time.Hour)
	forged := func(f func(header, claims map[string]any)) string { return "Bearer " + g.MintToken("1", time.Hour, f) }
	for name, tc := range map[string]struct {
		method, path, authorization string
		status                      int
		want                        string
	}{
		"health":                {"GET", healthPath, "", 200, docOK},
		"check":                 {"GET", checkLoginPath, good, 200, docOK},
		"check, nobody's":       {"GET", checkLoginPath, "Bearer " + g.MintToken("99", time.Hour), 200, docOK},
		"no token":              {"GET", checkLoginPath, "", 403, docForbidden},
		"no token, unknown":     {"GET", "/api/v1/nothing", "", 403, docForbidden},
		"no token, method":      {"POST", profilePath, "", 403, docForbidden},
		"other scheme":          {"GET", checkLoginPath, strings.Replace(good, "Bearer", "Basic", 1), 403, docForbidden},
		"malformed":             {"GET", checkLoginPath, "Bearer a.b.c", 403, docForbidden},
		"document's":            {"GET", checkLoginPath, "Bearer " + docMemberToken, 403, docForbidden},
		"expired":               {"GET", checkLoginPath, "Bearer " + g.MintToken("1", -time.Second), 403, docForbidden},
		"HS256":                 {"GET", checkLoginPath, forged(func(h, _ map[string]any) { h["alg"] = "HS256" }), 403, docForbidden},
		"none":                  {"GET", checkLoginPath, forged(func(h, _ map[string]any) { h["alg"] = "none" }), 403, docForbidden},
		"issuer":                {"GET", checkLoginPath, forged(func(_, c map[string]any) { c["iss"] = "com.smarth.evil" }), 403, docForbidden},
		"no exp":                {"GET", checkLoginPath, forged(func(_, c map[string]any) { delete(c, "exp") }), 403, docForbidden},
		"no sub":                {"GET", checkLoginPath, forged(func(_, c map[string]any) { delete(c, "sub") }), 403, docForbidden},
		"profile, nobody's":     {"GET", profilePath, "Bearer " + g.MintToken("99", time.Hour), 403, docForbidden},
		"unknown":               {"GET", "/api/v1/nothing", good, 404, `{"code":"404","message":"Not Found"}`},
		"unknown, public":       {"GET", "/nothing", "", 404, `{"code":"404","message":"Not Found"}`},
		"wrong method":          {"GET", loginPath, "", 405, `{"code":"405","message":"Method Not Allowed"}`},
		"wrong method, private": {"POST", profilePath, good, 405, `{"code":"405","message":"Method Not Allowed"}`},
	} {
		t.Run(name, func(t *testing.T) {
			var header []string
			if tc.authorization != "" {
				header = []string{"Authorization", tc.authorization}
			}
			a := send(t, c, tc.method, s.GloryURL+tc.path, "", header...)
			a.wantJSON(t, tc.status, tc.want)
			if (a.status == 405) != (a.header.Get("Allow") != "") {
				t.Errorf("Allow: %q with status %d", a.header.Get("Allow"), a.status)
			}
		})
	}
}

func TestProfileIsTheDocuments(t *testing.T) {
	s, c := start(t, Options{})
	token := memberToken(t, send(t, c, "POST", s.GloryURL+joinPath, docJoin))
	a := send(t, c, "GET", s.GloryURL+profilePath, "", "Authorization", "Bearer "+token)
	wantShape(t, a.body, docProfile)
	p := decode(t, a.body)["data"].(map[string]any)["profile"].(map[string]any)
	for field, want := range map[string]any{
		"id": "test-user-1", "name": "홍길동", "nickname": "oracleman", "email": "abc@gmail.com",
		"point": 1000.0, "homepage": "",
	} {
		if p[field] != want {
			t.Errorf("%s = %v, want %v", field, p[field], want)
		}
	}
	for _, field := range []string{"todayLogin", "datetime"} {
		at, err := time.ParseInLocation(time.DateTime, p[field].(string), time.FixedZone("", 9*60*60))
		if ago := time.Since(at); err != nil || ago < 0 || ago > time.Minute {
			t.Errorf("%s = %v, which is %v ago (%v)", field, p[field], ago, err)
		}
	}
}

func TestMintTokenChangesWhatItIsTold(t *testing.T) {
	g, err := NewGlory(Options{})
	if err != nil {
		t.Fatal(err)
	}
	token := g.MintToken("7", -time.Hour, func(header, claims map[string]any) {
		header["kid"] = "../../dev/null"
		claims["nbf"] = 5
		delete(claims, "iss")
	})
	h, c := decode(t, part(t, token, 0)), decode(t, part(t, token, 1))
	if fmt.Sprint(names(h), names(c)) != "[alg kid] [exp iat loginChannel nbf sub]" {
		t.Errorf("names %v %v", names(h), names(c))
	}
	if c["exp"].(float64)-c["iat"].(float64) != 7200 {
		t.Errorf("an expired token did not live its usual life: %v", c)
	}
}

func TestGloryCountsByPath(t *testing.T) {
	s, c := start(t, Options{})
	send(t, c, "GET", s.GloryURL+healthPath+"?x=1", "")
	send(t, c, "GET", s.GloryURL+"/one", "")
	send(t, c, "GET", s.GloryURL+"/two", "", "X-Mark", "here")
	g := s.Glory
	if g.Calls(healthPath) != 1 || g.Calls("other") != 2 || g.Calls("/one") != 0 {
		t.Errorf("health %d, other %d, /one %d", g.Calls(healthPath), g.Calls("other"), g.Calls("/one"))
	}
	if r := g.Requests(); len(r) != 3 || r[0].RequestURI != healthPath+"?x=1" {
		t.Errorf("requests %+v", r)
	}
	if r := g.LastRequest(); r.Header.Get("X-Mark") != "here" || r.Host != strings.TrimPrefix(s.GloryURL, "http://") {
		t.Errorf("last request %+v", r)
	}
	g.Reset()
	if g.Calls("other") != 0 || g.LastRequest().Method != "" {
		t.Error("Reset left something")
	}
}
