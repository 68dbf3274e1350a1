package proxy

// This file tells an operator where a request would go.

import "net/http"

// Destination is where a request goes.
type Destination struct {
	Route    string `json:"route"`    // the pattern; "" where none matches
	Upstream string `json:"upstream"` // glory, interwater, or "" for nowhere
	Status   int    `json:"status"`   // of the gateway's own answer, where it goes nowhere
	Path     string `json:"path"`     // as sent
	Room     string `json:"room"`
}

// Explain applies the route table to a method and a request target.
func Explain(patterns []string, method, requestTarget string) (Destination, error) {
	glory, room := http.NewServeMux(), http.NewServeMux() // to be told apart only
	table, err := newRouteTable(patterns, glory, room, nil)
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
	default:
		d.Upstream = upstreamInterwater
	}
	return d, nil
}
