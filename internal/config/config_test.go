package config

import (
	"encoding/base64"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func load(t *testing.T, changes ...string) *Config {
	t.Helper()
	c, err := Load(with(changes...))
	if err != nil {
		t.Fatalf("%q:\n%v", changes, err)
	}
	return c
}

// TestDefaults compares the documented defaults with Settings, and with the summary of the smallest valid settings.
func TestDefaults(t *testing.T) {
	const routes = "GET /v1/info,GET /v1/sessions,GET /v1/sessions/{room_name}"
	table := []struct{ name, value, summary string }{ // summary is "" if it equals value
		{"LISTEN_ADDR", ":8080", ""},
		{"ADMIN_ADDR", "127.0.0.1:9090", ""},
		{"TLS_CERT_FILE", "", ""},
		{"TLS_KEY_FILE", "", ""},
		{"TRUSTED_PROXIES", "", ""},
		{"CORS_ALLOWED_ORIGINS", "", ""},
		{"MAX_BODY_BYTES", "1048576", ""},
		{"MAX_HEADER_BYTES", "16384", ""},
		{"READ_HEADER_TIMEOUT", "5s", ""},
		{"READ_TIMEOUT", "15s", ""},
		{"IDLE_TIMEOUT", "75s", "1m15s"},
		{"MAX_CONNECTIONS", "10000", ""},
		{"MAX_IN_FLIGHT", "4096", ""},
		{"DRAIN_DELAY", "5s", ""},
		{"SHUTDOWN_TIMEOUT", "25s", ""},
		{"GLORY_URL", "required", "https://glory.example.com"},
		{"GLORY_TIMEOUT", "10s", ""},
		{"GLORY_JWT_SECRETS", "", "not set"},
		{"GLORY_JWT_ALGORITHMS", "HS384", ""},
		{"GLORY_JWT_ISSUER", "com.smarth", ""},
		{"GLORY_JWT_LEEWAY", "10s", ""},
		{"MEMBER_CACHE_TTL", "60s", "1m0s"},
		{"SESSION_SECRETS", "", "not set"},
		{"SESSION_MAX_AGE", "168h", "168h0m0s"},
		{"INTERWATER_URL", "required", "https://interwater.example.com"},
		{"INTERWATER_TIMEOUT", "10s", ""},
		{"INTERWATER_ROUTES", routes, ""},
		{"INTERWATER_ACCESS_KEY", "required", "set"},
		{"INTERWATER_SECRET_KEY", "required", "set"},
		{"INTERWATER_TOKEN_MINUTES", "60", ""},
		{"INTERWATER_ALLOW", "true", ""},
		{"INTERWATER_OWNER", "false", ""},
		{"INTERWATER_LICENSE_<n>_NAME", "required", ""},
		{"INTERWATER_LICENSE_<n>_ACCESS_KEY", "required", ""},
		{"INTERWATER_LICENSE_<n>_SECRET_KEY", "required", ""},
		{"INTERWATER_LICENSE_<n>_TOKEN_MINUTES", "60", ""},
		{"INTERWATER_LICENSE_<n>_ALLOW", "true", ""},
		{"INTERWATER_LICENSE_<n>_OWNER", "false", ""},
		{"INTERWATER_REJECT_STATUSES", "401,403", ""},
		{"FAST_LANE", "true", ""},
		{"TOKEN_FETCH_TIMEOUT", "5s", ""},
		{"TOKEN_REFUSED_TTL", "60s", "1m0s"},
		{"REDIS_URL", "required", "redis://127.0.0.1:6379"},
		{"REDIS_CERT_FILE", "", ""},
		{"REDIS_KEY_FILE", "", ""},
		{"REDIS_MODE", "single", ""},
		{"REDIS_KEY_PREFIX", "roomgate:", ""},
		{"REDIS_TIMEOUT", "250ms", ""},
		{"LOGIN_RATE_LIMIT", "0", ""},
		{"ACCOUNT_RATE_LIMIT", "10/1m", "10/1m0s"},
		{"MEMBER_RATE_LIMIT", "100/1s", ""},
		{"ROOM_COALESCE", "true", ""},
		{"ROOM_CACHE_TTL", "0s", ""},
		{"ROOM_REDACT_FIELDS", "", ""},
		{"API_DOCS", "true", ""},
		{"SERVER_TIMING", "false", ""},
		{"LOG_LEVEL", "info", ""},
		{"LOG_FORMAT", "json", ""},
	}
	settings := Settings()
	summary := map[string]string{}
	var order []string
	for _, a := range load(t).Summary() {
		if _, twice := summary[a.Key]; twice {
			t.Errorf("%s is in the summary twice", a.Key)
		}
		summary[a.Key] = a.Value.String()
		order = append(order, a.Key)
	}
	for i, want := range table {
		if i >= len(settings) {
			t.Fatalf("%s is missing", want.name)
		}
		s := settings[i]
		def := s.Default
		if s.Required {
			def = "required"
		}
		if s.Name != want.name || def != want.value || s.Doc == "" {
			t.Errorf("setting %d is %s %q %q, want %s %q and a text", i, s.Name, def, s.Doc, want.name, want.value)
		}
		if strings.Contains(want.name, "<n>") {
			continue
		}
		if want.summary == "" {
			want.summary = want.value
		}
		if got, ok := summary[want.name]; !ok || got != want.summary {
			t.Errorf("in the summary %s is %q (%v), want %q", want.name, got, ok, want.summary)
		}
	}
	if len(settings) != len(table) || len(order) != len(table)-6 {
		t.Errorf("%d settings, %d in the summary: %q", len(settings), len(order), order)
	}
}

// A bound with a typo would be zero, and the setting would have no bound.
func TestTags(t *testing.T) {
	for _, typ := range []reflect.Type{reflect.TypeFor[Config](), reflect.TypeFor[License]()} {
		for name, f := range fieldsOf(typ, "") {
			low, high := f.Tag.Get("min"), f.Tag.Get("max")
			isNumber := f.Type.Kind() == reflect.Int || f.Type.Kind() == reflect.Int64
			if isNumber != (low != "") || isNumber != (high != "") {
				if f.Type != reflect.TypeFor[slog.Level]() {
					t.Errorf("%s: min %q, max %q on a %s", name, low, high, f.Type)
				}
			}
			for _, bound := range []string{low, high} {
				var err error
				if f.Type == reflect.TypeFor[time.Duration]() {
					_, err = parseDuration(bound)
				} else if low != "" {
					_, err = parseWhole[int64](bound)
				}
				if err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
	}
}

func TestEmptyIsAbsentUnlessItHasAMeaning(t *testing.T) {
	c := load(t, "ADMIN_ADDR=", "GLORY_JWT_ISSUER=", "LISTEN_ADDR=", "REDIS_MODE=", "TLS_CERT_FILE=", "INTERWATER_ALLOW_FILE=")
	if c.AdminAddr != "" || c.GloryJWTIssuer != "" {
		t.Errorf("ADMIN_ADDR is %q, GLORY_JWT_ISSUER %q", c.AdminAddr, c.GloryJWTIssuer)
	}
	if c.ListenAddr != ":8080" || c.RedisMode != "single" || c.Licenses[0].Allow != "true" {
		t.Errorf("an empty variable took the place of a default: %+v", c)
	}
}

func TestLists(t *testing.T) {
	c := load(t, "TRUSTED_PROXIES=10.1.2.3/8, 192.0.2.1,2001:db8::1", "CORS_ALLOWED_ORIGINS=https://a.example, http://localhost:3000,capacitor://localhost",
		"INTERWATER_REJECT_STATUSES=401, 403 ,419", "ROOM_REDACT_FIELDS=token, location", "GLORY_JWT_ALGORITHMS=HS256, HS384",
		"INTERWATER_ROUTES=GET /v1/info, POST /v1/sessions , GET /v1/sessions/{id}/members/,GET /v1/authors")
	for _, tt := range []struct{ got, want any }{
		{show(c.TrustedProxies), "10.0.0.0/8,192.0.2.1/32,2001:db8::1/128"},
		{c.CORSAllowedOrigins, []string{"https://a.example", "http://localhost:3000", "capacitor://localhost"}},
		{c.InterwaterRejectStatuses, []int{401, 403, 419}},
		{c.RoomRedactFields, []string{"token", "location"}},
		{c.GloryJWTAlgorithms, []string{"HS256", "HS384"}},
		{c.InterwaterRoutes, []string{"GET /v1/info", "POST /v1/sessions", "GET /v1/sessions/{id}/members/", "GET /v1/authors"}},
	} {
		if !reflect.DeepEqual(tt.got, tt.want) {
			t.Errorf("got %v, want %v", tt.got, tt.want)
		}
	}
	if c := load(t, "CORS_ALLOWED_ORIGINS=*"); len(c.CORSAllowedOrigins) != 1 {
		t.Errorf("* alone gave %q", c.CORSAllowedOrigins)
	}
}

func TestScalars(t *testing.T) {
	c := load(t, "LOG_LEVEL=warn", "MEMBER_RATE_LIMIT=0", "LOGIN_RATE_LIMIT=30/1m30s", "ROOM_COALESCE=false", "DRAIN_DELAY=0",
		"GLORY_JWT_LEEWAY=0s", "MEMBER_CACHE_TTL=0s", "LISTEN_ADDR=:0", "ADMIN_ADDR=:0")
	if c.LogLevel != slog.LevelWarn || c.RoomCoalesce || c.DrainDelay != 0 || c.GloryJWTLeeway != 0 || c.MemberCacheTTL != 0 {
		t.Errorf("%+v", c)
	}
	if c.MemberRateLimit != (RateLimit{}) || c.LoginRateLimit != (RateLimit{30, 90 * time.Second}) {
		t.Errorf("rate limits are %v and %v", c.MemberRateLimit, c.LoginRateLimit)
	}
}

func TestBaseURLs(t *testing.T) {
	for in, want := range map[string]string{
		"https://glory.example.com/":           "https://glory.example.com",
		"https://glory.example.com:8443/base/": "https://glory.example.com:8443/base",
		"HTTPS://glory.example.com":            "https://glory.example.com",
		"http://127.0.0.1:8081":                "http://127.0.0.1:8081",
		"http://[::1]:8081":                    "http://[::1]:8081",
	} {
		if got := load(t, "GLORY_URL="+in).GloryURL.String(); got != want {
			t.Errorf("%s became %s, want %s", in, got, want)
		}
	}
}

func TestPrivateHost(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "glory": true, "glory.svc": true, "glory.ns.svc.cluster.local": true, "GLORY.Internal.": true,
		"a.localhost": true, "a.test": true, "127.0.0.2": true, "10.1.1.1": true, "172.31.0.1": true, "192.168.0.1": true,
		"169.254.1.1": true, "100.64.0.1": true, "::1": true, "fd00::1": true, "fe80::1": true, "::ffff:10.0.0.1": true,
		"glory.example.com": false, "8.8.8.8": false, "172.32.0.1": false, "100.128.0.1": false, "2001:4860::1": false,
		"::ffff:8.8.8.8": false, "134744072": false, "0x08080808": false, "notlocal": true, "evil.notlocal": false,
		"8.8.8.8.": false, "0.0.0.0": false, "local.example.com": false, "": false, ".": false,
	} {
		if got := privateHost(host); got != want {
			t.Errorf("%q: %v, want %v", host, got, want)
		}
	}
}

func TestSameListener(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{":8080", ":8080", true}, {"127.0.0.1:8080", "127.0.0.1:8080", true}, {"0.0.0.0:8080", "127.0.0.1:8080", true},
		{"[::]:8080", "127.0.0.1:8080", true}, {":8080", "127.0.0.1:08080", true},
		{":0", ":0", false}, {"127.0.0.1:8080", "127.0.0.2:8080", false}, {":8080", ":9090", false}, {":8080", "", false},
	} {
		if got := sameListener(tt.a, tt.b); got != tt.want {
			t.Errorf("%q and %q: %v, want %v", tt.a, tt.b, got, tt.want)
		}
	}
}

func TestJWTSecrets(t *testing.T) {
	// HS384 needs at least 48 bytes. + and / belong to the standard alphabet, - and _ to the URL alphabet.
	raw := strings.Repeat("s", 48)
	odd := strings.Repeat("\xfb\xff", 25) // 50 bytes, so that base64 has padding
	std, alt := base64.StdEncoding.EncodeToString([]byte(odd)), base64.URLEncoding.EncodeToString([]byte(odd))
	c := load(t, "GLORY_JWT_SECRETS="+strings.Join([]string{raw, "base64:" + std, "base64:" + strings.TrimRight(std, "="),
		"base64:" + alt, "base64:" + strings.TrimRight(alt, "=")}, ","))
	if len(c.GloryJWTSecrets) != 5 || c.GloryJWTSecrets[0].Reveal() != raw {
		t.Fatalf("got %d secrets", len(c.GloryJWTSecrets))
	}
	for i, s := range c.GloryJWTSecrets[1:] {
		if s.Reveal() != odd {
			t.Errorf("base64 secret %d was decoded wrongly", i)
		}
	}
}

func TestRedis(t *testing.T) {
	for _, changes := range [][]string{
		{"REDIS_URL=redis://redis"},
		{"REDIS_URL=rediss://user:p%40ss@redis.example.com:6380/2?pool_size=5"},
		{"REDIS_URL=redis://n1:6379?addr=n2:6379&addr=[::1]:6379", "REDIS_MODE=cluster"},
		{"REDIS_URL=redis://:MARKER@s1:26379/1?master_name=m&addr=s2:26379&password=MARKER", "REDIS_MODE=sentinel"},
	} {
		c := load(t, changes...)
		if "REDIS_URL="+c.RedisURL.Reveal() != changes[0] {
			t.Errorf("%q became %q", changes[0], c.RedisURL.Reveal())
		}
		if s := fmt.Sprint(c.Summary()); strings.Contains(s, "MARKER") || strings.Contains(s, "p%40ss") {
			t.Errorf("a password is in the summary: %s", s)
		}
	}
}

func TestLicenses(t *testing.T) {
	one := load(t).Licenses
	if l := one[0]; len(one) != 1 || l.Name != "default" || l.AccessKey.Reveal() != "MARKER-access" ||
		l.SecretKey.Reveal() != "MARKER-secret" || l.TokenMinutes != 60 || l.Allow != "true" || l.Owner != "false" {
		t.Errorf("the one license is %+v", one)
	}
	changes := []string{"INTERWATER_ACCESS_KEY", "INTERWATER_SECRET_KEY", "INTERWATER_LICENSE_FOO="}
	for n := range 11 { // includes 10, which sorts before 2 as text
		p := fmt.Sprintf("INTERWATER_LICENSE_%d_", n)
		changes = append(changes, fmt.Sprintf("%sNAME=l%d", p, n), p+"ACCESS_KEY=a", p+"SECRET_KEY=s")
	}
	changes = append(changes, `INTERWATER_LICENSE_2_ALLOW=member.sub in ["1","2"]`, "INTERWATER_LICENSE_10_TOKEN_MINUTES=5")
	c := load(t, changes...)
	for n, l := range c.Licenses {
		if l.Name != fmt.Sprint("l", n) {
			t.Errorf("license %d is %s", n, l.Name)
		}
	}
	if len(c.Licenses) != 11 || c.Licenses[2].Allow != `member.sub in ["1","2"]` || c.Licenses[10].TokenMinutes != 5 {
		t.Errorf("%+v", c.Licenses)
	}
	if s := fmt.Sprint(c.Summary()); !strings.Contains(s, "INTERWATER_LICENSE_10_TOKEN_MINUTES=5") || strings.Contains(s, "INTERWATER_ALLOW") {
		t.Errorf("summary: %s", s)
	}
}

func TestFiles(t *testing.T) {
	for content, want := range map[string]string{
		"key": "key", "key\n": "key", "key\r\n": "key", "a\nb\n": "a\nb", "a\r": "", "a\n\n": "",
		"\xef\xbb\xbfkey\n": "key", "\xff\xfek\x00e\x00y\x00": "", "\xfe\xff\x00k\x00e\x00y": "", "k\x00e\x00y\x00": "", "\xef\xbb\xbf": "",
	} {
		path := filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := Load(with("INTERWATER_SECRET_KEY", "INTERWATER_SECRET_KEY_FILE="+path))
		if want == "" { // must be refused
			if err == nil {
				t.Errorf("%q was accepted", content)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", content, err)
		} else if got := c.Licenses[0].SecretKey.Reveal(); got != want || c.Files["INTERWATER_SECRET_KEY"] != path || len(c.Files) != 1 {
			t.Errorf("%q gave %q, files %v", content, got, c.Files)
		}
	}
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if c := load(t, "ADMIN_ADDR_FILE="+empty); c.AdminAddr != "" {
		t.Errorf("an empty ADMIN_ADDR_FILE gave %q", c.AdminAddr)
	}
}
