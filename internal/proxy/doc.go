// Package proxy is the public side of the gateway: HTTP in, HTTP out.
//
// # A request's way
//
// Package lane has already checked each HTTP/1 request by the strict reading of the RFCs. A request passes these steps once, and
// never goes back:
//
//	begin ─▶ check ─▶ route ─▶ session ─┬─ room ─▶ admit ─▶ ReverseProxy ─▶ fetch ─▶ finish
//	                                    ├─ Glory ─▶ ReverseProxy ─▶ upstream ─▶ finish
//	                                    └─ page, login or logout, preflight or error ─▶ finish
//
// A member's GET of a room, function by function:
//
//  1. Proxy.ServeHTTP opens the call, the record of this request (begin).
//  2. Proxy.check enforces the limits on size and number.
//  3. routeTable.route checks the target as sent and finds the route.
//  4. sessions.bear removes the session cookie. If there is no Authorization, it adds the token of the session.
//  5. roomHandler.serve checks that there is no body.
//  6. It calls admit: authenticate, the member's limit, authorize.
//  7. call.ask writes the question: all that the answer may depend on.
//  8. ReverseProxy calls fetcher.RoundTrip, which looks for a kept or shared answer.
//  9. fetcher.ask gets the access token and makes the call. If Interwater rejects the token, it gets another and calls again.
//  10. upstream.Upstream sends the request to Interwater.
//  11. ReverseProxy writes the answer through writer, and finish logs and counts it.
//
// # The plain way
//
// Package lane passes plain requests (its doc says which) to Proxy.AnswerPlain. A request for a room skips what net/http and
// ReverseProxy do, and nothing else:
//
//	recognise ─▶ begin ─▶ room ─▶ admit ─▶ fetch ─▶ finish
//
// Function by function:
//
//  1. plainCall.recognise finds the route and the headers that matter. If it isn't sure, net/http gets the request, which then goes
//     the way above.
//  2. Proxy.beginPlain opens the call.
//  3. Proxy.servePlain checks MAX_IN_FLIGHT, the one limit that the lane hasn't checked.
//  4. roomHandler.prepare calls the same admit and ask, and servePlain the same fetch.
//  5. Proxy.headPlain writes the same header lines in the same order, and finishPlain logs and counts.
//
// # Where the rules are
//
// Each rule exists once:
//
//   - routes: routes.go. Which target is clean: target.go.
//   - headers: headers.go. One table for both directions; a flag makes a header part of the question.
//   - errors: errors.go. One table from an error to its answer.
//   - limits on size and number: check.go. Bodies of login and join: glory.go. Connections: listener.go. Rate limits: package fleet.
//   - browser sessions: session.go. Their cookie: cookie.go. How they begin: sessionlogin.go.
//   - who may use rooms: package bridge; admit.go asks it.
//   - what concurrent room requests share: share.go. What is kept for later ones: keep.go.
//   - a second check of where a room request goes: guard.go and package upstream.
//
// The call travels as an argument. It travels in a context only across ReverseProxy.
package proxy
