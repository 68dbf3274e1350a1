// Package lane reads HTTP/1 as it comes off the wire, before net/http does, and answers plain GETs itself.
//
// It is a net.Listener whose connections stand between the socket (or TLS) and an http.Server. Every head, and the framing of every
// body, is read by the strict rules of RFC 9110, 9112 and 3986 first. There are three verdicts:
//
//   - mine: a plain GET, for which the user's Options.Answer has an answer. It is written on the connection's own goroutine. The
//     server learns nothing of it: its Read is still waiting for a first byte.
//   - net/http's: the bytes have one meaning only. The server gets them unchanged, and exactly those of one request. It gets no
//     byte of the next one until it says http.StateIdle.
//   - refused: two readers could take the bytes for two different things. The lane answers 400, 431 or 505 in Glory's error
//     envelope and closes the connection. Nothing reaches the server.
//
// # What is mine
//
// A recogniser says so, not a parser: where it isn't sure, the request is the server's. A plain request is
//
//   - GET, in origin-form, HTTP/1.1, with one Host
//   - a head of at most 8 KiB and 64 lines, whose values are visible ASCII, spaces and tabs
//   - without Content-Length and Transfer-Encoding, and so without a body
//   - without Trailer, Expect, Upgrade, Proxy-… and TE, but for "TE: trailers", which asks for nothing
//   - without Connection, or with one that says keep-alive or close
//
// Options.Answer may still leave it, before anything has happened. Options.HandedOver is told why each request was left: one of
// Reasons, or Answer's word. testdata/clients has heads as browsers, apps and balancers send them; all are taken, or package proxy's
// test of them says why not.
//
// Why that is safe: it has passed the strict reading, as everything does. Of what is left there is one way to read it, and
// http.ReadRequest reads the same method, target, host and header lines from exactly the same bytes. FuzzLaneReadsAsNetHTTP holds each
// request that is taken, and each that is handed over, against it. What the answer depends on beyond the head is the business of Answer, which
// is the same code for both ways.
//
// # What is refused
//
//   - a line that doesn't end with CR LF, a folded line, white space before a colon, a name that is no token
//   - a control character other than tab
//   - a request line other than "method SP target SP HTTP/1.x"; another major version
//   - a target that has other characters than a URI and "{|}^`", which browsers send raw; a broken percent-encoding, user information, another scheme than http and
//     https, or the wrong form for its method
//   - a host that is missing (HTTP/1.1), empty, repeated or malformed, or that differs from the one in the target
//   - a Content-Length that stands twice or isn't plain digits after one space; zeros before other digits
//   - a Transfer-Encoding that stands twice, beside Content-Length, in HTTP/1.0, or isn't exactly "chunked" in any case of letters
//   - both of these names with an underscore: readers with CGI's names take them for the same
//   - a chunk size that isn't 1 to 16 hexadecimal digits and CR LF, so also any chunk extension; a chunk that doesn't end with CR LF;
//     malformed trailers. Well-formed trailers pass
//   - two Origin lines
//   - more than 100 lines, or a head of more bytes than the options say: 431
//
// A few empty lines before a request are dropped. Whatever passes, http.ReadRequest reads alike.
//
// # A connection
//
// net/http calls Read for three reasons, and the lane does another thing for each:
//
//   - A request is due: after http.StateNew and http.StateIdle. Read waits for a whole head and judges it. What is mine it answers, and
//     waits for the next head. What is the server's it hands over with as much of its body as has come.
//   - It wants more of a body. Read hands over what belongs to that body. Where a chunk is malformed, Read hands over, in its place,
//     bytes that net/http takes for a malformed chunk too: so the handler gets an error, answers, and the server closes the connection.
//   - A handler runs, and the server wants to know when the client leaves. Read blocks. What comes meanwhile belongs to the next
//     request and is kept. As in net/http, a client that sends its next request early is no longer watched.
//
// So the requests of one connection are answered one after the other, whoever answers them. An answer that breaks off, or that never
// begins, ends the connection with nothing behind it: Read returns io.EOF, to which the server says nothing.
//
// Bytes are read into the server's own buffer wherever they fit. A connection has a buffer of its own only while it keeps bytes:
// of a long head, or of the next request. What it takes to answer is lent while a head comes and is answered.
//
// # Deadlines
//
// While a request is the server's, so are the deadlines, with one exception: while the lane waits for the rest of a head it sets
// Options.HeaderTimeout itself, because the server takes a connection for idle until it sees the first byte.
//
// For its own answers the lane sets none: that would be two calls for each. It takes the server's away, and one goroutine for all
// connections (watch.go) looks ten times a second at what each does and for how long:
//
//   - between two requests: for Options.IdleTimeout at most
//   - waiting for the client to take bytes: for Options.WriteTimeout at most
//   - in a call of over 100 ms: the client is watched by a Read of its next byte. If it leaves, Request.OnLeave's function is called. A byte
//     that comes belongs to the next request and is kept
//
// All that is up to a second late. The server's read deadlines for the first request of a connection begin anew when it gets one.
//
// # The end
//
// To http.Server.Shutdown a connection is new or idle while the lane answers. So stop in this order: CloseIdle, which closes
// the connections between two requests, and each other one after its answer; Shutdown; Wait, until the answers under way are written; and Abort, when the time is
// over. Until then answers tell clients to go by "Connection: close", where Answer adds that line.
package lane
