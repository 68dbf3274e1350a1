package config

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestCouldMatch(t *testing.T) {
	for _, tt := range []struct {
		pattern, path string
		want          bool
	}{
		{"/v1/auth", "/v1/auth", true},
		{"/v1/auth/", "/v1/auth", true},
		{"/V1/Auth", "/v1/auth", true},
		{"/v1/%61uth", "/v1/auth", true},
		{"/v1/%2561uth", "/v1/auth", true},
		{"/v1%2fauth", "/v1/auth", true},
		{"/v1/x/%2e%2e/auth", "/v1/auth", true},
		{"/v1/%2E/auth", "/v1/auth", true},
		{"/", "/v1/auth", true},
		{"/v1/", "/v1/auth", true},
		{"/{all...}", "/v1/auth", true},
		{"/v1/{rest...}", "/v1/auth", true},
		{"/{v}/auth", "/v1/auth", true},
		{"/{v}/{x}", "/v1/auth", true},
		{"/v1/{x}", "/v1/auth", true},
		{"/v1/auth/{rest...}", "/v1/auth", true},
		{"/v1/%7Bx%7D", "/v1/auth", true},
		{"/v1/auth/{$}", "/v1/auth/{$}", true},
		{"/v1/auth/{$}", "/v1/auth", true}, // ServeMux redirects to it
		{"/v1/{x}/{$}", "/v1/auth/{$}", true},
		{"/v1/auth/{x}", "/v1/auth/{$}", true},
		{"/v1/{x}/", "/v1/auth/{$}", true},

		{"/{$}", "/v1/auth", false},
		{"/v1/{$}", "/v1/auth", false},
		{"/v1/authority", "/v1/auth", false},
		{"/v1/auth/more", "/v1/auth", false},
		{"/v1/auth/more", "/v1/auth/{$}", false},
		{"/v2/{x}", "/v1/auth", false},
		{"/v1/sessions/{room_name}", "/v1/auth", false},
		{"/v1/sessions/", "/v1/auth/{$}", false},
		{"/v1/%zz", "/v1/auth", false},
		{"/v1", "/v1/auth", false},

		{"/api/x", "/api/", true},
		{"/api", "/api/", true},
		{"/{x}/y", "/api/", true},
		{"/{x}", "/docs", true},
		{"/apis/x", "/api/", false},
		{"/docs/more", "/docs", false},
	} {
		if got := couldMatch(tt.pattern, tt.path); got != tt.want {
			t.Errorf("%s and %s: %v, want %v", tt.pattern, tt.path, got, tt.want)
		}
		if got := couldMatch(tt.path, tt.pattern); got != tt.want {
			t.Errorf("%s and %s, the other way round: %v, want %v", tt.pattern, tt.path, got, tt.want)
		}
	}
}

// If ServeMux routes a path to a pattern, couldMatch must report true.
func TestCouldMatchIsNoLaxerThanServeMux(t *testing.T) {
	pieces := []string{"", "v1", "V1", "auth", "%61uth", "{x}", "{y...}", "{$}", "other"}
	for _, a := range pieces {
		for _, b := range pieces {
			for _, c := range append([]string{"none"}, pieces...) {
				pattern := "/" + a + "/" + b
				if c != "none" {
					pattern += "/" + c
				}
				if tryRegister("GET "+pattern) != nil {
					continue
				}
				mux := http.NewServeMux()
				mux.Handle("GET "+pattern, http.NotFoundHandler())
				for request, target := range map[string]string{"/v1/auth": "/v1/auth", "/v1/auth/": "/v1/auth/{$}"} {
					_, matched := mux.Handler(httptest.NewRequest("GET", request, nil))
					if matched != "" && !couldMatch(pattern, target) {
						t.Errorf("%s takes %s", pattern, request)
					}
				}
			}
		}
	}
}
