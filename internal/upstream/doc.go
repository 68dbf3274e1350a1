// Package upstream is one upstream service: its connections, deadline, slots, circuit, spans and metrics in one type, and
// one method to send a request. Members' requests and the gateway's own calls go the same way.
//
// A call goes through these steps, and each has an error of its own:
//
//	host and scheme are the upstream's ─ a slot is free (ErrBusy) ─ the circuit is not open (ErrCircuit) ─
//	the request is sent ─ a header comes (ErrFailed, ErrTimeout, ErrBody) ─ the body is read (ErrFailed, ErrTimeout)
//
// There are two ways, and what follows holds for both. RoundTrip takes any request and goes through net/http. Ask takes what the
// gateway has written itself, which is most of all: GET and HEAD without a body it writes and reads in the caller's goroutine, over
// connections of its own, where Options.Direct says so.
//
// # Time
//
// Options.Timeout bounds a call from its start to the header, with dialling, TLS and the request's body. What is left of
// it is for the answer's body, and runs only while a Read waits for the upstream: a reader may take its time. The request's
// context ends a call at any time; the error is the context's own then.
//
// A Read of the request's body can't be interrupted: whoever hands in a body that may stall gives it a deadline of its own.
// Where most of the time went by in such Reads, a late call is ErrBody and not ErrTimeout. A request with GetBody has its body
// in memory, and is written at once.
//
// # Repeats
//
// A request is sent once. The one exception is a GET or HEAD whose connection had been idle and ends before any byte of an
// answer: it is sent once more, over a new connection. No header of the request, Idempotency-Key for one, changes that.
// Before a request goes over an idle connection, the connection is looked at: if anything has come over it, its end or a byte
// that nobody asked for, it is closed, and the request goes over another.
//
// # Answers
//
// An answer has a status from 200 to 599. Informational ones (1xx) are dropped. 101 is ErrFailed: nobody asked for it. So is
// whatever net/http's reader refuses, a status outside of 100 to 599, and a header of over 64 KiB. Redirects are answers.
// Trailers are read and dropped. Compression is neither asked for nor undone.
//
// An upstream may answer before it has read the request's body, and close. The answer is returned as any other. That the
// body could not be written counts for nothing.
//
// An answer that breaks off never looks whole: Read returns an error that wraps ErrFailed or ErrTimeout, and io.EOF only at
// the end that the header promised.
//
// # Slots, circuit and outcome
//
// A call ends when its answer's body is at its end or closed, or with its error. Until then it holds a slot. Then it is
// counted, for the circuit as for the metrics. Only the upstream's own faults count against it: no answer, a late one, one
// that isn't HTTP or breaks off, and a caller's deadline that passes while the upstream is waited for. A status of 500
// or more is an answer; a caller that leaves and a request's body that fails (ErrBody) tell nothing of the upstream.
//
// The circuit opens when half of at least 20 calls failed that ended in the last 10 seconds. After CircuitPause it lets
// three calls through, and closes when they end well.
//
// # What may be logged
//
// Errors hold no text that the upstream sent: it could be a credential. They name the upstream by Options.Name. A span that
// failed tells one word: upstream, timeout, body or client_gone.
package upstream
