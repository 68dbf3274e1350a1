// Package fleet is what the replicas of a gateway share through Redis, except tokens: the deny list, the counts of rate limits,
// and the roster. It also has the Redis client and its circuits, which package tokencache uses too.
//
// Redis saves calls and makes limits exact, but nothing depends on it. Each part of this package says what it does while Redis
// is down, slow or refuses. For that:
//
//   - A call waits for at most one timeout, and it isn't made at all while Redis is known to be down.
//   - A failed command isn't repeated. A cluster is the exception: there the library follows redirections, and repeats a command if
//     the connection breaks. Each .lua file says in its line "retry" what a repetition does.
//
// [Connect] returns a client, and [New] makes a [Redis] of it. A [Use] is one kind of data in Redis, with its own key names and its
// own circuits: one, or in a cluster one for each master. All commands go through [Use.Do]. So a node that is down affects only the
// keys on it, and missing rights to one kind of data affect only that kind.
package fleet
