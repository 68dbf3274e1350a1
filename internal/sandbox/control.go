package sandbox

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
)

// controlPrefix begins like no path of either API.
const controlPrefix = "/_sandbox/"

// control answers a request for a control route, and reports whether it was one. Such requests are neither counted nor recorded,
// and faults don't apply to them. The routes are for programs that can't call Go, such as load scripts.
func (f *front) control(w http.ResponseWriter, r *http.Request) bool {
	if !strings.HasPrefix(r.URL.Path, controlPrefix) {
		return false
	}
	// Use the peer's own address, not X-Forwarded-For: a client can send any header.
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !peer.Addr().Unmap().IsLoopback() {
		f.refuse(w, http.StatusForbidden, "control routes are for loopback peers")
		return true
	}
	f.ctl.ServeHTTP(w, r)
	return true
}

// controls returns the routes that both stand-ins have. The caller may add its own. GET stats answers stats(); POST reset calls
// reset. ServeMux answers unknown routes with its own 404 and 405, which no document describes.
func (f *front) controls(stats func() any, reset func()) *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+controlPrefix+"stats", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, stats())
	})
	mux.HandleFunc("GET "+controlPrefix+"faults", f.showFaults)
	mux.HandleFunc("PUT "+controlPrefix+"faults", func(w http.ResponseWriter, r *http.Request) {
		// 1 MiB leaves room for faults with bodies.
		faults, err := parseFaults(io.LimitReader(r.Body, 1<<20))
		if err != nil {
			f.refuse(w, http.StatusBadRequest, err.Error())
			return
		}
		f.faults.set(faults)
		f.showFaults(w, r)
	})
	mux.HandleFunc("DELETE "+controlPrefix+"faults", func(w http.ResponseWriter, r *http.Request) {
		f.faults.set(nil)
		f.showFaults(w, r)
	})
	mux.HandleFunc("POST "+controlPrefix+"reset", func(w http.ResponseWriter, _ *http.Request) {
		reset()
		writeJSON(w, http.StatusOK, stats())
	})
	return mux
}

// showFaults answers with the faults in force. After a PUT this shows the sender what was understood.
func (f *front) showFaults(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, f.faults.list())
}

// parseFaults reads a JSON list of faults. It is strict: a misspelt name would be a fault that never happens, and a test that
// proves nothing.
func parseFaults(r io.Reader) ([]Fault, error) {
	raw, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("read faults: %w", err)
	}
	// Fault.UnmarshalJSON refuses unknown names.
	var faults []Fault
	if err := json.Unmarshal(raw, &faults); err != nil {
		return nil, fmt.Errorf("parse faults: %w", err)
	}
	// Accept all or none: half a list in force would be a mistake of ours.
	for n, f := range faults {
		if err := f.check(); err != nil {
			return nil, fmt.Errorf("fault %d: %w", n, err)
		}
	}
	return faults, nil
}

// strict unmarshals one JSON value and refuses unknown names. An UnmarshalJSON method must do that itself: the outer decoder's
// strictness doesn't reach it.
func strict(raw []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	return dec.Decode(v)
}
