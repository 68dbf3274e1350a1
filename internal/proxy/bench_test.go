package proxy

// This file measures the whole handler, without sockets on the client's side.

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
)

// BenchmarkRoomRequest is a room request through everything but a listener: authorised, forwarded over loopback, relayed.
func BenchmarkRoomRequest(b *testing.B) {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"status":true,"data":{"room":"room1"}}`))
	}))
	defer upstream.Close()
	p := setup{Glory: mustParse(upstream.URL), Interwater: mustParse(upstream.URL), Options: Options{
		RoomRoutes: []string{"GET /v1/info", "GET /v1/sessions", "GET /v1/sessions/{room_name}"}, RejectStatuses: []int{401, 403},
		Bridge: steadyBridge{}, MaxBodyBytes: 1 << 20, MaxHeaderBytes: 16 << 10, MaxInFlight: 100, Log: slog.New(slog.DiscardHandler),
		RoomCoalesce: true,
	}}.handler(b)
	request := httptest.NewRequest(http.MethodGet, "/v1/sessions/room1", nil)
	request.Header.Set("Authorization", "Bearer "+fuzzMemberToken)
	b.ReportAllocs()
	for b.Loop() {
		w := httptest.NewRecorder()
		p.ServeHTTP(w, request)
		if w.Code != http.StatusOK {
			b.Fatal(w.Code)
		}
	}
}
