// Package tokencache keeps one token per key for a whole fleet of replicas.
//
// A key names everything that changes what a token may do; a fetch function, given with each call, obtains a new one.
// The package knows neither what the tokens open nor how they are fetched.
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
// # One key's states
//
//		            first lookup
//		 ┌───────┐ ─────────────▶ flight ──── got one ────▶ ┌───────┐
//		 │ empty │                  │                       │ fresh │◀───────┐
//		 └───────┘                  │ failed                └───┬───┘        │
//		    ▲   ▲                   ▼                           │ advisory   │
//		    │   │            ┌─────────┐                        ▼ moment     │
//		    │   └────────────│ failing │◀── expired, ──────  ┌─────┐         │
//		    │  nobody asked  └────┬────┘    still failing    │ due │─────────┤
//		    │                     │                          └──┬──┘ flight  │
//		    │                     └── background flight ────────│─▶ got one ─┘
//		    └────────────── not in use: lapses ─────────────────┘
//
//	  - fresh: served from memory.
//	  - due: served from memory while a background flight looks for a newer one. The moment is the last seventh of the life
//	    (at most 5 min), spread by ±20 % so that replicas don't wake together. In the last 10 % (at most 30 s) attempts
//	    follow each other faster. A key that nobody asked for during a whole life is left to lapse.
//	  - failing: no token to serve. Every lookup is answered at once with the remembered failure; background flights go on
//	    with exponential backoff as long as somebody asks.
//
// # The flight
//
//	look in Redis ─ newer token ─────────────────────────────▶ adopt
//	     │ none
//	take the fleet lock ─ held ─▶ poll for token or failure ─▶ adopt / fail; lock gone: take it
//	     │ acquired        └─ error ─▶ fetch for this replica alone, within a budget
//	look again, fetch, store fenced by generation, release ──▶ adopt
//
// Those who find the lock held poll, with jitter, instead of subscribing: it is one reader per replica and key, only
// while a fetch is under way, and a poll can't miss what was published before it, nor be lost in a reconnect.
//
// # Generations
//
// Every token carries a generation, drawn with the lock: greater than any before it, and never smaller than Redis's
// clock in microseconds, so that a flushed Redis doesn't start again at one. A store is refused where a greater
// generation is present: a holder that lost its lease can't overwrite a newer token.
//
// # What is believed
//
// Expiry is measured on the local monotonic clock from before the fetch, less a margin for issuers that round down to
// seconds. A token that the issuer hands out once more keeps its expiry; after that it is good for moments, as long as the issuer
// has no other. In Redis a token is sealed together with its expiry by Redis's own clock and its generation; what does not
// open, has expired inside, or lies under another name is a miss and is overwritten.
package tokencache
