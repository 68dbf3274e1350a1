// Package upstream talks to one upstream service. One type, Upstream, holds its connections, deadline, slots, circuit, spans and
// metrics. Members' requests and the gateway's own calls go through it alike.
//
// A call goes through these steps, each with its own errors:
//
//	host and scheme are the upstream's ─ a slot is free (ErrBusy) ─ the circuit is not open (ErrCircuit) ─
//	the request is sent ─ a header comes (ErrFailed, ErrTimeout, ErrBody) ─ the body is read (ErrFailed, ErrTimeout)
//
// There are two ways to send a request, and the rules below hold for both. RoundTrip takes any request and goes through net/http.
// Ask takes requests that the gateway has built itself, which are most. If Options.Direct is set and Options.Tracing isn't, Ask
// sends GET and HEAD without a body, and reads their answers, in the caller's goroutine, over connections of its own.
//
// # Time
//
// Options.Timeout bounds a call from its start to the header: dialling, TLS and the request's body included. The rest of it is
// for the answer's body, and runs only during Read, so a slow reader loses no time. If the request's context ends, so does the
// call, with the context's error. Ask may notice the end of the time a 64th of Timeout late, at most 100 ms: connections in use
// need few new deadlines.
//
// A Read of the request's body can't be interrupted: a caller whose body may stall must set a deadline on it. If such Reads took
// most of the time, a late call fails with ErrBody instead of ErrTimeout. A request with GetBody has its body in memory, and is
// written at once.
//
// # Repeats
//
// A request is sent once, with one exception: if a GET or HEAD without a body goes over an idle connection, and that ends before
// any byte of the answer, the request is sent once more, over a new connection. No header, such as Idempotency-Key, changes that.
// Before an idle connection is reused, it is checked. If its end or unrequested data has come over it, it is closed, and the
// request goes over another.
//
// # Answers
//
// An answer has a status from 200 to 599. Informational answers (1xx) are dropped. These are ErrFailed: 101, because nobody asked
// for it; whatever net/http's reader refuses; a status outside of 100 to 599; a header of over 64 KiB. Redirects are answers.
// Trailers are read and dropped. Compression is neither requested nor undone.
//
// An upstream may answer before it has read the request's body, and then close. That is an answer like any other, even though the
// rest of the body couldn't be written.
//
// An answer that breaks off never looks complete. Read returns io.EOF only at the end that the header promised, and otherwise an
// error that wraps ErrFailed or ErrTimeout.
//
// # Slots, circuit and outcome
//
// A call ends with its error, or when its answer's body has been read to the end or closed. It holds a slot until then. When it
// ends, the circuit and the metrics count it. Only the upstream's own faults count against the upstream: no answer, a late one,
// one that isn't HTTP or breaks off, and a caller's deadline that passes while the upstream is waited for. A status of 500 or
// more is an answer. A caller that leaves and a request's body that fails (ErrBody) say nothing about the upstream.
//
// The circuit opens when at least 20 calls ended in the last 10 seconds and half of them failed. After CircuitPause it lets three
// calls through, and closes when they end well.
//
// # What may be logged
//
// Errors hold no text that the upstream sent: it could be a credential. They name the upstream by Options.Name. A failed span
// carries one word: upstream, timeout, body or client_gone.
package upstream
