// Package bridge decides, for one request, who asks and what may go upstream. It authenticates the member by the JWT that Glory
// has issued, chooses the license that admits the member, and supplies the access token that Interwater wants for that license.
//
// It calls only the authentication endpoints of the two upstreams: Glory's check_login and profile, and Interwater's v1/auth. How
// requests are served and forwarded is package proxy's. So is the turning of errors into statuses: errors.go lists the errors.
//
// # One request
//
//	Authorization ─▶ Authenticate ─▶ Member ─▶ Authorize ─▶ Grant ─▶ Credential ─▶ access token
//	                 (membertoken.go,           (authorize.go,         (accesstoken.go,
//	                  local.go, remote.go)       rules.go)              package tokencache)
//
// If Interwater rejects the access token, Reject reports it, and the next Credential returns another one.
//
// # Members
//
// A member token is a JWT. Whatever isn't one by its form, or has expired, is turned away without any call. There are two modes:
//
//   - Local: the signature and the claims are verified in process, with the secrets in Options.Local.
//   - Remote: without secrets, Glory is asked through check_login. Its verdict is kept on this replica and, sealed, in Redis. It is
//     fresh for Options.MemberCacheTTL. After that it is stale, and is used for up to four more of these times while Glory fails.
//     memory.go has this, for profiles as well.
//
// In both modes a token that was valid once is remembered by its hash, with what a request needs of it (known.go). So most
// requests neither parse nor verify the token, and call nobody.
//
// # Licenses
//
// Each license has two rules in CEL. The first license whose Allow is true serves the request; if its Owner is true too, the access
// token has the role of an owner. A rule may use the member's claims and profile, and the request. If no rule looks at the
// request, the decision is remembered with the member's token, until Reload or the end of the profile that it was made with.
//
// The deny list counts before all rules. A change of it counts for the next request. It has the members and tokens that an
// operator denies (denied.go), and those that were logged out (logout.go).
//
// # Reload
//
// JWT secrets, license keys and rules can be replaced at run time. They are in one value that never changes (secrets.go): a step of a
// request loads it once and isn't disturbed by Reload, which puts a new value in its place.
package bridge
