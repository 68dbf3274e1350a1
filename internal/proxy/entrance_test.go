package proxy

// Login and join: which requests count as one, and for which account. Their bodies reach Glory byte for byte, and only when they are
// complete. Clients that try too often are refused.

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"roomgate/internal/bridge"
	"roomgate/internal/fleet"
)

const (
	joinPath  = "/public-api/v1/join"
	loginPath = "/public-api/v1/login"
)

func TestEverySpellingOfAnEntranceIsOne(t *testing.T) {
	for _, tt := range []struct {
		method, path string
		want         entrance
	}{
		{"POST", joinPath, joinEntrance}, {"POST", loginPath, loginEntrance}, {"PUT", loginPath, loginEntrance},
		{"PATCH", loginPath, loginEntrance}, {"DELETE", joinPath, joinEntrance}, {"LOGIN", loginPath, loginEntrance},
		{"POST", loginPath + "/", loginEntrance}, {"POST", loginPath + "//", loginEntrance}, {"POST", loginPath + "%20", loginEntrance},
		{"POST", loginPath + "/%20/", loginEntrance}, {"POST", "/public-api/v1/LOGIN", loginEntrance}, {"POST", "/PUBLIC-API/V1/Join", joinEntrance},
		{"POST", "/public-api/v1/%6cogin", loginEntrance}, {"POST", "/public-api/v1/%4COGIN", loginEntrance}, {"POST", "/public%2Dapi/v1/join", joinEntrance},
		{"GET", loginPath, noEntrance}, {"HEAD", loginPath, noEntrance}, {"OPTIONS", loginPath, noEntrance},
		{"POST", "/public-api/v1/logins", noEntrance}, {"POST", "/public-api/v1/login/x", noEntrance}, {"POST", "/public-api/v1/log%20in", noEntrance},
		{"POST", "/api/v1/login", noEntrance}, {"POST", "/public-api/v2/login", noEntrance}, {"POST", "/", noEntrance}, {"POST", "", noEntrance},
		{"POST", loginPath + "%", noEntrance}, {"POST", loginPath + "%zz", noEntrance},
	} {
		if got := entranceOf(tt.method, tt.path); got != tt.want {
			t.Errorf("%s %s: %d, want %d", tt.method, tt.path, got, tt.want)
		}
	}
}

func TestSpellingsOfAnAccountAreOneAccount(t *testing.T) {
	want := accountKey([]byte(`{"id":"demo"}`))
	for _, id := range []string{
		"demo", "DEMO", "Demo", " demo", "demo ", "demo\t", "\u00a0demo\u3000", "ｄｅｍｏ", "ⓓⓔⓜⓞ", "𝐝𝐞𝐦𝐨", "démo", "de\u0301mo", "dẽmö", "de\u200bmo", "de\u00admo",
		"\ufeffdemo", "demo\u0000", "\u0001demo", "de\u2060mo ", " \u200b demo \u200b ",
	} {
		text, _ := json.Marshal(map[string]string{"password": "x", "id": id})
		if got := accountKey(text); got != want {
			t.Errorf("%q counts as %q", id, got)
		}
	}
	for _, body := range []string{`{"id":"\u0064emo"}`, "\r\n {\"id\" : \"demo\"} \n", `{"id":"demo","ID":"other"}`, `{"a":{"id":"other"},"id":"demo"}`} {
		if got := accountKey([]byte(body)); got != want {
			t.Errorf("%s counts as %q", body, got)
		}
	}
	hangul := accountKey([]byte(`{"id":"홍길동"}`))
	if hangul == accountKey([]byte(`{"id":"홍길돈"}`)) || hangul != accountKey([]byte(`{"id":"\u1112\u1169\u11bc길동"}`)) || hangul == want {
		t.Error("Hangul ids are not told apart, or not recognised when decomposed")
	}
	for upper, lower := range map[string]string{"ΣΑΣ": "σας", "K": "k", "ſ": "s", "DEMO1": "demo1", "ŐŰ": "őű"} {
		if a, b := accountKey([]byte(`{"id":"`+upper+`"}`)), accountKey([]byte(`{"id":"`+lower+`"}`)); a != b || a == "" {
			t.Errorf("%q counts as %q, %q as %q", upper, a, lower, b)
		}
	}
}

