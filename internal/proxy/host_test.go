package proxy

// This file holds the rule for the Host header: what is told to upstreams as X-Forwarded-Host is at least one by its form.

import (
	"errors"
	"testing"
)

func TestHostHasTheFormOfOne(t *testing.T) {
	for _, host := range []string{
		"", "gateway.test", "GATEWAY:8080", "gateway.test.", "a_b", "127.0.0.1", "127.0.0.1:80", "[::1]", "[::1]:8080", "[::ffff:127.0.0.1]", "g:",
	} {
		if err := checkHost(host); err != nil {
			t.Errorf("%q: %v", host, err)
		}
	}
	for _, host := range []string{
		"[::1", "::1", "::1]", "[::1]x", "[::1]]", "[[::1]]", "[]", "[127.0.0.1]", "[fe80::1%25en0]", "[fe80::1%en0]", "[v1.x]", "a:b", "a:80:80",
		"a[b", "a]b", "a%2fb", "a:-1", "[::1]:x",
	} {
		if err := checkHost(host); !errors.Is(err, errHost) {
			t.Errorf("%q is taken: %v", host, err)
		}
	}
}

func TestMalformedHostIs400(t *testing.T) {
	g := start(t)
	for _, target := range []string{"/v1/info", "/api/v1/profile", "/nowhere"} {
		g.get(t, target, "Host: [::1").wantError(t, 400)
	}
	if len(g.Interwater.RoomRequests())+len(g.Glory.Requests()) > 0 {
		t.Error("it was forwarded")
	}
}
