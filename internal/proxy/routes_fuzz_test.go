package proxy

// plainRoom finds a room's route without ServeMux. If it finds one, ServeMux finds the same.

import (
	"net/http"
	"strings"
	"testing"

	"roomgate/internal/lane"
)

// patternSets are route tables whose patterns overlap, take any rest of a path, or mean the same in different spellings.
func patternSets() [][]string {
	return [][]string{
		defaultRoutes,
		{"GET /v1/sessions/{room_name}", "GET /v1/sessions/recent", "HEAD /v1/info", "POST /v1/sessions", "GET /v1/sessions/{room_name}/members"},
		{"GET /{kind}/sessions/{room_name}", "GET /v2/{room_name}/members/", "GET /v1/{$}", "GET /v1/sessions/{room_name}/{$}"},
		{"GET /v1/rooms/{room_name...}", "GET /v1/a%20b/{room_name}", "GET /v1/가/{room_name}", "GET /v1/%ea%b0%81", "GET /v2/{room_name}/x/{rest...}"},
	}
}

func FuzzPlainRoomIsServeMuxs(f *testing.F) {
	var tables []*routeTable
	_, glory, room := testTable(f)
	for i, patterns := range patternSets() {
		table, err := newRouteTable(patterns, glory, room, map[string]*endpoint{"GET /v1/sessions/docs": {}}, nil)
		if err != nil {
			f.Fatal(err)
		}
		tables = append(tables, table)
		for _, pattern := range patterns {
			path := pattern[strings.Index(pattern, "/"):]
			for _, name := range append(cleanNames, "recent", "docs", "a/b", "", "%20", "a%20b", strings.Repeat("a", maxRoomName+1), strings.Repeat("%20", maxRoomName)) {
				f.Add(strings.NewReplacer("{room_name}", name, "{room_name...}", name, "{kind}", name, "{rest...}", name, "{$}", "").Replace(path), uint8(i))
			}
		}
	}
	f.Fuzz(func(t *testing.T, path string, set uint8) {
		at, err := splitTarget(path)
		if err != nil || !lane.ValidURI(path) {
			return // plainRoom gets clean paths only: see recognise
		}
		table := tables[int(set)%len(tables)]
		pattern, name := table.plainRoom(at.path)
		if pattern == "" {
			return
		}
		c := &call{}
		found, err := table.lookup(&http.Request{Method: http.MethodGet, RequestURI: path, Host: "g", ProtoMajor: 1, ProtoMinor: 1}, http.MethodGet, c)
		if err != nil || found != room || c.route != pattern || c.room != name || c.target != at {
			t.Errorf("%q: %q, %q; ServeMux finds %v, %q, %q, %v", path, pattern, name, found, c.route, c.room, err)
		}
	})
}