func utf16le(text string) string {
	var b strings.Builder
	for _, c := range text {
		b.WriteByte(byte(c))
		b.WriteByte(byte(c >> 8))
	}
	return b.String()
}

// unreadableLogins are bodies without a clear account. Another parser could find one in them, or a different one.
func unreadableLogins() map[string]string {
	const demo = `{"id":"demo","password":"x"}`
	return map[string]string{
		"empty": "", "duplicate": `{"id":"other","id":"demo"}`, "duplicate by escape": `{"id":"other","\u0069d":"demo"}`,
		"duplicate elsewhere": `{"id":"demo","x":{"a":1,"a":2}}`, "number": `{"id":7}`, "null": `{"id":null}`, "list": `{"id":["demo"]}`, "object": `{"id":{"id":"demo"}}`,
		"no id": `{"password":"x"}`, "other case": `{"ID":"demo"}`, "a list around it": `[` + demo + `]`, "a string around it": strconv.Quote(demo),
		"byte order mark": "\ufeff" + demo, "UTF-16": utf16le(demo), "UTF-16 with its mark": utf16le("\ufeff" + demo), "a form": "id=demo&password=x",
		"text after it": demo + "{}", "text before it": "x" + demo, "cut": demo[:10], "a comment": `{/**/"id":"demo"}`, "single quotes": `{'id':'demo'}`,
		"too long": `{"id":"demo","x":"` + strings.Repeat("x", maxAccountBody) + `"}`,
	}
}

func TestBodiesThatAreReadDifferentlyShareOneCount(t *testing.T) {
	want := accountKey(nil)
	for rule, body := range unreadableLogins() {
		if got := accountKey([]byte(body)); got != want {
			t.Errorf("%s: %q", rule, got)
		}
	}
	if named := accountKey([]byte(`{"id":"\u0000"}`)); named == want {
		t.Errorf("an id has the key of unreadable bodies: %q", named)
	}
}

// Anybody may send a body as long as MAX_BODY_BYTES allows.
func TestDeepBodyTakesNoStack(t *testing.T) {
	for _, body := range []string{strings.Repeat("[", 1<<20), strings.Repeat(`{"a":`, 1<<18), `{"id":` + strings.Repeat("[", 1<<20)} {
		var before, after runtime.MemStats
		done := make(chan struct{})
		runtime.ReadMemStats(&before)
		go func() {
			defer close(done)
			accountKey([]byte(body))
			runtime.ReadMemStats(&after)
		}()
		await(t, done)
		if grown := int64(after.StackSys) - int64(before.StackSys); grown > 16<<20 {
			t.Errorf("%.8s…: %d MiB of stack", body, grown>>20)
		}
	}
}

// post returns the bytes of a request, with Content-Length or in chunks.
func post(path, body string, chunked bool, lines ...string) string {
	head := "POST " + path + " HTTP/1.1\r\nHost: g\r\n" + strings.Join(append(lines, ""), "\r\n")
	if !chunked {
		return fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", head, len(body), body)
	}
	var message strings.Builder
	message.WriteString(head + "Transfer-Encoding: chunked\r\n\r\n")
	for chunk := range slices.Chunk([]byte(body), 7) {
		fmt.Fprintf(&message, "%x\r\n%s\r\n", len(chunk), chunk)
	}
	return message.String() + "0\r\n\r\n"
}

