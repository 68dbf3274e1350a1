package bridge

// Rules: what compiles, what they see, and that an error never admits.

import (
	"encoding/json"
	"strings"
	"testing"
)

func newTestEnv(t testing.TB) func(text string) (*rule, error) {
	t.Helper()
	env, err := newRuleEnv()
	if err != nil {
		t.Fatal(err)
	}
	return func(text string) (*rule, error) { return compileRule(env, text) }
}

func TestRulesSeeMemberAndRequest(t *testing.T) {
	compile := newTestEnv(t)
	claims, err := StrictObject([]byte(`{"role":"x","n":5,"f":1.5,"list":["a","b"],"deep":{"m":[1]},"big":1e300}`))
	if err != nil {
		t.Fatal(err)
	}
	converted := celNumbers(claims).(map[string]any)
	member := &ruleMember{
		Sub: "1", Iss: "com.smarth", Claims: converted,
		Profile: Profile{ID: "u", Name: "홍길동", Nickname: "n", Email: "a@example.com", Point: 100},
	}
	request := &ruleRequest{Method: "GET", Path: "/v1/sessions/%ED%9A%8C", Room: "회"}
	for _, tt := range []struct {
		text           string
		holds, profile bool
	}{
		{`true`, true, false},
		{`false`, false, false},
		{`member.sub in ["1", "2"]`, true, false},
		{`member.iss == "com.smarth"`, true, false},
		{`member.claims.role == "x" && member.claims.n == 5 && member.claims.f > 1.4`, true, false},
		{`member.claims["list"].exists(x, x == "b")`, true, false},
		{`member.claims.deep.m[0] == 1`, true, false},
		{`member.claims.big > 1.0`, true, false},
		{`has(member.claims.nothing)`, false, false},
		{`member.claims.nothing == "x"`, false, false}, // an error
		{`member.claims.role > 3`, false, false},       // an error
		{`member.profile.email.endsWith("@example.com")`, true, true},
		{`member.profile.id == "u" && member.profile.name == "홍길동" && member.profile.nickname == "n" && member.profile.point >= 100`, true, true},
		{`member == member`, true, true},
		{`request.method == "GET" && request.path.startsWith("/v1/sessions/") && request.room == "회"`, true, false},
		{`[1,2,3,4,5,6,7,8,9].all(a, [1,2,3,4,5,6,7,8,9].all(b, [1,2,3,4,5,6,7,8,9].all(c, [1,2,3,4,5,6,7,8,9].all(d, a+b+c+d > 0))))`, false, false}, // too costly
	} {
		r, err := compile(tt.text)
		if err != nil {
			t.Errorf("%s: %v", tt.text, err)
			continue
		}
		if holds, err := r.holds(t.Context(), member, request); holds != tt.holds || holds && err != nil || r.profile != tt.profile {
			t.Errorf("%s: %v (%v), profile %v; want %v, profile %v", tt.text, holds, err, r.profile, tt.holds, tt.profile)
		}
	}
}

func TestBadRulesShowTheColumn(t *testing.T) {
	compile := newTestEnv(t)
	for text, want := range map[string]string{
		`member.foo == "1"`:          "1:7: undefined field 'foo'",
		`mem.sub == "1"`:             "1:1: undeclared reference to 'mem'",
		`member.sub == 1`:            "1:12: found no matching overload",
		`member.sub == `:             "1:15: Syntax error",
		`member.sub`:                 "gives string, and must give bool",
		`member.claims.x`:            "gives dyn, and must give bool",
		`member.profile.phone == ""`: "undefined field 'phone'",
		`env("HOME") == ""`:          "undeclared reference to 'env'",
		``:                           "Syntax error",
	} {
		if _, err := compile(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

func TestAnOwnerRuleMustDependOnTheMember(t *testing.T) {
	compile := newTestEnv(t)
	for text, anybody := range map[string]bool{
		`true`: true, `1 == 1`: true, `request.method == "GET"`: true, `member.sub != ""`: true, `member.sub == member.sub`: true,
		`member.sub != "2"`: true, `member.profile.point >= 0`: true,
		`false`: false, `member.sub == "1"`: false, `member.claims.role == "owner"`: false, `member.profile.email == "a@example.com"`: false,
	} {
		r, err := compile(text)
		if err != nil {
			t.Fatal(err)
		}
		if r.admitsAnybody(t.Context()) != anybody {
			t.Errorf("%s: admits anybody: %v, want %v", text, !anybody, anybody)
		}
	}
}

func FuzzRules(f *testing.F) {
	for _, seed := range []string{
		`member.sub == "1"`, `member.claims.a.b.c == 1`, `member.claims.exists(k, k == "x")`, `request.room.matches("^a")`, `1/0 == 1`,
		`member.claims.list[5] == "x"`, `member.profile.point % 0 == 1`, `"a".repeat(3) == ""`, `member.claims.n + 9223372036854775807 > 0`,
	} {
		f.Add(seed, `{"n":1,"list":["a"],"a":{"b":{}}}`)
	}
	compile := newTestEnv(f)
	f.Fuzz(func(t *testing.T, text, claims string) {
		r, err := compile(text)
		if err != nil {
			return
		}
		object, err := StrictObject([]byte(claims))
		if err != nil {
			return
		}
		converted, _ := celNumbers(object).(map[string]any)
		holds, err := r.holds(t.Context(), &ruleMember{Sub: "1", Claims: converted}, &ruleRequest{Method: "GET", Path: "/v1/info"})
		if holds && err != nil {
			t.Errorf("%q with %s holds with an error: %v", text, claims, err)
		}
	})
}

func TestCELNumbersKeepIntegersExact(t *testing.T) {
	got := celNumbers(map[string]any{"a": json.Number("9007199254740993"), "b": []any{json.Number("1.5")}}).(map[string]any)
	if got["a"] != int64(9007199254740993) || got["b"].([]any)[0] != 1.5 {
		t.Errorf("%v", got)
	}
}
