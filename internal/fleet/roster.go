package fleet

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
	// RosterDelay is the longest time that a dead replica stays on any roster while Redis works.
	RosterDelay = rosterKeep + rosterEvery
	// rosterKeep is how long a replica stays on the roster after its last announcement, and how long a list that was read is used.
	rosterKeep = 15 * time.Second
	// rosterEvery is the longest time between two announcements. The shortest is half of it.
	rosterEvery = 3 * time.Second
)

// Bounds for what is read. Anybody with Redis's password can have written it.
const (
	rosterMost  = 256 // replicas
	rosterEntry = 512 // bytes of an entry; a longer one is ignored
	rosterText  = 64  // characters of a text in an entry; the rest is cut off
)

// Replica is one line of the roster. Everybody who can read Redis or the operations listener sees it.
type Replica struct {
	// ID is unique for each process: letters and digits. NewRoster draws it at random.
	ID      string    `json:"id"`
	Version string    `json:"version"`
	Host    string    `json:"host"`              // "": unknown
	Started time.Time `json:"started"`           // in UTC, to the second
	Figures *Figures  `json:"figures,omitempty"` // nil: it tells none
	// Seen is the time of the last announcement, by this replica's clock.
	Seen time.Time `json:"-"`
	// Self is true for this replica.
	Self bool `json:"-"`
}

// Figures is what a replica tells about its work. Each number is between 0 and 1e9.
type Figures struct {
	Rate float64 `json:"rate"` // requests per second, over the last 10 s
	// Answered counts the answers of the last minute, Failed those of them that failed.
	Answered float64 `json:"answered"`
	Failed   float64 `json:"failed"`
	// Level is what members get: down, risk, or "" for well.
	Level string `json:"level,omitempty"`
}

// Roster is the list of the fleet's replicas. Each announces itself in Redis every few seconds and reads the others'
// announcements. The list is for operators; nothing depends on it. It is safe for concurrent use.
type Roster struct {
	use     *Use // nil: the roster stays empty
	self    Replica
	figures func() *Figures
	entry   atomic.Pointer[string] // the entry that this replica sent last, as JSON; Redis may not have it
	known   atomic.Pointer[look]
}

// look is the roster as it was read at one time. It never changes.
type look struct {
	at       time.Time
	replicas []Replica
}

// NewRoster announces self and keeps the list current, in the background, until r is closed. Closing r takes self off the list. If
// r is nil, the list stays empty. self needs Version, Host and Started; the rest is set here. figures is called for each announcement,
// from a goroutine of the roster; if it is nil or returns nil, no figures are announced. The gauge is registered at metrics
// unless that is nil. The error is that of registering it.
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

// gauge returns the metric of how many replicas there are.
func (r *Roster) gauge() prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "roomgate_replicas",
		Help: "Replicas that have announced themselves in Redis, this one included; 0 while Redis is down.",
	}, func() float64 { return float64(len(r.All())) })
}

// All returns the replicas at the last look: this one first, the others sorted by host and ID. It doesn't ask Redis. The list
// is empty before the first look, while Redis is known to be down, and if the last look that succeeded is 15 s ago. The slice
// is the caller's.
func (r *Roster) All() []Replica {
	known := r.known.Load()
	if r.use == nil || r.use.Outage() != nil || time.Since(known.at) >= rosterKeep {
		return nil
	}
	return slices.Clone(known.replicas)
}

// follow announces this replica and reads the roster, again and again until ctx ends. Then it takes the replica off. A failed look
// leaves the list as it was.
func (r *Roster) follow(ctx context.Context) {
	for {
		_ = r.refresh(ctx)
		if Sleep(ctx, Jitter(rosterEvery)) != nil {
			break
		}
	}
	_ = r.leave(context.WithoutCancel(ctx)) // if it fails, the entry lapses after rosterKeep
}

//go:embed roster_refresh.lua
var rosterLua string

var rosterScript = redis.NewScript(rosterLua)

// key returns the name of the roster in Redis: a sorted set of entries by the time of the last announcement, in milliseconds by
// Redis's clock.
func (r *Roster) key() string { return r.use.Key("") }

// refresh announces this replica and reads the list, in one call. Entries that can't be read are left out. So are further ones
// with the same ID.
func (r *Roster) refresh(ctx context.Context) error {
	before := time.Now()
	self := r.self
	self.Figures = r.figures()
	encoded, err := json.Marshal(clean(self))
	if err != nil {
		return fmt.Errorf("announce the replica: %w", err)
	}
	entry := string(encoded)
	last := r.entry.Swap(&entry) // also if the call fails: removing an entry that Redis doesn't have does no harm
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

// leave removes this replica's entry.
func (r *Roster) leave(ctx context.Context) error {
	return r.use.Do(ctx, r.key(), func(ctx context.Context) error {
		return r.use.Client().ZRem(ctx, r.key(), *r.entry.Load()).Err()
	})
}

// errReplica is the only error of readReplica.
var errReplica = errors.New("not a replica's entry")

// readReplica reads one entry. ago is how long before now it was announced, in milliseconds.
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

// clean removes from r's texts what must not reach a page or a terminal, and cuts them to rosterText.
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

// figure returns n within its bounds, to three decimals: an entry has to be short.
func figure(n float64) float64 { return math.Round(1000*min(max(0, n), 1e9)) / 1000 }

// printable returns the first rosterText printable characters of s, without the others.
func printable(s string) string {
	kept := []rune(strings.Map(func(c rune) rune {
		if c == unicode.ReplacementChar || !unicode.IsPrint(c) {
			return -1
		}
		return c
	}, s))
	return string(kept[:min(len(kept), rosterText)])
}

// isID reports whether s is [A-Za-z0-9]{1,64}.
func isID(s string) bool {
	return s != "" && len(s) <= rosterText && !strings.ContainsFunc(s, func(c rune) bool {
		return (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z')
	})
}
