package main

// The main job, end to end: log in at Glory, look at rooms of Interwater, and what must be refused.

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// koreanRoom returns a room of the sandbox that is always open, encoded for a path.
func koreanRoom() string { return url.PathEscape("주간회의") }

// login logs a member in who has joined, and returns the member token.
func login(t *testing.T, client *http.Client, gate, id, password string) string {
	t.Helper()
	body, _ := json.Marshal(map[string]string{"id": id, "password": password})
	a, err := call(t.Context(), client, http.MethodPost, gate+"/public-api/v1/login", "", string(body))
	if err != nil {
		t.Fatal(err)
	}
	var got struct{ Data struct{ Token string } }
	if err := json.Unmarshal([]byte(a.want(t, 200).body), &got); err != nil || got.Data.Token == "" {
		t.Fatalf("login: %v: %s", err, a.body)
	}
	return got.Data.Token
}

func TestSession(t *testing.T) {
	t.Parallel()
	redisServer, stands, client := newRedis(t), newStands(t), newClient(t)
	for mode, secret := range map[string]string{"local": stands.Glory.Secret(), "remote": ""} {
		t.Run(mode, func(t *testing.T) {
			stands.Glory.Reset()
			stands.Interwater.Reset()
			gate := startReplica(t, settings(stands, redisServer.Addr, "GLORY_JWT_SECRETS="+secret, "REDIS_KEY_PREFIX="+mode+":")).url
			join := `{"id":"member-` + mode + `","password":"abcd","name":"홍길동","nickname":"o","email":"abc@example.com"}`
			a, err := call(t.Context(), client, http.MethodPost, gate+"/public-api/v1/join", "", join)
			if err != nil || a.status != 200 || !strings.Contains(a.body, `"result":"ok"`) {
				t.Fatalf("join: %v %+v", err, a)
			}
			if a, _ := call(t.Context(), client, http.MethodPost, gate+"/public-api/v1/join", "", join); a.status != 400 ||
				a.body != `{"code":"400","message":"이미 존재하는 유저입니다. memberId: member-`+mode+`"}` {
				t.Errorf("Glory's own error must pass unchanged, got %+v", a)
			}
			token := login(t, client, gate, "member-"+mode, "abcd")
			if got := get(t, client, gate+"/api/v1/check_login", token).want(t, 200).body; got != `{"data":{"result":"ok"}}` {
				t.Errorf("check_login: %s", got)
			}
			if got := get(t, client, gate+"/api/v1/profile", token).want(t, 200).body; !strings.Contains(got, `"name":"홍길동"`) {
				t.Errorf("profile: %s", got)
			}
			if got := get(t, client, gate+"/v1/sessions", token).want(t, 200).body; !strings.Contains(got, `"roomName":"주간회의"`) {
				t.Errorf("sessions: %s", got)
			}
			if got := get(t, client, gate+"/v1/sessions/"+koreanRoom(), token).want(t, 200).body; !strings.Contains(got, `"roomName":"주간회의"`) {
				t.Errorf("session: %s", got)
			}
			get(t, client, gate+"/v1/info", token).want(t, 200)
			if calls := stands.Interwater.AuthCalls(); calls != 1 {
				t.Errorf("%d calls of v1/auth, want 1", calls)
			}
			wantRefusals(t, client, gate, stands.Glory.MintToken("2", -time.Hour), token)
			if mode == "remote" {
				// One by the client itself, and one for each token that looks like a JWT and isn't expired.
				if calls := stands.Glory.Calls("/api/v1/check_login"); calls != 1+2 {
					t.Errorf("%d calls of check_login, want 3", calls)
				}
			}
		})
	}
}

// wantRefusals checks that the gateway refuses bad tokens and /v1/auth.
func wantRefusals(t *testing.T, client *http.Client, gate, expired, good string) {
	t.Helper()
	forged := good[:len(good)-4] + "AAAA"
	for name, token := range map[string]string{"none": "", "forged": forged, "expired": expired, "no JWT": "abc"} {
		a := get(t, client, gate+"/v1/sessions", token).want(t, 401)
		challenge := `Bearer error="invalid_token"`
		if token == "" {
			challenge = "Bearer"
		} else if name == "expired" {
			challenge += `, error_description="expired"`
		}
		if got := a.header.Get("WWW-Authenticate"); got != challenge {
			t.Errorf("%s: WWW-Authenticate: %s", name, got)
		}
		if a.body != `{"code":"401","message":"Full authentication is required to access this resource"}` {
			t.Errorf("%s: %s", name, a.body)
		}
	}
	if a, err := call(t.Context(), client, http.MethodPost, gate+"/v1/auth", good, "{}"); err != nil || a.status != 404 {
		t.Errorf("v1/auth: %v %+v", err, a)
	}
}

// After a restart a replica takes the access token from Redis, where it is sealed.
func TestRestartFetchesNothing(t *testing.T) {
	t.Parallel()
	redisServer, stands, client := newRedis(t), newStands(t), newClient(t)
	token := stands.Glory.MintToken("1", time.Hour)
	first := startReplica(t, settings(stands, redisServer.Addr))
	get(t, client, first.url+"/v1/info", token).want(t, 200)
	first.stop()
	if err := first.ended(); err != nil {
		t.Fatal(err)
	}
	second := startReplica(t, settings(stands, redisServer.Addr))
	get(t, client, second.url+"/v1/info", token).want(t, 200)
	if calls := stands.Interwater.AuthCalls(); calls != 1 {
		t.Errorf("%d calls of v1/auth, want 1", calls)
	}
	if source := second.log.wait(t, "request")["token_source"]; source != "redis" {
		t.Errorf("token_source %v, want redis", source)
	}
	sent := stands.Interwater.LastRoomRequest().Header.Get("s-connector-jwt")
	if dump := dumpRedis(t, redisServer.Addr); sent == "" || strings.Contains(dump, sent) || !strings.Contains(dump, ":token") {
		t.Errorf("redis holds the access token in clear, or none:\n%s", dump)
	}
}

// dumpRedis returns every key with its value.
func dumpRedis(t *testing.T, addr string) string {
	t.Helper()
	options, err := redis.ParseURL("redis://" + addr)
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(options)
	defer client.Close()
	var dump strings.Builder
	keys, err := client.Keys(t.Context(), "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		values, err := client.ZRange(t.Context(), key, 0, -1).Result() // the roster
		if redis.HasErrorPrefix(err, "WRONGTYPE") {
			values = make([]string, 1)
			values[0], err = client.Get(t.Context(), key).Result()
		}
		if err != nil && !errors.Is(err, redis.Nil) { // it may have expired meanwhile
			t.Fatal(err)
		}
		dump.WriteString(key + "=" + strings.Join(values, " ") + "\n")
	}
	return dump.String()
}
