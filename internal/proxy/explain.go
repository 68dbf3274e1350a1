package proxy

import "net/http"

// Destination is where a request would go.
type Destination struct {
	Route    string `json:"route"`    // the pattern; "" if none matches
	Upstream string `json:"upstream"` // glory or interwater; "" if the gateway answers itself
	Status   int    `json:"status"`   // of the gateway's own answer; 0 if an upstream answers
	Path     string `json:"path"`     // as sent
	Room     string `json:"room"`
}

// Explain finds the route for a method and a request target. It forwards nothing. patterns is Options.RoomRoutes, and apiDocs is
// Options.APIDocs. browsers says that Options.Sessions is set. The error is about the patterns.
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
