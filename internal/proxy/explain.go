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

// Explain applies the route table to a method and a request target. apiDocs is Options.APIDocs; browsers: there are Options.Sessions.
func Explain(patterns []string, apiDocs, browsers bool, method, requestTarget string) (Destination, error) {
	own, err := newAPIDocs(apiDocs)
	if err != nil {
		return Destination{}, err
	}
	addSessionRoutes(own, nil, nil, nil, browsers)
	table, err := newRouteTable(patterns, &endpoint{upstream: upstreamGlory}, &endpoint{upstream: upstreamInterwater}, own, nil)
	if err != nil {
		return Destination{}, err
	}
	c := &call{}
	to, err := table.lookup(&http.Request{Method: method, RequestURI: requestTarget}, method, c)
	d := Destination{Route: c.route, Path: c.target.path, Room: c.room}
	switch {
	case err != nil:
		d.Route, d.Status = "", explain(err).status
	case to.redirect:
		d.Status = http.StatusFound
	case to.upstream == "": // the gateway itself
		d.Status = http.StatusOK
	default:
		d.Upstream = to.upstream
	}
	return d, nil
}
