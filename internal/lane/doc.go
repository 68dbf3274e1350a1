// Package lane reads HTTP/1 as it comes off the wire, before net/http does.
//
// It is a net.Listener whose connections stand between the socket (or TLS) and an http.Server. Every head, and the framing of every
// body, is read by the strict rules of RFC 9110, 9112 and 3986 first. There are two verdicts:
//
//   - net/http's: the bytes have one meaning only. The server gets them unchanged, and exactly those of one request. It gets no
//     byte of the next one until it says http.StateIdle.
//   - refused: two readers could take the bytes for two different things. The lane answers 400, 431 or 505 in Glory's error
//     envelope and closes the connection. Nothing reaches the server.
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
// A few empty lines before a request are dropped. Whatever passes, http.ReadRequest reads alike: FuzzLaneReadsAsNetHTTP.
//
// # A connection
//
// net/http calls Read for three reasons, and the lane does another thing for each:
//
//   - A request is due: after http.StateNew and http.StateIdle. Read waits for a whole head, judges it, and hands it over with as
//     much of its body as has come.
//   - It wants more of a body. Read hands over what belongs to that body. Where a chunk is malformed, Read hands over, in its place,
//     bytes that net/http takes for a malformed chunk too: so the handler gets an error, answers, and the server closes the connection.
//   - A handler runs, and the server wants to know when the client leaves. Read blocks. What comes meanwhile belongs to the next
//     request and is kept. As in net/http, a client that sends its next request early is no longer watched.
//
// Bytes are read into the server's own buffer wherever they fit. A connection has a buffer of its own only while it keeps bytes:
// of a long head, or of the next request.
//
// Deadlines are the server's, with one exception: while the lane waits for the rest of a head it sets Options.HeaderTimeout itself,
// because the server takes a connection for idle until it sees the first byte.
package lane
