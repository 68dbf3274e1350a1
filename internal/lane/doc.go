// Package lane reads HTTP/1 before net/http does, and answers plain GETs itself.
//
// It is a net.Listener. Its connections sit between the socket (or TLS) and an http.Server. The lane first reads every head, and the
// framing of every body, by the strict rules of RFC 9110, 9112 and 3986. Then it does one of three things with the request:
//
//   - It answers a plain GET itself, if Options.Answer can. The connection's own goroutine writes the answer. The server notices
//     nothing: its Read still waits for a first byte.
//   - It hands the request over to net/http. The server gets exactly the bytes of this request, unchanged. It gets no byte of the
//     next request before it reports http.StateIdle.
//   - It refuses a request that is malformed or too long, or that two readers could read in two ways. It answers 400, 431 or 505 in
//     Glory's error envelope and closes the connection. The server gets nothing.
//
// # Plain requests
//
// The lane answers only requests that it recognises as plain. It hands over every other request. A plain request has
//
//   - the method GET, a target in origin-form, the version HTTP/1.1, and one Host
//   - a head of at most 8 KiB and 64 header lines. Their values are visible ASCII, spaces and tabs
//   - no Content-Length and no Transfer-Encoding, and so no body
//   - no Trailer, Expect, Upgrade, Proxy-… or TE. "TE: trailers" is allowed, because it asks for nothing
//   - no Connection, or one that says keep-alive or close
//
// Options.Answer can still hand over a plain request, as long as it has written nothing. Options.HandedOver gets the reason for each
// hand-over: one of Reasons, or a word of Answer's own. testdata/clients has heads as browsers, apps and balancers send them. The
// lane takes them all, except those for which package proxy's test gives a reason.
//
// Answering plain requests is safe, because there is only one way to read them: they have passed the same strict reading as all
// requests. http.ReadRequest reads the same method, target, host and header lines from exactly the same bytes. FuzzLaneReadsAsNetHTTP
// compares the two for each request that the lane takes or hands over. If the answer depends on more than the head, that is up to
// Answer. It runs the same code as the handler behind net/http.
//
// # What is refused
//
//   - a line that doesn't end with CR LF, a folded line, white space before a colon, a header name that isn't a token
//   - a control character other than tab in a header value
//   - a request line other than "method SP target SP HTTP/1.x", or another major version
//   - a target with a character that isn't allowed in a URI; "{|}^`" pass, because browsers send them raw
//   - a target with a broken percent-encoding, with user information, with a scheme other than http and https, or in the wrong form
//     for its method
//   - a host that is missing (HTTP/1.1), empty, repeated or malformed, or that differs from the one in the target
//   - a Content-Length that is repeated or isn't 1 to 18 plain digits after at most one space; a leading zero before other digits
//   - a Transfer-Encoding that is repeated, that stands beside Content-Length or in HTTP/1.0, or that isn't exactly "chunked", in
//     upper or lower case
//   - Content_Length and Transfer_Encoding: programs that use CGI's variable names take them for the real ones
//   - a Trailer line, with a chunked body, that names Content-Length, Transfer-Encoding or Trailer
//   - a chunk size that isn't 1 to 16 hexadecimal digits and CR LF, or is 2^63 or more; so also any chunk extension
//   - a chunk that doesn't end with CR LF
//   - trailers that are malformed or longer than 2 KiB; all others pass
//   - two Origin lines
//   - more than 100 header lines, or a head longer than Options.MaxHeaderBytes: 431
//
// Up to eight empty lines before a request are dropped. http.ReadRequest reads everything that passes as the lane does.
//
// # A connection
//
// net/http calls Read for three reasons:
//
//   - It wants a request: after http.StateNew and http.StateIdle. Read waits for a whole head and checks it. If the lane answers the
//     request, Read waits for the next head. Otherwise it returns the head and as much of the body as has come.
//   - It wants more of a body. Read returns only bytes of that body. In place of a malformed chunk it returns bytes that net/http
//     takes for a malformed chunk as well. So the handler gets an error and answers, and the server closes the connection.
//   - A handler runs, and the server wants to know when the client leaves. Read blocks. A byte that comes belongs to the next request:
//     the lane keeps it and stops watching the client, as net/http does.
//
// So the requests of one connection are answered one after the other, whether by the lane or by the server. If Answer writes no answer
// or only a part of one, Read returns io.EOF, and the server closes the connection without writing anything more.
//
// Read uses the server's own buffer wherever the bytes fit. A connection has a buffer of its own only while it keeps bytes of a long
// head or of the next request. The memory for answering comes from a pool when a head begins. It goes back when the request is
// answered or handed over.
//
// # Deadlines
//
// While the server handles a request, only the server sets deadlines. While the lane waits for the rest of a head, it sets
// Options.HeaderTimeout itself: the server takes the connection for idle until it gets a first byte.
//
// For its own answers the lane removes the server's deadlines and sets none, because that would cost two calls per request. Instead one
// goroutine per listener (watch.go) checks the connections on which the lane answers, ten times a second:
//
//   - A connection that waits for its next request longer than Options.IdleTimeout is closed.
//   - A connection whose client takes longer than Options.WriteTimeout for one write is closed.
//   - In a call of Answer that takes over 100 ms, the lane watches the client: it tries to read the client's next byte. If the client
//     leaves, it calls the function given to Request.OnLeave. A byte that comes belongs to the next request and is kept.
//
// Each of these may come 200 ms late. The read deadlines that the server has set for a connection's first request start again when
// the lane hands that request over.
//
// # Shutdown
//
// http.Server.Shutdown takes a connection on which the lane answers for new or idle. So stop in this order:
//
//  1. Listener.CloseIdle closes connections that wait for a next request. It closes the others after the lane's next answer.
//  2. http.Server.Shutdown.
//  3. Listener.Wait waits for the answers that are being written.
//  4. Listener.Abort closes what is left when time is up.
//
// Before that, Answer may add "Connection: close" to its answers, so that clients leave by themselves.
package lane
