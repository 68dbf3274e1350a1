package ops

// This file is the shape of /status.

import "time"

// Status is the state of one replica.
type Status struct {
	Version       string             `json:"version"`
	UptimeSeconds float64            `json:"uptime_seconds"`
	Draining      bool               `json:"draining"`
	Licenses      []License          `json:"licenses"`
	Upstreams     []Upstream         `json:"upstreams"`
	Redis         Redis              `json:"redis"`
	Lane          Lane               `json:"lane"`
	Limits        []Limit            `json:"limits"`
	Replicas      []Replica          `json:"replicas"`       // this one first
	ReplicasKnown bool               `json:"replicas_known"` // false while Redis can't be asked: then there may be others
	Degraded      []Degradation      `json:"degraded"`       // empty when all is well
	Counters      map[string]float64 `json:"counters"`       // by metric, summed over labels
	Facts         Facts              `json:"facts"`
}

// The levels of a degradation.
const (
	LevelDown = "down" // members fail
	LevelRisk = "risk" // members are served, but something is missing
)

// LevelOf is the level of a replica with these degradations; "" without any.
func LevelOf(list []Degradation) (level string) {
	for _, d := range list {
		if d.Level == LevelDown {
			return LevelDown
		}
		level = d.Level
	}
	return level
}

// Degradation is something that isn't as it should be.
type Degradation struct {
	// Reason is its kind, as in roomgate_degraded: answers, calls, redis, redis_part, secrets, circuit, verdicts, token,
	// refused_token, log or metrics.
	Reason string `json:"reason"`
	// Subject is what it is about, a route for one; "" where the reason says it all.
	Subject string    `json:"subject,omitempty"`
	Text    string    `json:"text"`
	Level   string    `json:"level"` // LevelDown or LevelRisk
	Since   time.Time `json:"since"`
	// Share of the answers or calls that failed; 0 for other reasons.
	Share float64 `json:"share,omitempty"`
}

// Facts is what else an operator asks of a replica.
type Facts struct {
	Verification string    `json:"verification"` // of members: local or remote
	Time         time.Time `json:"time"`         // by this replica's clock
	// RedisClockSeconds is how far Redis's clock is ahead of this replica's; nil: not known.
	RedisClockSeconds *float64   `json:"redis_clock_seconds,omitempty"`
	TLSExpires        *time.Time `json:"tls_expires,omitempty"` // the end of the certificate that is served; nil without TLS
	LastReload        *Reload    `json:"last_reload,omitempty"` // nil: none since the start
	PID               int        `json:"pid"`                   // of the process that SIGHUP goes to
}

// Reload is one time that secrets and the certificate were read again.
type Reload struct {
	At    time.Time `json:"at"`
	Error string    `json:"error,omitempty"` // why the old ones stay in use; "": all were taken over
}

// Limit is a limit of the public listener.
type Limit struct {
	// Name is the reason of its refusals in roomgate_refusals_total.
	Name    string `json:"name"`
	Setting string `json:"setting"`
	Value   string `json:"value"` // as in the setting; 0 is no limit
}

// Replica is a process of the fleet.
type Replica struct {
	ID      string `json:"id"`
	Host    string `json:"host"`
	Version string `json:"version"`
	// UptimeSeconds is by its own clock against this replica's.
	UptimeSeconds  float64 `json:"uptime_seconds"`
	SeenSecondsAgo float64 `json:"seen_seconds_ago"`
	Self           bool    `json:"self"` // the one that answers
	// Figures are its own, at most some seconds old; nil: it tells none, as one without an operations listener does.
	Figures *Figures `json:"figures"`
}

// Figures is what a replica's members get.
type Figures struct {
	Rate float64 `json:"requests_per_second"` // over the last 10 s
	// Answered and Failed count the answers of the last minute, and those that failed.
	Answered float64 `json:"answered"`
	Failed   float64 `json:"failed"`
	Level    string  `json:"level"` // LevelDown, LevelRisk, or "" for well
}

// License is where one license's access token of one role stands on this replica.
type License struct {
	Name  string `json:"name"`
	Role  string `json:"role"`  // member or owner
	State string `json:"state"` // empty, fresh, due or failing
	// AgeSeconds and ExpiresInSeconds are 0 without a token.
	AgeSeconds       float64 `json:"age_seconds"`
	ExpiresInSeconds float64 `json:"expires_in_seconds"`
	LastError        string  `json:"last_error"` // a class of failure; "" for none
	// NextTrySeconds is the time until a failing fetch is tried again; 0 where none fails, and while a try is under way.
	NextTrySeconds float64 `json:"next_try_seconds"`
}

// Upstream is one of the two APIs. Its address is for operators only.
type Upstream struct {
	Name string `json:"name"`
	URL  string `json:"url"`
	// Circuit is closed while calls are made, open while none are, and half-open when a few are tried.
	Circuit string `json:"circuit"`
}

// Lane is how many requests the fast lane has answered, and how many it has left to net/http, since the start.
type Lane struct {
	On bool `json:"on"`
	// Taken and HandedOver, by reason, are filled in by the handler. A reason that has never been given is missing.
	Taken      float64            `json:"taken"`
	HandedOver map[string]float64 `json:"handed_over"`
}

// Redis is the fleet's shared memory as this replica sees it.
type Redis struct {
	State     string `json:"state"` // up or down
	LastError string `json:"last_error"`
}
