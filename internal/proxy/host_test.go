package proxy

// The rule for hosts, in HTTP/2 too: X-Forwarded-Host always has the form of a host.

import (
	"errors"
	"net/http"
	"testing"

	"roomgate/internal/sandbox"
)

func TestHostHasTheFormOfOne(t *testing.T) {
	for _, host := range []string{
		"gateway.test", "GATEWAY:8080", "gateway.test.", "a_b", "127.0.0.1", "127.0.0.1:80", "[::1]", "[::1]:8080", "[::ffff:127.0.0.1]", "g:",
	} {
		if err := hostError(host, 2); err != nil {
			t.Errorf("%q: %v", host, err)
		}
	}
	for _, host := range []string{
		"[::1", "::1", "::1]", "[::1]x", "[::1]]", "[[::1]]", "[]", "[127.0.0.1]", "[fe80::1%25en0]", "[fe80::1%en0]", "[v1.x]", "a:b", "a:80:80",
		"a[b", "a]b", "", ":80", "a b", "a,b", "a:65536", "<script>", "a%2fb", "a:-1", "[::1]:x",
	} {
		if err := hostError(host, 2); !errors.Is(err, errHost) {
			t.Errorf("%q is taken: %v", host, err)
		}
	}
}

// hostError returns parseTarget's error for a request in HTTP/major.0 with that host.
func hostError(host string, major int) error {
	_, err := parseTarget(&http.Request{RequestURI: "/", Host: host, ProtoMajor: major})
	return err
}

func TestHTTP10NeedsNoHost(t *testing.T) {
	if err := hostError("", 1); err != nil {
		t.Error(err)
	}
}

func TestMalformedHostIs400(t *testing.T) {
	g := start(t)
	for _, target := range []string{"/v1/info", "/api/v1/profile", "/nowhere"} {
		g.get(t, target, "Host: [::1").wantError(t, 400)
	}
	if len(g.Interwater.RoomRequests())+len(g.Glory.Requests()) > 0 {
		t.Error("the request was forwarded")
	}
}

func TestHTTP10WithoutHostForwardsNone(t *testing.T) {
	g := start(t)
	for _, target := range []string{"/v1/info", "/public-api/v1/health"} {
		if got := g.raw(t, "GET "+target+" HTTP/1.0\r\n"+asMember+"\r\nX-Forwarded-Host: EVIL\r\n\r\n"); got.status != 200 {
			t.Errorf("%s: %+v", target, got)
		}
	}
	for _, r := range []sandbox.Request{g.Interwater.LastRoomRequest(), g.Glory.LastRequest()} {
		if got, ok := r.Header["X-Forwarded-Host"]; ok {
			t.Errorf("%s: X-Forwarded-Host: %q", r.RequestURI, got)
		}
	}
}
