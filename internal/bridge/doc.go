// Package bridge decides, for one request, who asks and what may go upstream: it authenticates the member by the JWT
// that Glory issued, chooses the license that admits the member, and supplies the access token that Interwater wants
// for that license.
//
// It speaks to the two upstreams' authentication endpoints itself (Glory's check_login, Interwater's v1/auth) and knows
// nothing of how requests are served or forwarded: its answers are values and a handful of errors (errors.go).
package bridge
