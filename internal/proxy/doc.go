// Package proxy is the gateway's HTTP side: it decides by the request target as it was sent which route a request takes,
// keeps the limits, and forwards through httputil.ReverseProxy to Glory or, with the license's access token, to
// Interwater.
//
// A request's way, once through:
//
//	observe → recover → limits → route ─ Glory ──────────────────────────────▶ ReverseProxy
//	                                   └ room ─ authenticate ─ authorize ────▶ ReverseProxy
//	                                                                            │ credentials and repair
//	                                                                            │ time limit
//	                                                                            ▼ http.Transport
//
// What a client may reach is declared: a path, query or header that no rule names does not pass. Every error that the
// gateway itself answers is listed in errors.go.
package proxy
