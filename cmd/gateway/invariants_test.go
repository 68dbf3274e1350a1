package main

// What must hold whatever clients and upstreams do:
//
//   - I1: only declared room routes reach Interwater.
//   - I2: Interwater gets the gateway's credential, and nothing that a client claims about itself.
//   - I3: no secret comes out.
//   - I4: one request is one request upstream. Each attack says how many must arrive.
//   - I5: nothing is left behind. retired checks it.
//   - I6: each request ends in time, with a status.

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// declared and unclean describe the room routes that may reach Interwater. Dots alone are no room name. A name has no encoded slash,
// backslash or control character.
var (
	declared = regexp.MustCompile(`^/v1/(info|sessions|sessions/([^/?#%\\;]|%[0-9A-Fa-f]{2})+)(\?[^#;]*)?$`)
	unclean  = regexp.MustCompile(`(?i)^/v1/sessions/(\.|%2e){1,2}(\?|$)|%(2f|5c|0.|1.|7f)`)
	folded   = regexp.MustCompile(`[^a-z0-9]`)
	// interwaterHeaders are all headers that may be sent to Interwater.
	interwaterHeaders = " accept accept-encoding accept-language user-agent if-none-match if-modified-since " +
		"traceparent tracestate x-request-id x-forwarded-for x-forwarded-host x-forwarded-proto via s-connector-jwt "
)

// invariants checks all requests that have reached an upstream, and the answers, after an attack.
func (s *arena) invariants(t *testing.T, replies []reply, raw string) {
	t.Helper()
	for _, r := range s.stands.Interwater.RoomRequests() {
		if r.Method != "GET" && r.Method != "HEAD" || !declared.MatchString(r.RequestURI) || unclean.MatchString(r.RequestURI) {
			t.Errorf("I1: Interwater got %s %s", r.Method, r.RequestURI)
		}
		for name, values := range r.Header {
			lower := strings.ToLower(name)
			if !strings.Contains(interwaterHeaders, " "+lower+" ") {
				t.Errorf("I2: Interwater got %s: %q", name, values)
			}
			if text := strings.Join(values, "\n"); strings.Contains(text, "EVIL") || strings.Contains(text, s.token) {
				t.Errorf("I2: Interwater got the client's %s: %q", name, values)
			}
		}
		if got := r.Header["S-Connector-Jwt"]; len(got) != 1 || strings.Count(got[0], ".") != 2 {
			t.Errorf("I2: the credential is %q", got)
		}
	}
	for _, r := range s.stands.Glory.Requests() {
		for name := range r.Header {
			if folded.ReplaceAllString(strings.ToLower(name), "") == "sconnectorjwt" {
				t.Errorf("I2: Glory got %s", name)
			}
		}
	}
	for what, secret := range s.secrets() {
		if strings.Contains(raw, secret) {
			t.Errorf("I3: the %s is in the answer %.300q", what, raw)
		}
	}
	for _, r := range replies {
		if r.status < 200 || r.status >= 300 && r.status < 400 && s.stands.Interwater.RoomCalls() > 0 {
			t.Errorf("I6: status %d", r.status)
		}
		if strings.Contains(fmt.Sprint(r.header), s.evil) || strings.Contains(raw, "dial tcp") || strings.Contains(raw, s.stands.InterwaterURL) {
			t.Errorf("the answer tells of hosts: %.300q", raw)
		}
	}
	if hits := s.evilHit.Load(); hits > 0 {
		t.Errorf("another host was contacted %d times", hits)
	}
}

// secrets returns all that must not come out of the gateway, by name.
func (s *arena) secrets() map[string]string {
	license := s.stands.Interwater.Licenses()[0]
	all := map[string]string{"secret key": license.SecretKey, "access key": license.AccessKey, "JWT secret": s.stands.Glory.Secret()}
	if token := s.stands.Interwater.LastRoomRequest().Header.Get("s-connector-jwt"); token != "" {
		all["access token"] = token
	}
	return all
}

// footprint is what a process holds.
type footprint struct{ goroutines, files, heap float64 }

// footprint returns the gateway's footprint after a garbage collection.
func (s *arena) footprint(t *testing.T) footprint {
	t.Helper()
	get(t, s.looker, s.admin+"/debug/pprof/heap?gc=1", "").want(t, 200)
	values := s.metrics(t)
	return footprint{values["go_goroutines"], values["process_open_fds"], values["go_memstats_heap_alloc_bytes"]}
}

// files returns how many file descriptors the process has open, connections among them.
func (s *arena) files(t *testing.T) float64 {
	t.Helper()
	return s.metrics(t)["process_open_fds"]
}

// metrics returns all series with their values.
func (s *arena) metrics(t *testing.T) map[string]float64 {
	t.Helper()
	values := map[string]float64{}
	for line := range strings.Lines(get(t, s.looker, s.admin+"/metrics", "").want(t, 200).body) {
		if at := strings.LastIndexByte(line, ' '); at > 0 && line[0] != '#' {
			values[line[:at]], _ = strconv.ParseFloat(strings.TrimSpace(line[at:]), 64)
		}
	}
	return values
}

// retired ends a test. Nothing may be left behind (I5). The log may have no secret and no line that a client wrote (I3). The process
// must exit well, which it doesn't after a data race.
func (s *arena) retired(t *testing.T) {
	t.Helper()
	secrets := s.secrets()
	secrets["member token"] = s.token
	s.stands.Close() // the pool of idle connections to it is no leak
	var now footprint
	deadline := time.Now().Add(patience)
	for tick := time.NewTicker(100 * time.Millisecond); ; <-tick.C {
		now = s.footprint(t)
		if now.goroutines <= s.base.goroutines+10 && now.files <= s.base.files+5 && now.heap <= s.base.heap+16<<20 {
			tick.Stop()
			break
		}
		if time.Now().After(deadline) {
			t.Errorf("I5: left behind: %+v, at the start %+v", now, s.base)
			break
		}
	}
	t.Logf("footprint: %+v, at the start %+v", now, s.base)
	s.ends(t, secrets)
}

// ends stops the gateway, and checks its exit and its log.
func (s *arena) ends(t *testing.T, secrets map[string]string) {
	t.Helper()
	s.stop()
	if err := s.ended(); err != nil { // after it the log is complete
		t.Errorf("the end: %v", err)
	}
	text := s.log.String()
	for what, secret := range secrets {
		if strings.Contains(text, secret) {
			t.Errorf("I3: the %s is in the log", what)
		}
	}
	for line := range strings.Lines(text) {
		if !json.Valid([]byte(line)) {
			t.Fatalf("not a line of the log: %.2000s", text[strings.Index(text, line):])
		}
	}
}
