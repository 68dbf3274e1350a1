package sandbox

// The control routes under /_sandbox/: the knobs for whoever can't call Go, such as a load script.

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
)

// controlPrefix begins with what no path of either API does.
const controlPrefix = "/_sandbox/"

// control answers a request for a control route and reports whether it was one. Such requests are
// neither counted nor recorded, and no fault touches them.
func (f *front) control(w http.ResponseWriter, r *http.Request) bool {
	if !strings.HasPrefix(r.URL.Path, controlPrefix) {
		return false
	}
	// The peer's own address, whatever X-Forwarded-For says: headers can be made up.
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !peer.Addr().Unmap().IsLoopback() {
		f.refuse(w, http.StatusForbidden, "control routes are for loopback peers")
		return true
	}
	f.ctl.ServeHTTP(w, r)
	return true
}

// controls makes the routes that both stand-ins have; the caller may add its own. stats is what to
// show as JSON, reset what to clear. ServeMux brings its own plain 404 and 405, which do for a route
// that neither document knows.
func (f *front) controls(stats func() any, reset func()) *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+controlPrefix+"stats", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, stats())
	})
	mux.HandleFunc("GET "+controlPrefix+"faults", f.showFaults)
	mux.HandleFunc("PUT "+controlPrefix+"faults", func(w http.ResponseWriter, r *http.Request) {
		// A megabyte leaves room for bodies that are to be served.
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

// showFaults answers with what is in force, which after a PUT tells the sender what was understood.
func (f *front) showFaults(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, f.faults.list())
}

// parseFaults reads a JSON list of faults. It is strict: a misspelt name would be a fault that never
// happens, and a test that proves nothing.
func parseFaults(r io.Reader) ([]Fault, error) {
	raw, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("read faults: %w", err)
	}
	// Fault's own UnmarshalJSON is the strict part.
	var faults []Fault
	if err := json.Unmarshal(raw, &faults); err != nil {
		return nil, fmt.Errorf("parse faults: %w", err)
	}
	// All or nothing: half a list in force would be a fault of ours.
	for n, f := range faults {
		if err := f.check(); err != nil {
			return nil, fmt.Errorf("fault %d: %w", n, err)
		}
	}
	return faults, nil
}

// strict unmarshals one JSON value and refuses unknown names. A custom UnmarshalJSON has to do that for
// itself: the outer decoder's strictness ends there.
func strict(raw []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	return dec.Decode(v)
}
