// Package tokencache keeps one token per key for a whole fleet of replicas.
//
// A key names everything that changes what a token may do; a fetch function, given with each call, obtains a new one.
// The package knows neither what the tokens open nor how they are fetched. docs/model has the protocol as a model that is checked.
//
// # Layers
//
// A lookup asks three layers and stops at the first that answers:
//
//	memory ──miss──▶ Redis ──miss──▶ fetch
//	(this replica)   (the fleet)     (the issuer, one replica at a time)
//
// A token in memory is handed out without any call. Below memory there is one flight per key and replica: it has a
// life of its own, so a caller that leaves fails nobody, and each caller waits only as long as its own context.
//
// # One key on one replica
//
//	           first lookup
//	┌───────┐ ────────────────▶ flight ──── adopt ───────▶ ┌───────┐
//	│ empty │ ◀─── drop ────────────────────────────────── │ fresh │◀───────┐
//	└───────┘                      │                       └───┬───┘        │
//	    ▲                          │ fail                      │ advisory   │ adopt
//	    │ lapse                    ▼                           ▼ moment     │
//	    │                     ┌─────────┐                   ┌─────┐         │
//	    └──────────────────── │ failing │◀── expired, ───── │ due │── flight┘
//	                          └────┬────┘    still failing  └─────┘
//	                               └── flight, after the backoff ── adopt ─▶ fresh
//
// Each arrow with a name is one method of entry, in entry.go:
//
//   - adopt: a token comes into memory, never in place of a newer one.
//   - fail: a failure is remembered. Every lookup without a token is answered with it at once; flights go on with exponential
//     backoff as long as somebody asks.
//   - lapse: nobody asks. The next caller begins anew.
//   - drop: the token was rejected where it was used. refuse instead leaves it in use: see below.
//   - learn: what a look in Redis tells. It changes no state; it decides what of the look counts here.
//
// Fresh and due are served from memory. A token is due in the last seventh of its life (at most 5 min), spread by ±20 % so that
// replicas don't wake together. In the last 10 % (at most 30 s) attempts follow each other faster. A key that nobody asked for
// during a whole life is left to lapse. refresh.go has these times.
//
// # One key in the fleet
//
//	           lock                       save
//	┌──────┐ ────────▶ ┌────────────┐ ────────────▶ ┌───────┐
//	│ free │           │ one        │               │ token │ ◀─ load: all others
//	│      │ ◀──────── │ fetches    │               │       │
//	└──────┘  release, └────────────┘               └───┬───┘
//	    ▲     with a note of failure, or                │ drop
//	    │     the lease runs out                        ▼
//	    │                                          ┌───────────┐
//	    └───────────────────────────────────────── │ tombstone │
//	                                               └───────────┘
//
// Each arrow is one method of store, in store.go, and one script. A flight (flight.go) goes through them:
//
//	load ─ newer token, or note of failure ─────────────────────────▶ adopt / fail
//	  │ neither
//	lock ─ held ─▶ wait a moment, and load again
//	  │   └ error ─▶ fetch for this replica alone, within a budget ─▶ adopt / fail
//	load again, fetch, save, release ───────────────────────────────▶ adopt / fail
//
// Those who find the lock held poll, with jitter, instead of subscribing: it is one reader per replica and key, only
// while a fetch is under way, and a poll can't miss what was published before it, nor be lost in a reconnect.
//
// # Generations
//
// Every token carries a generation, drawn with the lock: greater than any that the fence or the replica has seen, and never
// smaller than Redis's clock in microseconds; where that is behind, a random number of steps above. So neither a flushed Redis nor one whose clock is behind starts again below. A save is
// turned down where a greater generation lies, or a tombstone of this one or a greater: a holder that lost its lease can't
// replace a newer token, not even one that was rejected meanwhile.
//
// # Rejections
//
// A token that is rejected is dropped, and the next flight takes a newer one from Redis or fetches. If the same request is
// rejected again with a token that this replica fetched after it had dropped the first, a further fetch would bring nothing: the
// generation is refused for a while, here and in the fleet. A token that came from Redis may be as outdated as the first; it is
// dropped as well. reject.go has this.
//
// # What is believed
//
// Expiry is measured on the local monotonic clock from before the fetch, less a margin for issuers that round down to
// seconds. A token that the issuer hands out once more keeps its expiry; after that it is good for moments, as long as the issuer
// has no other. In Redis, tokens, tombstones and notes are sealed together with their end by Redis's own clock, their whole life and
// their generation (sealed.go). What doesn't open or lies under another name doesn't count. What opens holds no longer than it
// was written for, whatever Redis says; and a lock counts for no longer than a lease.
package tokencache
