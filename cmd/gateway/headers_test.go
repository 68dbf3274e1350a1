package main

// Headers of untrusted clients: what a client claims about itself doesn't reach an upstream.

import (
	"slices"
	"strings"
	"testing"

	"roomgate/internal/sandbox"
)

// spellings returns names that some server would take for the credential's.
func spellings() []string {
	return []string{"s-connector-jwt", "S_Connector_Jwt", "S-Connector_Jwt", "s.connector.jwt", "sconnectorjwt", "S-CONNECTOR-JWT", "-s-connector-jwt"}
}

func TestClientsHeadersAreNotBelieved(t *testing.T) { bothModes(t, clientsHeaders) }

func clientsHeaders(t *testing.T, s *arena) {
	var attacks []attack
	// good adds a request that must work. The invariants check what reaches Interwater.
	good := func(id, name string, lines ...string) {
		attacks = append(attacks, attack{row: id, name: name, send: s.member("GET", "/v1/sessions", lines...), want: []int{200}, rooms: 1})
	}
	good("H01", "Connection list", "Connection: close, s-connector-jwt, authorization, host, x-forwarded-for, x-request-id")
	for _, name := range spellings() {
		id := "H04"
		if name == "s-connector-jwt" {
			id = "H03"
		}
		good(id, name, name+": EVIL")
		good(id, name+" twice", name+": EVIL", name+": EVIL2")
		attacks = append(attacks, attack{row: id, name: name + " to Glory", send: message("GET", "/public-api/v1/health", name+": EVIL"), want: []int{200}, glory: 1})
	}
	forwarded := []string{
		"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-Prefix", "X-Forwarded-Uri", "X-Forwarded-Method",
		"X-Forwarded-Server", "Forwarded", "X-Real-IP", "X-Original-URL", "X-Rewrite-URL", "X-Client-IP", "True-Client-IP", "CF-Connecting-IP",
		"X-Envoy-External-Address", "X-Envoy-Original-Path", "X_Forwarded_For",
	}
	for _, name := range forwarded {
		good("H05", name, name+": EVIL/v1/auth")
	}
	attacks = append(attacks, attack{
		row: "H05", name: "forwarded headers to Glory", send: s.member("GET", "/api/v1/profile", "X-Forwarded-For: EVIL", "X-Forwarded-Host: EVIL", "X-Forwarded-Proto: EVIL", "Forwarded: for=EVIL"),
		want: []int{200}, glory: 1,
		look: func(t *testing.T, s *arena, _ []reply) {
			h := s.stands.Glory.LastRequest().Header
			for name, want := range map[string]string{"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": "gateway.test", "X-Forwarded-Proto": "http", "Forwarded": ""} {
				if got := strings.Join(h[name], "|"); got != want {
					t.Errorf("Glory got %s: %q, want %q", name, got, want)
				}
			}
		},
	})
	good("H07", "credentials of the member", "Cookie: a=EVIL", "Proxy-Authorization: Basic EVIL")
	good("H08", "h2c", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")
	attacks = append(attacks, attack{
		row: "H08", name: "h2c, upstream willing", send: s.member("GET", "/v1/sessions", "Connection: Upgrade", "Upgrade: h2c"), want: []int{502}, rooms: 1,
		before: func(s *arena) { s.stands.Interwater.SetFaults(sandbox.Fault{Kind: sandbox.KindUpgrade}) },
	})
	bearer := "Authorization: Bearer " + s.token + "\r\n"
	raw := func(id, name, request string, status, rooms int) {
		attacks = append(attacks, attack{row: id, name: name, send: strings.ReplaceAll(request, "AUTH", bearer), want: []int{status}, rooms: rooms})
	}
	// There is no allow-list of hosts. Any well-formed host is served, and is used only for X-Forwarded-Host.
	raw("H10", "Host of another", "GET /v1/sessions HTTP/1.1\r\nHost: "+s.evil+"\r\nAUTH\r\n", 200, 1)
	raw("H10", "Host with user info", "GET /v1/sessions HTTP/1.1\r\nHost: gw@"+s.evil+"\r\nAUTH\r\n", 400, 0)
	raw("H10", "Host with a path", "GET /v1/sessions HTTP/1.1\r\nHost: "+s.evil+"/x\r\nAUTH\r\n", 400, 0)
	raw("H10", "no Host", "GET /v1/sessions HTTP/1.1\r\nAUTH\r\n", 400, 0)
	raw("H10", "Host twice", "GET /v1/sessions HTTP/1.1\r\nHost: a\r\nHost: b\r\nAUTH\r\n", 400, 0)
	good("H10", "X-Forwarded-Host", "X-Forwarded-Host: EVIL")
	raw("H14", "HTTP/1.0 without Host", "GET /v1/sessions HTTP/1.0\r\nAUTH\r\n", 200, 1)
	raw("H14", "HTTP/0.9", "GET /v1/sessions\r\nAUTH\r\n", 400, 0)
	raw("H14", "HTTP/9.9", "GET /v1/sessions HTTP/9.9\r\nHost: a\r\nAUTH\r\n", 505, 0)
	for _, host := range []string{"[::1", "[::1]x", "[fe80::1%25en0]"} {
		raw("H15", "Host "+host, "GET /v1/sessions HTTP/1.1\r\nHost: "+host+"\r\nAUTH\r\n", 400, 0)
	}
	attacks = append(attacks,
		attack{row: "H11", name: "1,500 headers", send: s.member("GET", "/v1/sessions", manyLines(1500)...), want: []int{431}},
		attack{row: "H11", name: "101 headers", send: s.member("GET", "/v1/sessions", manyLines(99)...), want: []int{431}},
		attack{row: "H11", name: "100 headers", send: s.member("GET", "/v1/sessions", manyLines(98)...), want: []int{200}, rooms: 1},
		attack{row: "H11", name: "header of 25 KiB", send: s.member("GET", "/v1/sessions", "X-A: "+strings.Repeat("a", 25<<10)), want: []int{431}, closes: true},
		attack{row: "H11", name: "cookie of 64 KiB", send: s.member("GET", "/v1/sessions", "Cookie: "+strings.Repeat("a", 64<<10)), want: []int{431}, closes: true},
		attack{row: "H12", name: "query that parsers cut", send: s.member("GET", "/v1/sessions?a=1;b=2&c=%zz&d=1"), want: []int{400}},
		attack{row: "H17 U08", name: "compression is the client's to ask for", send: s.member("GET", "/v1/sessions"), want: []int{200}, rooms: 1, look: encodingAsked("")},
		attack{row: "H17 U08", name: "compression asked for", send: s.member("GET", "/v1/sessions", "Accept-Encoding: gzip"), want: []int{200}, rooms: 1, look: encodingAsked("gzip")},
	)
	s.play(t, attacks)
	s.retired(t)
}

func manyLines(n int) []string { return slices.Repeat([]string{"X-A: b"}, n) }

// encodingAsked checks the Accept-Encoding that Interwater got.
func encodingAsked(want string) func(*testing.T, *arena, []reply) {
	return func(t *testing.T, s *arena, _ []reply) {
		if got := strings.Join(s.stands.Interwater.LastRoomRequest().Header["Accept-Encoding"], "|"); got != want {
			t.Errorf("Accept-Encoding: %q, want %q", got, want)
		}
	}
}

// While no access token can be had, a client's credential isn't used instead, and the answer doesn't blame the client.
func TestClientsCredentialStandsInForNone(t *testing.T) { bothModes(t, clientsCredential) }

func clientsCredential(t *testing.T, s *arena) {
	s.play(t, []attack{{
		row: "H03", name: "while no token can be had", send: s.member("GET", "/v1/sessions", "s-connector-jwt: EVIL"), want: []int{503}, rooms: 1, auth: 1,
		before: func(s *arena) {
			// The revoked token is rejected once; the next one can't be had.
			s.stands.Interwater.RevokeTokens()
			s.stands.Interwater.SetFaults(sandbox.Fault{Path: "/v1/auth", Status: 500})
		},
		look: func(t *testing.T, _ *arena, got []reply) {
			if got[0].header.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
		},
	}})
	s.retired(t)
}
