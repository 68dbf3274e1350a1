package main

// gateway explain says what would happen to a request, and shows no secret.

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// explainFor runs the command with a member JWT on its standard input.
func explainFor(t *testing.T, environ []string, jwt string, args ...string) (stdout string, status int) {
	t.Helper()
	out, errs, status := programReading(t, jwt+"\n", environ, append([]string{"explain"}, args...)...)
	return out + errs, status
}

func TestExplainNamesWhatHappens(t *testing.T) {
	t.Parallel()
	stands, r, tokens := newCompany(t)
	client := newClient(t)
	for who, license := range map[string]string{"owner": "company", "staff": "company", "partner": "partners", "stranger": ""} {
		before := stands.Interwater.AuthCalls()
		out, status := explainFor(t, r.environ, tokens[who], "-json", "GET", "/v1/sessions/"+koreanRoom())
		if calls := stands.Interwater.AuthCalls(); status != 0 || calls != before {
			t.Fatalf("%s: exit status %d, %d token fetches\n%s", who, status, calls-before, out)
		}
		var x explained
		if err := json.Unmarshal([]byte(out), &x); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if x.Member.License != license || (x.Member.Role == "owner") != (who == "owner") || x.Destination.Room != "주간회의" {
			t.Errorf("%s: %+v %+v", who, x.Destination, x.Member)
		}
		want := 200
		if license == "" {
			want = 403
		}
		get(t, client, r.url+"/v1/sessions/"+koreanRoom(), tokens[who]).want(t, want)
		out, _ = explainFor(t, r.environ, tokens[who], "GET", "/v1/info")
		for _, secret := range []string{tokens[who], "company-key", "company-secret", stands.Interwater.LastRoomRequest().Header.Get("s-connector-jwt")} {
			if secret != "" && strings.Contains(out, secret) {
				t.Errorf("explain shows a secret:\n%s", out)
			}
		}
		if !strings.Contains(out, `ALLOW  member.profile.email.endsWith("@company.example")`) {
			t.Errorf("no rule:\n%s", out)
		}
	}
	for target, want := range map[string]string{
		"/v1/auth": "none: the gateway answers 404", "//v1/auth": "none: the gateway answers 400", "/api/v1/profile": "/api/, to glory",
		"/docs": "GET /docs: a page of the gateway", "/docs/x": "none: the gateway answers 404",
	} {
		if out, _ := explainFor(t, r.environ, "", "GET", target); !strings.Contains(out, want) {
			t.Errorf("%s: %s", target, out)
		}
	}
	if out, _ := explainFor(t, r.environ, tokens["staff"]+"x", "GET", "/v1/info"); !strings.Contains(out, "member token not accepted") {
		t.Errorf("%s", out)
	}
	if out, status := explainFor(t, r.environ, "", "GET"); status != 2 {
		t.Errorf("%d: %s", status, out)
	}
}

func TestExplainShowsTheParts(t *testing.T) {
	t.Parallel()
	stands, client := newStands(t), newClient(t)
	environ := settings(stands, newRedis(t).Addr, `INTERWATER_ALLOW=member.sub == "1" && (member.claims.role == "x" || request.method == "GET")`)
	r := startReplica(t, environ)
	token := stands.Glory.MintToken("1", time.Hour)
	get(t, client, r.url+"/v1/info", token).want(t, 200)
	if out, status := explainFor(t, environ, token, "GET", "/v1/info", "-json"); status != 0 || !strings.Contains(out, `"expires_in_seconds": 3`) {
		t.Errorf("%d, no seconds in\n%s", status, out)
	}
	out, status := explainFor(t, environ, token, "GET", "/v1/info")
	for _, want := range []string{`member.sub == "1"  →  true`, `member.claims.role == "x"  →  error: rule: no such key: role`, `request.method == "GET"  →  true`, "token in Redis, expires in"} {
		if status != 0 || !strings.Contains(out, want) {
			t.Errorf("no %s:\n%s", want, out)
		}
	}
}