func TestEntrancesBodyPassesByteForByte(t *testing.T) {
	type seen struct{ body, length, charset string }
	arrived := make(chan seen, 1)
	upstream := scripted(t, func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		arrived <- seen{string(body), fmt.Sprint(r.ContentLength, r.TransferEncoding), r.Header.Get("Content-Type")}
	})
	g := start(t, func(o *setup) { o.Glory = upstream })
	list := unreadableLogins()
	list["ordinary"] = `{ "id" : "d\u0065mo" , "password" : "1e0" }` + "\r\n\t "
	list["not UTF-8"] = "{\"id\":\"\xc0\xafdemo\xff\"}"
	list["NUL"] = "\x00\x00{}\x00"
	list["numbers"] = `{"id":"demo","n":1.0e+400,"m":12345678901234567890}`
	for rule, body := range list {
		for _, path := range []string{joinPath, loginPath, "/public-api/v1/LOGIN/"} {
			for _, chunked := range []bool{false, true} {
				if answer := g.raw(t, post(path, body, chunked, "Content-Type: application/json; charset=utf-7")); answer.status != 200 {
					t.Fatalf("%s: status %d", rule, answer.status)
				}
				want := seen{body, fmt.Sprint(len(body), []string(nil)), "application/json; charset=utf-7"}
				if got := await(t, arrived); got != want {
					t.Errorf("%s, chunked %v: %.80q", rule, chunked, got)
				}
			}
		}
	}
}

func TestEntrancesBodyOverTheLimitIs413(t *testing.T) {
	t.Parallel()
	g := start(t, func(o *setup) { o.MaxBodyBytes = 20 })
	for _, path := range []string{joinPath, loginPath} {
		for _, chunked := range []bool{false, true} {
			g.raw(t, post(path, strings.Repeat("a", 21), chunked)).wantError(t, http.StatusRequestEntityTooLarge)
			if answer := g.raw(t, post(path, strings.Repeat("a", 20), chunked)); answer.status == 413 {
				t.Errorf("%s, chunked %v: 20 bytes are too many", path, chunked)
			}
		}
	}
	if calls := len(g.Glory.Requests()); calls != 4 {
		t.Errorf("Glory saw %d requests, want the 4 of 20 bytes", calls)
	}
}

func TestSlowBodyOfAnEntranceTakesNoConnection(t *testing.T) {
	connected, arrived := make(chan struct{}, 10), make(chan string, 10)
	upstream := scripted(t, func(_ http.ResponseWriter, r *http.Request) {
		connected <- struct{}{}
		body, _ := io.ReadAll(r.Body)
		arrived <- string(body)
	})
	g := start(t, func(o *setup) { o.Glory = upstream })
	for _, path := range []string{joinPath, loginPath} {
		conn := g.dial(t)
		defer conn.Close()
		io.WriteString(conn, "POST "+path+" HTTP/1.1\r\nHost: g\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
		goAhead := make([]byte, len("HTTP/1.1 100 Continue\r\n\r\n")) // says that the gateway reads the body
		if _, err := io.ReadFull(conn, goAhead); err != nil || !strings.HasPrefix(string(goAhead), "HTTP/1.1 100") {
			t.Fatalf("%q, %v", goAhead, err)
		}
		io.WriteString(conn, "{}")
		g.do(t, "GET", "/api/x") // meanwhile, another request passes, the only one
		await(t, connected)
		await(t, arrived)
		if len(connected) != 0 {
			t.Fatalf("%s: half a body was forwarded", path)
		}
		io.WriteString(conn, "\r\n")
		await(t, connected)
		if got := await(t, arrived); got != "{}\r\n" {
			t.Errorf("%s: %q", path, got)
		}
		if answer := read(t, conn, "POST"); answer.status != 200 {
			t.Errorf("%s: status %d", path, answer.status)
		}
	}
}

func TestEntrancesBodyIsBoundedApart(t *testing.T) {
	g := start(t)
	for length, want := range map[int]int{maxEntranceBody: 400, maxEntranceBody + 1: 413} { // Glory's own 400
		for _, path := range []string{joinPath, loginPath} {
			if answer := g.raw(t, post(path, strings.Repeat(" ", length), length%2 == 0)); answer.status != want {
				t.Errorf("%s, %d bytes: status %d, want %d", path, length, answer.status, want)
			}
		}
	}
}

// Clients that stall in the middle of a body hold memory. The sum is limited. When these clients have gone, others can send bodies again.
func TestWaitingBodiesAreBoundedInSum(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, gone := &gloryHandler{}, make(chan struct{})
		body := strings.Repeat(" ", maxEntranceBody-1)
		stalled := 0
		for ; h.bodies.Load()+maxEntranceBody <= maxWaitingBodies; stalled++ {
			go func() {
				_, held, _ := h.hold(io.MultiReader(strings.NewReader(body), waits(gone)))
				h.bodies.Add(-held)
			}()
			synctest.Wait()
		}
		if _, held, err := h.hold(strings.NewReader("{}")); !errors.Is(err, errOverloaded) || stalled*len(body) > maxWaitingBodies {
			t.Errorf("beside %d of %d bytes another body is taken: %v", stalled, len(body), err)
		} else {
			h.bodies.Add(-held)
		}
		close(gone)
		synctest.Wait()
		if got, _, err := h.hold(strings.NewReader("{}")); err != nil || string(got) != "{}" {
			t.Errorf("%q, %v", got, err)
		}
	})
}

