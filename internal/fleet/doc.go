// Package fleet is what the replicas of a gateway share through Redis, beside tokens: the client with its circuits.
//
// Redis makes the fleet cheaper and its limits exact. It is never needed: every user of this package has an answer of its
// own for when Redis is down, slow or refusing. So each command waits for one timeout at most, is sent once, and isn't sent
// at all while Redis is known to be down.
//
// [Connect] opens a client, and [New] makes a [Redis] of it. A [Use] is one kind of data in Redis, with key names and circuits
// of its own: one circuit, or in a cluster one for each master. All commands go through [Use.Do]. So a node that is gone costs
// only the keys on it, and a user without rights to one kind of data costs only that.
package fleet
