// Package sandbox runs stand-ins for the two upstreams: Glory, the member API, and Interwater, the room API. They are real servers:
// they sign and check JSON Web Tokens, hash passwords, refuse what the real ones refuse, and misbehave on demand (see [Fault]).
// They are written from the API documents alone and share no code with the client side, so the same mistake can't hide on both sides.
//
// Both are http.Handlers. [Start] runs each on a server of its own. [NewGlory] and [NewInterwater] return the bare handler, for
// use with the caller's server.
//
// # Faults
//
// A list of [Fault] is in force, empty at first. Only the first fault that matches a request applies to it. SetFaults of either
// stand-in sets the list; so does an HTTP request:
//
//	curl -X PUT http://127.0.0.1:PORT/_sandbox/faults -d '[
//	  {"path": "/v1/auth", "times": 3, "status": 503, "retry_after": 2},
//	  {"path": "/v1/auth", "token": {"ttl": "30s", "skew": "-5m"}},
//	  {"path": "/v1/sessions*", "delay": "250ms"}]'
//
// # Control
//
// Each server has control routes under /_sandbox/. They answer only peers on a loopback address:
//
//	GET    /_sandbox/stats    counts of the requests seen
//	GET    /_sandbox/faults   the faults in force, a JSON list of Fault
//	PUT    /_sandbox/faults   replace them; answers with those in force
//	DELETE /_sandbox/faults   clear them
//	POST   /_sandbox/reset    clear faults, counts and recorded requests
//	POST   /_sandbox/revoke   Interwater: revoke every access token issued so far
//
// # Where the documents are silent
//
// Glory:
//
//   - GET health answers {"data":{"result":"ok"}}.
//   - All five fields of join, and both of login, are strings that must not be empty. In join, an id has at most 64 bytes and no
//     space or control character, a password at most 72 bytes (the most that bcrypt takes), any other field at most 255 bytes.
//     Unknown names are ignored. Everything else gets the 400 for parameters. So does a body that is not JSON, is over 64 KiB,
//     or is not sent as application/json.
//   - Ids are compared byte by byte. sub is the member's number in order of joining. The demo member is "1", so the first to
//     join is "2", as in the document.
//   - A new member has 1000 points and no homepage. datetime is when they joined; todayLogin is the last login, joining included.
//     Both are in Korean time.
//   - Every failure of a member token gets the documented 403: none, two, another scheme, malformed, forged, expired, another
//     issuer or algorithm. Under /api/ it comes before 404 and 405. check_login trusts the token alone; profile also requires
//     that the member exists (403).
//   - 404 and 405 have the usual envelope with the status text as message. HEAD is answered like GET.
//   - Passwords are hashed at bcrypt's lowest cost: load tests log in often, and nothing here needs protection.
//
// Interwater:
//
//   - Errors are {"status":false,"message":"…"} with a matching HTTP status. 400: a body that is not JSON, is over 64 KiB, is not
//     sent as application/json, or contains a wrong type. 401: a wrong key pair, or an access token that is missing, sent twice,
//     unknown, expired or revoked. 404: an unknown path, or a room that is not open. 405: another method.
//   - expires is a number of minutes over 0 and at most 525,600 (a year). Fractions are allowed; the default is 60. The
//     claims count whole seconds, so the lifetime is rounded up to a whole second.
//   - An access token has only the documented header and claims; isOwner is there only if it is true. Each token is signed with
//     a key of its own, so that two of the same second differ. A token is valid if it is, byte for byte, one that was issued, and
//     is neither revoked nor expired. That is stricter than a signature, and no token outlives its sandbox.
//   - Fixed routes are matched as tolerant servers do: percent-encoding, letter case and one trailing slash make no difference.
//     A room name is one path segment, decoded once.
//   - All licenses see the same rooms, each under its own domain and at most its roomLimit. user is the number of sessionTokens in
//     the listing. A participant's address, in the field token, is under sandbox.invalid. It is complete, while the document's
//     is cut after 100 characters.
//   - HEAD is answered like GET. Bodies of GET are ignored.
package sandbox