// waits is a reader that blocks until the channel is closed.
type waits chan struct{}

// Read implements io.Reader.
func (w waits) Read([]byte) (int, error) { <-w; return 0, io.EOF }

func TestBrokenBodyOfAnEntranceIs400AndGoesNowhere(t *testing.T) {
	g := start(t)
	for _, rest := range []string{"Content-Length: 10\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n5\r\nab", "Transfer-Encoding: chunked\r\n\r\nzz\r\n"} {
		conn := g.dial(t)
		io.WriteString(conn, "POST "+loginPath+" HTTP/1.1\r\nHost: g\r\n"+rest)
		closeWrite(conn)
		read(t, conn, "POST").wantError(t, http.StatusBadRequest)
		conn.Close()
	}
	if calls := len(g.Glory.Requests()); calls != 0 {
		t.Errorf("Glory saw %d requests", calls)
	}
}

// wantLimited checks a 429 of the named limit.
func (r reply) wantLimited(t *testing.T, name string) {
	t.Helper()
	r.wantError(t, http.StatusTooManyRequests)
	seconds, err := strconv.Atoi(r.header.Get("Retry-After"))
	if err != nil || seconds < 1 || seconds > 3600 {
		t.Errorf("Retry-After %q", r.header["Retry-After"])
	}
	if policy := r.header.Get("RateLimit-Policy"); !strings.HasPrefix(policy, strconv.Quote(name)+";q=2;w=3600") {
		t.Errorf("RateLimit-Policy %q, want that of %s", policy, name)
	}
	if state := r.header.Get("RateLimit"); state != fmt.Sprintf("%q;r=0;t=%d", name, seconds) {
		t.Errorf("RateLimit %q, Retry-After %d", state, seconds)
	}
}

func TestAddressHasOneCountForJoinAndLogin(t *testing.T) {
	g := start(t, func(o *setup) {
		o.LoginLimit, o.TrustedProxies = fleet.Limit{Burst: 2, Per: time.Hour}, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	})
	try := func(path, chain string) reply { return g.raw(t, post(path, "{}", false, "X-Forwarded-For: "+chain)) }
	for _, tt := range []struct{ rule, first, second, third, other string }{
		{"IPv4", "1.2.3.4", "1.2.3.4", "1.2.3.4", "1.2.3.5"},
		{"what the client adds itself", "9.9.9.1, 1.2.3.6", "9.9.9.2, 1.2.3.6", "9.9.9.3,1.2.3.6", "1.2.3.6, 1.2.3.7"},
		{"IPv4 in IPv6", "1.2.3.8", "::ffff:1.2.3.8", "::ffff:102:308", "::ffff:1.2.3.9"},
		{"an IPv6 network", "2001:db8:0:1::1", "2001:DB8:0:1:ffff:ffff:ffff:ffff", "2001:db8:0:1:0:0:0:2", "2001:db8:0:2::1"},
	} {
		for path, chain := range map[string]string{joinPath: tt.first, loginPath: tt.second} {
			if answer := try(path, chain); answer.status != 400 {
				t.Errorf("%s: status %d, want Glory's own 400", tt.rule, answer.status)
			}
		}
		before := len(g.Glory.Requests())
		try(loginPath, tt.third).wantLimited(t, "login")
		try(joinPath, tt.third).wantLimited(t, "login")
		try("/public-api/v1/%6Cogin/", tt.third).wantLimited(t, "login")
		if len(g.Glory.Requests()) != before {
			t.Errorf("%s: Glory was asked", tt.rule)
		}
		if answer := try(loginPath, tt.other); answer.status != 400 {
			t.Errorf("%s: another address has status %d", tt.rule, answer.status)
		}
		if answer := g.do(t, "GET", "/public-api/v1/health", "X-Forwarded-For: "+tt.third); answer.status != 200 {
			t.Errorf("%s: another route has status %d", tt.rule, answer.status)
		}
	}
}

