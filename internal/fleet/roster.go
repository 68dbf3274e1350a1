package fleet

// This file is the fleet's roster: every replica announces itself in Redis every few seconds and reads who else did. It is
// for people who look at one replica and want to know of the others. Nothing depends on it.

import (
	"cmp"
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
)

const (
	// RosterDelay is the longest that a replica is on any roster after it has died.
	RosterDelay = rosterKeep + rosterEvery
	rosterKeep  = 15 * time.Second // without an announcement
	rosterEvery = 3 * time.Second
)

// Bounds of what is read: anybody who has the password may have written to Redis.
const (
	rosterMost  = 256 // replicas that are read
	rosterEntry = 512 // bytes of one entry
	rosterText  = 64  // characters of one text in it
)

// Replica is one line of the roster. It is public to all who reach Redis or the operations listener.
type Replica struct {
	// ID tells two processes apart: letters and digits. NewRoster makes it at random.
	ID      string    `json:"id"`
	Version string    `json:"version"`
	Host    string    `json:"host"` // "": unknown
	Started time.Time `json:"started"`
	Figures *Figures  `json:"figures,omitempty"` // nil: it tells none
	// Seen is when it last announced itself, by this replica's clock.
	Seen time.Time `json:"-"`
	// Self marks the replica that reads.
	Self bool `json:"-"`
}

// Figures is what a replica tells of its work. Each is from 0 to 1e9.
type Figures struct {
	Rate float64 `json:"rate"` // requests per second, over the last 10 s
	// Answered and Failed count the answers of the last minute, and those that failed.
	Answered float64 `json:"answered"`
	Failed   float64 `json:"failed"`
	// Level is what members get: down, risk, or "" for well.
	Level string `json:"level,omitempty"`
}

// Roster is the replicas seen in Redis. It is safe for concurrent use.
type Roster struct {
	use     *Use // nil: the roster stays empty
	self    Replica
	figures func() *Figures
	entry   atomic.Pointer[string] // what Redis holds of this replica, as far as is known
	known   atomic.Pointer[look]
}

// look is the roster at one moment. It never changes.
type look struct {
	at       time.Time
	replicas []Replica
}

// NewRoster announces self and keeps the list of all replicas current until r is closed, which takes self off it. If r is
// nil, the list stays empty. figures is called for each announcement, from a goroutine of the roster's; nil, or a nil answer: none
// are told. metrics takes the package's gauge; nil: it isn't registered.
func NewRoster(r *Redis, self Replica, figures func() *Figures, metrics prometheus.Registerer) (*Roster, error) {
	self.ID = rand.Text()
	roster := &Roster{self: self, figures: figures}
	if figures == nil {
		roster.figures = func() *Figures { return nil }
	}
	roster.entry.Store(new(string))
	roster.known.Store(&look{})
	if metrics != nil {
		if err := metrics.Register(roster.gauge()); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	if r != nil {
		roster.use = r.Use("roster", "replicas")
		r.spawn(func() { roster.follow(r.base) })
	}
	return roster, nil
}

// gauge counts the replicas.
func (r *Roster) gauge() prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "roomgate_replicas",
		Help: "Replicas seen in Redis, this one included; 0 while Redis is down.",
	}, func() float64 { return float64(len(r.All())) })
}

// All returns who was there at the last look: this replica first, the others by host and id. It asks nobody. While Redis
// is known to be down it is empty.
func (r *Roster) All() []Replica {
	known := r.known.Load()
	if r.use == nil || r.use.Outage() != nil || time.Since(known.at) >= rosterKeep {
		return nil
	}
	return slices.Clone(known.replicas)
}

// follow announces and looks until ctx ends, then leaves. After a failed look, what was known stays.
func (r *Roster) follow(ctx context.Context) {
	for {
		_ = r.refresh(ctx)
		if Sleep(ctx, Jitter(rosterEvery)) != nil {
			break
		}
	}
	_ = r.leave(context.WithoutCancel(ctx)) // if it fails, the others soon miss its announcements
}

