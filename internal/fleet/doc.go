// Package fleet is what the replicas of a gateway share through Redis, beside tokens: the client with its circuit.
//
// Redis makes the fleet cheaper and its limits exact. It is never needed: every user of this package has an answer of its
// own for when Redis is down, slow or refusing. So each command waits for one timeout at most, is sent once, and isn't sent
// at all while Redis is known to be down.
//
// [Connect] opens a client and [New] puts a circuit around it. A [Use] is one kind of data in Redis, with key names of its
// own. All commands go through [Use.Do].
package fleet
