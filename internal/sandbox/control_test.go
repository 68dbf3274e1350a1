package sandbox

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestControlIsForLoopbackPeers(t *testing.T) {
	g, err := NewGlory(Options{})
	if err != nil {
		t.Fatal(err)
	}
	for peer, want := range map[string]int{
		"127.0.0.1:1": 200, "[::1]:1": 200, "[::ffff:127.0.0.1]:1": 200, "127.9.9.9:1": 200,
		"192.0.2.1:1": 403, "[2001:db8::1]:1": 403, "": 403, "localhost:1": 403,
	} {
		r := httptest.NewRequest("GET", "/_sandbox/stats", nil)
		r.RemoteAddr = peer
		rec := httptest.NewRecorder()
		if g.ServeHTTP(rec, r); rec.Code != want {
			t.Errorf("peer %q: %d, want %d", peer, rec.Code, want)
		}
	}
	if n := g.Calls("other"); n != 0 {
		t.Errorf("control requests were counted: %d", n)
	}
}

func TestControlFaults(t *testing.T) {
	s, c := start(t, Options{})
	faults := s.InterwaterURL + "/_sandbox/faults"
	set := `[{"path":"/v1/auth","status":500,"times":1,"delay":"1ms","token":{"ttl":"1s","raw":""}}]`
	send(t, c, "GET", faults, "").wantJSON(t, 200, `[]`)
	put := strings.Replace(set, `,"raw":""`, `,"raw":"\r\n"`, 1)
	send(t, c, "PUT", faults, put).wantJSON(t, 200, put)
	send(t, c, "GET", faults, "").wantJSON(t, 200, put)
	if a := send(t, c, "POST", s.InterwaterURL+authRoute, "{}"); a.status != 500 {
		t.Errorf("the fault did nothing: %d", a.status)
	}
	send(t, c, "GET", faults, "").wantJSON(t, 200, `[]`)
	send(t, c, "PUT", faults, set).wantJSON(t, 200, set)
	send(t, c, "DELETE", faults, "").wantJSON(t, 200, `[]`)
	for _, bad := range []string{
		`{}`, `[{"pth":"/"}]`, `[{"kind":"surprise"}]`, `[{"delay":5}]`, `[{"delay":"5"}]`, `[{"status":42}]`,
		`[{"times":-1}]`, `[{"token":{"tl":"1s"}}]`, `nonsense`,
	} {
		if a := send(t, c, "PUT", faults, bad); a.status != 400 {
			t.Errorf("%s: %d", bad, a.status)
		}
	}
	if a := send(t, c, "POST", faults, "[]"); a.status != 405 {
		t.Errorf("POST: %d", a.status)
	}
}

func TestControlStats(t *testing.T) {
	s, c := start(t, Options{})
	token := authToken(t, s, c)
	for _, path := range []string{"/v1/sessions", "/v1/sessions/gsda11", "/v1/sessions/x", "/elsewhere"} {
		send(t, c, "GET", s.InterwaterURL+path, "", leakHeader, token)
	}
	send(t, c, "GET", s.InterwaterURL+infoRoute, "")
	send(t, c, "GET", s.InterwaterURL+"/_sandbox/stats", "").wantJSON(t, 200, `{
		"auth_calls":1,"room_calls":5,"rejected":1,"tokens_issued":1,"tokens_live":1,
		"requests":{"/v1/auth":1,"/v1/info":1,"/v1/sessions":1,"/v1/sessions/:room_name":2,"other":1}}`)
	send(t, c, "POST", s.InterwaterURL+"/_sandbox/revoke", "").wantJSON(t, 200, `{"revoked":1}`)
	s.Interwater.SetFaults(Fault{Status: 500})
	send(t, c, "POST", s.InterwaterURL+"/_sandbox/reset", "").wantJSON(t, 200, `{
		"auth_calls":0,"room_calls":0,"rejected":0,"tokens_issued":1,"tokens_live":0,
		"requests":{"/v1/auth":0,"/v1/info":0,"/v1/sessions":0,"/v1/sessions/:room_name":0,"other":0}}`)
	if len(s.Interwater.Faults()) != 0 || len(s.Interwater.RoomRequests()) != 0 {
		t.Error("reset left something")
	}

	send(t, c, "GET", s.GloryURL+healthPath, "")
	a := send(t, c, "GET", s.GloryURL+"/_sandbox/stats", "")
	var stats gloryStats
	if err := json.Unmarshal([]byte(a.body), &stats); err != nil {
		t.Fatal(err)
	}
	if stats.Members != 1 || stats.Requests[healthPath] != 1 || len(stats.Requests) != 6 {
		t.Errorf("Glory's stats %+v", stats)
	}
	if a := send(t, c, http.MethodPost, s.GloryURL+"/_sandbox/revoke", ""); a.status != 404 {
		t.Errorf("Glory has no access tokens, yet revoke answers %d", a.status)
	}
}