//go:embed roster_refresh.lua
var rosterLua string

var rosterScript = redis.NewScript(rosterLua)

// key is one sorted set: entries by Redis's time of their last announcement, in milliseconds.
func (r *Roster) key() string { return r.use.Key("") }

// refresh announces this replica and takes over who else is there.
func (r *Roster) refresh(ctx context.Context) error {
	before := time.Now()
	self := r.self
	self.Figures = r.figures()
	encoded, err := json.Marshal(clean(self))
	if err != nil {
		return fmt.Errorf("announce the replica: %w", err)
	}
	entry := string(encoded)
	last := r.entry.Swap(&entry) // whether or not Redis gets to know of it: what isn't there needs no removal
	var reply []any
	err = r.use.Do(ctx, r.key(), func(ctx context.Context) (err error) {
		reply, err = rosterScript.Run(ctx, r.use.Client(), []string{r.key()},
			entry, *last, rosterKeep.Milliseconds(), rosterMost, rosterEntry).Slice()
		return err
	})
	if err != nil {
		return fmt.Errorf("read the roster: %w", err)
	}
	next := &look{at: before}
	ids := make(map[string]bool) // of two entries of one replica, the first is the later one
	for pair := range slices.Chunk(reply, 2) {
		if len(pair) < 2 {
			break
		}
		replica, err := readReplica(text(pair[0]), text(pair[1]), before)
		if err != nil || ids[replica.ID] {
			continue
		}
		ids[replica.ID] = true
		replica.Self = replica.ID == r.self.ID
		next.replicas = append(next.replicas, replica)
	}
	slices.SortFunc(next.replicas, func(a, b Replica) int {
		switch {
		case a.Self:
			return -1
		case b.Self:
			return 1
		}
		return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.ID, b.ID))
	})
	r.known.Store(next)
	return nil
}

// leave takes this replica off the roster.
func (r *Roster) leave(ctx context.Context) error {
	return r.use.Do(ctx, r.key(), func(ctx context.Context) error {
		return r.use.Client().ZRem(ctx, r.key(), *r.entry.Load()).Err()
	})
}

var errReplica = errors.New("not a replica's entry")

// readReplica reads one entry. It was announced ago milliseconds before now.
func readReplica(entry, ago string, now time.Time) (Replica, error) {
	var replica Replica
	if len(entry) > rosterEntry || json.Unmarshal([]byte(entry), &replica) != nil || !isID(replica.ID) {
		return Replica{}, errReplica
	}
	ms, err := strconv.ParseUint(ago, 10, 31)
	if err != nil {
		return Replica{}, errReplica
	}
	replica.Seen = now.Add(-time.Duration(ms) * time.Millisecond)
	return clean(replica), nil
}

// clean drops from a replica's texts what must not reach a page or a terminal.
func clean(r Replica) Replica {
	r.Version, r.Host = printable(r.Version), printable(r.Host)
	r.Started = r.Started.UTC().Truncate(time.Second)
	if f := r.Figures; f != nil {
		r.Figures = &Figures{Rate: figure(f.Rate), Answered: figure(f.Answered), Failed: min(figure(f.Failed), figure(f.Answered))}
		if f.Level == "down" || f.Level == "risk" {
			r.Figures.Level = f.Level
		}
	}
	return r
}

// figure is n within its bounds, to three decimals: an entry has to be short.
func figure(n float64) float64 { return math.Round(1000*min(max(0, n), 1e9)) / 1000 }

// printable keeps the first rosterText characters of s that can be seen.
func printable(s string) string {
	kept := []rune(strings.Map(func(c rune) rune {
		if c == unicode.ReplacementChar || !unicode.IsPrint(c) {
			return -1
		}
		return c
	}, s))
	return string(kept[:min(len(kept), rosterText)])
}

// isID accepts [A-Za-z0-9]{1,64}.
func isID(s string) bool {
	return s != "" && len(s) <= rosterText && !strings.ContainsFunc(s, func(c rune) bool {
		return (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z')
	})
}
