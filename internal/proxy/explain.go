package proxy

// This file tells an operator where a request would go.

import "net/http"

// Destination is where a request goes.
type Destination struct {
	Route    string `json:"route"`    // the pattern; "" where none matches
	Upstream string `json:"upstream"` // glory, interwater, or "" where the gateway answers itself
	Status   int    `json:"status"`   // of the gateway's own answer; 0 where an upstream's
	Path     string `json:"path"`     // as sent
	Room     string `json:"room"`
}

// Explain applies the route table to a method and a request target. apiDocs is Options.APIDocs.
func Explain(patterns []string, apiDocs bool, method, requestTarget string) (Destination, error) {
	glory, room := http.NewServeMux(), http.NewServeMux() // to be told apart only
	pages, err := newAPIDocs(apiDocs)
	if err != nil {
		return Destination{}, err
	}
	table, err := newRouteTable(patterns, glory, room, pages, nil)
	if err != nil {
		return Destination{}, err
	}
	ex := &exchange{}
	next, err := table.route(&http.Request{Method: method, RequestURI: requestTarget}, method, ex)
	d := Destination{Route: ex.route, Path: ex.target.path, Room: ex.room}
	switch {
	case err != nil:
		d.Route, d.Status = "", explain(err).status
	case next == http.Handler(glory):
		d.Upstream = upstreamGlory
	case next == http.Handler(room):
		d.Upstream = upstreamInterwater
	default: // a page of its own
		d.Status = http.StatusOK
	}
	return d, nil
}
