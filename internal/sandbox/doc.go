// Package sandbox runs stand-ins of the two upstreams: Glory, the member API, and Interwater, the
// room API. They are real servers with teeth: they sign and check real JSON Web Tokens, hash
// passwords, refuse what the real ones refuse, and misbehave on demand (see [Fault]). They are
// written from the API documents alone and share no code with the client side, so a mistake there
// can't hide behind the same mistake here.
//
// Both are http.Handlers. [Start] gives each a server of its own; [NewGlory] and [NewInterwater]
// give the bare handler, for a server of the caller's.
//
// # Faults
//
// A list of [Fault] is in force, empty at first; the first that matches a request applies to it, alone.
// It is set by SetFaults of either stand-in, or from outside:
//
//	curl -X PUT http://127.0.0.1:PORT/_sandbox/faults -d '[
//	  {"path": "/v1/auth", "times": 3, "status": 503, "retry_after": 2},
//	  {"path": "/v1/auth", "token": {"ttl": "30s", "skew": "-5m"}},
//	  {"path": "/v1/sessions*", "delay": "250ms"}]'
//
// # Control
//
// Each server answers peers on a loopback address, and only them, under /_sandbox/:
//
//	GET    /_sandbox/stats    counts of the requests seen
//	GET    /_sandbox/faults   the faults in force, a JSON list of Fault
//	PUT    /_sandbox/faults   replace them; answers those in force
//	DELETE /_sandbox/faults   clear them
//	POST   /_sandbox/reset    clear faults, counts and recorded requests
//	POST   /_sandbox/revoke   Interwater: revoke every access token issued so far
//
// # Where the documents are silent
//
// Glory:
//
//   - GET health answers {"data":{"result":"ok"}}.
//   - All five fields of join, and both of login, are strings that must not be empty. An id has at
//     most 64 bytes and no space or control character, a password at most 72 bytes (the most that
//     bcrypt takes), any other field at most 255 bytes. Names that are not listed are ignored. Else: the 400 for
//     parameters, as for a body that is no JSON, is over 64 KiB or is not sent as application/json.
//   - Ids are compared byte by byte. sub is the member's number in order of joining; the demo
//     member is "1", so that the first to join is "2" as in the document.
//   - A new member has 1000 points and no homepage. datetime is when they joined; todayLogin the
//     last login, joining included. Both are Korean time.
//   - Every failure of a member token is the documented 403: none, two, another scheme, malformed,
//     forged, expired, another issuer or algorithm. It comes before 404 and 405 under /api/.
//     check_login trusts the token alone; profile also wants the member to exist (403).
//   - 404 and 405 have the usual envelope with the status text as message. HEAD is answered as GET.
//   - Passwords are hashed at bcrypt's lowest cost: load tests log in often, and nothing in here is
//     worth guarding.
//
// Interwater:
//
//   - Errors are {"status":false,"message":"…"} with a matching HTTP status: 400 for a body that is
//     no JSON, is over 64 KiB, is not sent as application/json or has a wrong type in it; 401 for a wrong
//     key pair, and for an access token that is missing, sent twice, unknown, expired or revoked;
//     404 for an unknown path or a room that is not open; 405.
//   - expires is a number of minutes over 0 and at most 525,600 (a year), fractions allowed, 60 when
//     absent. The claims count whole seconds, so the life is rounded up to one.
//   - An access token has the documented header and claims and no other; isOwner is there only when
//     true. Each is signed with a key of its own, which is what makes two of the same second differ.
//     A token counts when it is, byte for byte, one that was issued, is not revoked and not expired:
//     stricter than a signature, and none outlives its sandbox.
//   - Fixed routes are found as forgiving servers find them: percent-encoding, letter case and one
//     trailing slash make no difference. A room name is one path segment, decoded once.
//   - All licenses see the same rooms, each under its own domain and no more than its roomLimit.
//     user is the number of sessionTokens in the listing. A participant's address, in the field token,
//     is under sandbox.invalid, and whole where the document's is cut after 100 characters.
//   - HEAD is answered as GET. Bodies of GET are ignored.
package sandbox
