package main

// This file holds what the model knows of the gateway: the constants of internal/tokencache, written down a second time on
// purpose. A test compares them with the code, another one the whole model with a running fleet.

import (
	"math/rand/v2"
	"time"
)

const (
	pollEvery     = 60 * time.Millisecond
	denyPoll      = 400 * time.Millisecond
	rosterEvery   = 3 * time.Second
	rosterMost    = 256
	advisoryShare = 7
	advisoryMost  = 5 * time.Minute
)

// kind is one of the calls that are counted. Each but auth is one script in Redis.
type kind int

const (
	auth    kind = iota // POST /v1/auth
	look                // for a token
	lock                // try to take it
	store               // a new token, and give the lock up
	release             // of a lock that turned out not to be needed
	deny                // look for changes of the deny list
	roster              // announce, and read who else is there
	kinds
)

func (k kind) String() string {
	return [kinds]string{"auth", "look", "lock", "store", "release", "deny", "roster"}[k]
}

// Processor time of Redis for one call, in microseconds, with reading and answering it: measured, see docs/scale.md. A roster
// call grows with the replicas that it reads.
const (
	costLook, costLock, costStore, costRelease, costDeny = 11, 14, 9, 5, 6
	costRoster, costRosterReplica                        = 14, 1.3
)

// cost is what one call of the kind takes of Redis, in seconds, in a fleet of so many replicas.
func (k kind) cost(replicas int) float64 {
	micros := [kinds]float64{0, costLook, costLock, costStore, costRelease, costDeny, costRoster}[k]
	if k == roster {
		micros += costRosterReplica * float64(min(replicas, rosterMost))
	}
	return micros / 1e6
}

// fleet is what is simulated.
type fleet struct {
	replicas, licenses int
	// share of the licenses that one replica is asked for.
	share float64
	// life of a token.
	life time.Duration
	// fetch is how long /v1/auth takes, redis how long one call of Redis does.
	fetch, redis time.Duration
	// spread is the time over which licenses are first asked for; 0: all at once.
	spread time.Duration
	// warm is the time in which a replica that has started is asked for each of its licenses.
	warm time.Duration
	// pairs of replica and license are simulated at most, but one license at least; results are scaled up from them.
	pairs int
	seed  uint64
}

// advisory is how long before expiry a replica wakes to refresh a token of this life.
func advisory(r *rand.Rand, life time.Duration) time.Duration {
	window := min(life/advisoryShare, advisoryMost)
	spread := window / 5
	if window < 5*time.Second {
		spread = window / 20
	}
	return window - spread + randN(r, 2*spread+1)
}

// jitter spreads d evenly over 50 % to 100 % of itself.
func jitter(r *rand.Rand, d time.Duration) time.Duration { return d/2 + randN(r, d/2+1) }

// randN is below n, and 0 where n is.
func randN(r *rand.Rand, n time.Duration) time.Duration {
	if n <= 0 {
		return 0
	}
	return time.Duration(r.Int64N(int64(n)))
}
