// Package proxy is the public side of the gateway: HTTP in, HTTP out.
//
// # A request's way
//
// Package lane has read each HTTP/1 request strictly before. Each request passes these steps once. None of them goes back.
//
//	begin ─▶ check ─▶ route ─▶ session ─┬─ room ─▶ admit ─▶ ReverseProxy ─▶ fetch ─▶ finish
//	                                    ├─ Glory ─▶ ReverseProxy ─▶ upstream ─▶ finish
//	                                    └─ page, login or logout, preflight or error ─▶ finish
//
// A member's GET of a room, function by function:
//
//  1. Proxy.ServeHTTP opens the call, the record of this request (begin).
//  2. Proxy.check holds the request to its bounds.
//  3. routeTable.route judges the target as sent and finds the route.
//  4. sessions.bear takes a session's cookie off, and puts its token in the place of a missing Authorization.
//  5. roomHandler.serve checks that there is no body,
//  6. and calls admit: authenticate, the member's limit, authorize.
//  7. ask reads the question: all that the answer may depend on.
//  8. ReverseProxy calls fetcher.RoundTrip, which looks for a kept or shared answer.
//  9. fetcher.ask gets the access token, sends, and replaces a rejected token.
//  10. upstream.Upstream sends the request to Interwater.
//  11. ReverseProxy writes the answer through writer, and finish logs and counts it.
//
// # The plain way
//
// Package lane takes plain requests (its doc says which) and asks for their answers by Proxy.AnswerPlain. Those that are surely a
// room's skip what net/http and ReverseProxy do, and nothing else:
//
//		recognise ─▶ begin ─▶ room ─▶ admit ─▶ fetch ─▶ finish
//
//	 1. recognise finds the headers that count and the route. Where it isn't sure, net/http gets the request, and it goes the way above.
//	 2. beginPlain opens the call. MAX_IN_FLIGHT is the one bound that is left to check.
//	 3. roomHandler.plain calls the same admit, ask and fetch.
//	 4. headPlain writes the same lines in the same order, and finishPlain logs and counts.
//
// # Where the rules are
//
// Each rule exists once:
//
//   - routes: routes.go. Which target is clean: target.go.
//   - headers: headers.go, one table for both directions, with the flag that makes a header part of the question.
//   - errors: errors.go, one table from an error to its answer.
//   - limits on size and number: check.go. Connections: listener.go. Rate limits: package fleet.
//   - browser sessions: session.go, their cookie: cookie.go, how they begin: sessionlogin.go.
//   - who may: package bridge, asked by admit.go alone.
//   - what room requests share: share.go, and what is kept for later ones: keep.go.
//   - a second look at where a room request goes: guard.go and package upstream.
//
// The call travels as an argument. Only what crosses ReverseProxy travels in a context, and there the call is looked up once on
// each side.
package proxy
