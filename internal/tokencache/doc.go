// Package tokencache keeps one token per key for a whole fleet of replicas.
//
// A key names everything that changes what a token may do. The caller passes a fetch function with each lookup; it obtains a
// new token from the issuer. The package knows neither what tokens open nor how they are fetched. docs/model has this protocol
// as a model that is checked.
//
// To read the code from top to bottom: cache.go, flight.go, fetch.go and refresh.go are one lookup, reject.go is a rejection.
// entry.go is the state of a key on a replica, store.go its state in Redis.
//
// # Layers
//
// A lookup asks three layers and stops at the first that answers:
//
//	memory ──miss──▶ Redis ──miss──▶ fetch
//	(this replica)   (the fleet)     (the issuer, one replica at a time)
//
// A token in memory is returned without any call. If there is none, the lookup waits for the key's flight, which asks the other
// two layers. A replica has at most one flight per key. It belongs to no caller: each caller waits as long as its own context
// allows, and the flight goes on for the others when one leaves.
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
// Fresh and due are served from memory. The transitions are methods of entry, in entry.go:
//
//   - adopt: a new token comes into memory. It never replaces a newer one.
//   - fail: a flight has failed. Lookups without a token in memory get this error at once. Further flights follow, with
//     exponential backoff, as long as somebody asks.
//   - lapse: nobody has asked since the failure, or the token has expired unused. The next lookup starts a flight.
//   - drop: the token was rejected where it was used. It leaves memory, whether fresh or due.
//   - refuse: the token was rejected although it was fetched to replace a rejected one. It stays in use: see Rejections.
//   - learn: a look in Redis has found something. It picks what is newer than what the entry knows, and changes none of the
//     states above.
//
// A token is due in the last seventh of its life, at most 5 min. Each replica moves that moment by up to 20 % (5 % where
// the window is under 5 s), so that they don't all refresh at once. In the last 10 %, at most 30 s, failed attempts are repeated
// faster. A token that nobody asked for during a whole life isn't refreshed. refresh.go computes these times.
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
// load, lock, save, release and drop are methods of store, in store.go, each with one script that Redis runs atomically.
// A refresh goes the same way while the old token is still there. A flight (flight.go) calls them in this order:
//
//	load ─ newer token, or note of failure ─────────────────────────▶ adopt / fail
//	  │ neither
//	lock ─ held ─▶ wait a moment, and load again
//	  │   └ error ─▶ fetch for this replica alone, within a budget ─▶ adopt / fail
//	load again, fetch, save, release ───────────────────────────────▶ adopt / fail
//
// Replicas that find the lock held poll, with jitter. They don't subscribe: there is one reader per replica and key, only while
// a fetch is under way, and a poll misses neither what was published before it nor what a reconnect would lose.
//
// # Generations
//
// Every token carries a generation. A newer token has a greater one. It is drawn together with the lock and is greater than any
// that Redis (the fence) or this replica has seen. Usually it is Redis's clock in microseconds. If that clock is behind the last
// generation, it is the last one plus a random step. So generations grow even if Redis was flushed or its clock was set back.
// A replica that fetches alone, without the lock, draws one in the same way from what it has seen.
//
// Redis turns a save down if it has a token with a greater generation, or a tombstone with the same or a greater one. So a holder that
// lost its lease can't replace a newer token, even if that one was rejected in the meantime.
//
// # Rejections
//
// A rejected token is dropped, and the next flight takes a newer one from Redis or fetches. If the same request is rejected again,
// with a token that this replica fetched after it had dropped the first, another fetch wouldn't help. That generation is then
// refused for a while, on this replica and in the fleet: it stays in use, and its rejection fetches nothing. A second token
// that came from Redis may be as outdated as the first, so it is dropped as well. reject.go decides this.
//
// # What is believed
//
// Expiry is measured on the local monotonic clock from before the fetch, minus a margin for issuers that round down to whole
// seconds. If the issuer hands out the token in use again, its expiry doesn't change. Once it has expired, each repetition makes it
// valid for a moment longer, until the issuer has another.
//
// In Redis, tokens, tombstones and notes are sealed (sealed.go). The seal covers the generation, the time of expiry by Redis's
// clock and the lifetime. An entry that doesn't open, or that was moved to another name, is ignored. An entry that opens is never
// believed for longer than its lifetime, whatever TTL Redis reports. A lock that has more than a lease left is ignored, too.
package tokencache