func TestStrangersForwardedForDoesNotCount(t *testing.T) {
	g := start(t, func(o *setup) { o.LoginLimit = fleet.Limit{Burst: 2, Per: time.Hour} })
	for i := range 4 {
		answer := g.raw(t, post(loginPath, "{}", false, fmt.Sprintf("X-Forwarded-For: 1.2.3.%d", i)))
		if limited := answer.status == 429; limited != (i >= 2) {
			t.Errorf("request %d: status %d", i, answer.status)
		}
	}
}

func TestAccountHasOneCountFromEverywhere(t *testing.T) {
	g := start(t, func(o *setup) {
		o.AccountLimit, o.TrustedProxies = fleet.Limit{Burst: 2, Per: time.Hour}, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	})
	for i, id := range []string{"demo", "DEMO", " demo", "ｄｅｍｏ", "démo"} {
		text, _ := json.Marshal(map[string]string{"id": id, "password": "wrong"})
		answer := g.raw(t, post(loginPath, string(text), i%2 == 0, fmt.Sprintf("X-Forwarded-For: 1.2.3.%d", i)))
		if i >= 2 {
			answer.wantLimited(t, "account")
		} else if answer.status != 400 {
			t.Errorf("%q: status %d", id, answer.status)
		}
	}
	if calls := g.Glory.Calls(loginPath); calls != 2 {
		t.Errorf("Glory saw %d logins, want 2", calls)
	}
	if answer := g.raw(t, post(loginPath, `{"id":"other","password":"x"}`, false)); answer.status != 400 {
		t.Errorf("another account has status %d", answer.status)
	}
	for range 3 { // a join doesn't count for an account
		if answer := g.raw(t, post(joinPath, `{"id":"demo"}`, false)); answer.status != 400 {
			t.Errorf("join has status %d", answer.status)
		}
	}
}

func TestMemberHasOneCountByItsVerifiedSub(t *testing.T) {
	g := start(t, func(o *setup) { o.MemberLimit = fleet.Limit{Burst: 2, Per: time.Hour} })
	for i := range 5 {
		if answer := g.do(t, "GET", "/v1/info", "Authorization: Bearer forged"); answer.status != 401 {
			t.Errorf("a forged token counts: status %d", answer.status)
		}
		answer := g.get(t, []string{"/v1/info", "/v1/sessions", "/v1/sessions/a"}[i%3], fmt.Sprintf("X-Forwarded-For: 1.2.3.%d", i))
		if i >= 2 {
			answer.wantLimited(t, "member")
		} else if answer.status == 429 {
			t.Errorf("request %d is refused", i)
		}
	}
	if calls, asked := g.Interwater.RoomCalls(), len(g.asked("authorize")); calls != 2 || asked != 2 {
		t.Errorf("%d calls of Interwater, %d authorizations, want 2", calls, asked)
	}
	// The limit is per member and says nothing about others.
	g.authenticate = func() error { return bridge.ErrMemberToken }
	g.get(t, "/v1/info").wantError(t, http.StatusUnauthorized)
}
