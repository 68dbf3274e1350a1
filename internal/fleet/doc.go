// Package fleet is what the replicas of a gateway share through Redis, except tokens: the deny list, the counts of rate limits,
// and the roster. It also has the Redis client and its circuits, which package tokencache uses too.
//
// Redis saves calls and makes limits exact, but nothing depends on it. While it is down, slow or refuses,
//
//   - package tokencache serves from memory, and each replica fetches tokens for itself, within a budget;
//   - [DenyList] goes on with the list that this replica has read last;
//   - [Limiter] counts on each replica alone, from what it has counted so far;
//   - [Roster] is empty.
//
// # Calls
//
// [Connect] returns a client, and [New] makes a [Redis] of it. A [Use] is one kind of data in Redis, with its own key names and its
// own circuits: one, or in a cluster one for each master. All commands go through [Use.Do]. So a node that is down affects only the
// keys on it, and missing rights to one kind of data affect only that kind.
//
// A call waits for at most one timeout. The client doesn't repeat a failed command. A cluster is the exception: there the library
// follows redirections, and repeats a command if the connection breaks. Each .lua file says in its line "retry" what a repetition
// does.
//
// # Circuits
//
//	         3 failures in a row, or one error answer
//	┌────────┐ ─────────────────────────────────▶ ┌──────┐
//	│ closed │                                    │ open │
//	└────────┘ ◀───────────────────────────────── └──────┘
//	            a probe succeeds or is refused
//
// While a circuit is open, no call is made: Do returns [ErrOutage] at once. From the first failure on, a probe runs in the
// background until one succeeds. It is a small script that writes a key beside the one that failed.
//
// NOPERM and WRONGTYPE are refusals: Redis works, but this use can't use it. They don't open the circuit. [Use.Refusal] tells an
// operator of them.
//
// # Time
//
// The times of expiry in Redis are by Redis's own clock, so replicas agree on them even if their own clocks are wrong. Scripts read it
// with TIME. [Redis.Now] continues the last answer on the local monotonic clock.
package fleet
