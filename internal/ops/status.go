package ops

import "time"

// Status is the state of one replica, and the answer of /status.
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
	ReplicasKnown bool               `json:"replicas_known"` // false while Redis can't be asked: there may be others
	Degraded      []Degradation      `json:"degraded"`       // empty if all is well
	Counters      map[string]float64 `json:"counters"`       // by metric, summed over labels
	Facts         Facts              `json:"facts"`
}

// The levels of a degradation.
const (
	LevelDown = "down" // members fail
	LevelRisk = "risk" // members are served, but something is missing
)

// LevelOf returns the level of a replica with these degradations; "" if there are none.
func LevelOf(list []Degradation) (level string) {
	for _, d := range list {
		if d.Level == LevelDown {
			return LevelDown
		}
		level = d.Level
	}
	return level
}

// Degradation is something that is wrong.
type Degradation struct {
	// Reason is its kind, as in roomgate_degraded: answers, calls, redis, redis_part, secrets, circuit, verdicts, token,
	// refused_token, log or metrics.
	Reason string `json:"reason"`
	// Subject is what it is about, such as a route; "" if Reason says it all.
	Subject string    `json:"subject,omitempty"`
	Text    string    `json:"text"`
	Level   string    `json:"level"` // LevelDown or LevelRisk
	Since   time.Time `json:"since"`
	// Share of answers or calls that failed; 0 for other reasons.
	Share float64 `json:"share,omitempty"`
}

// Facts are further things that operators want to know about a replica.
type Facts struct {
	Verification string    `json:"verification"` // of member tokens: local or remote
	Time         time.Time `json:"time"`         // by this replica's clock
	// RedisClockSeconds is how far Redis's clock is ahead of this replica's; nil: unknown.
	RedisClockSeconds *float64   `json:"redis_clock_seconds,omitempty"`
	TLSExpires        *time.Time `json:"tls_expires,omitempty"` // end of the served certificate; nil without TLS
	LastReload        *Reload    `json:"last_reload,omitempty"` // nil: none since the start
	PID               int        `json:"pid"`                   // for SIGHUP
}

// Reload is one re-reading of secrets and the certificate.
type Reload struct {
	At    time.Time `json:"at"`
	Error string    `json:"error,omitempty"` // why the old ones stay in use; "": the new ones are in use
}

// Limit is a limit of the public listener.
type Limit struct {
	// Name is the reason of its refusals in roomgate_refusals_total.
	Name    string `json:"name"`
	Setting string `json:"setting"`
	Value   string `json:"value"` // as in the setting; 0: no limit
}

// Replica is a process of the fleet.
type Replica struct {
	ID      string `json:"id"`
	Host    string `json:"host"`
	Version string `json:"version"`
	// UptimeSeconds is the time from its start by its own clock until now by this replica's clock.
	UptimeSeconds  float64 `json:"uptime_seconds"`
	SeenSecondsAgo float64 `json:"seen_seconds_ago"`
	Self           bool    `json:"self"` // this replica
	// Figures are what it reports, at most some seconds old; nil: it reports none, like a replica without an operations listener.
	Figures *Figures `json:"figures"`
}

// Figures summarize what a replica's members get.
type Figures struct {
	Rate float64 `json:"requests_per_second"` // over the last 10 s
	// Answered counts the answers of the last minute, Failed those that failed.
	Answered float64 `json:"answered"`
	Failed   float64 `json:"failed"`
	Level    string  `json:"level"` // LevelDown, LevelRisk, or "" for well
}

// License is the state of one license's access token for one role on this replica.
type License struct {
	Name  string `json:"name"`
	Role  string `json:"role"`  // member or owner
	State string `json:"state"` // empty, fresh, due or failing
	// AgeSeconds and ExpiresInSeconds are 0 without a token.
	AgeSeconds       float64 `json:"age_seconds"`
	ExpiresInSeconds float64 `json:"expires_in_seconds"`
	LastError        string  `json:"last_error"` // a class of failure; "": none
	// NextTrySeconds is the time until a failing fetch is tried again; 0 if none fails or a try is under way.
	NextTrySeconds float64 `json:"next_try_seconds"`
}

// Upstream is one of the two APIs. Its address is for operators only.
type Upstream struct {
	Name string `json:"name"`
	URL  string `json:"url"`
	// Circuit is closed (calls are made), open (no calls) or half-open (a few are tried).
	Circuit string `json:"circuit"`
}

// Lane counts the requests that the fast lane has answered, and those that it has handed over to net/http, since the start.
type Lane struct {
	On bool `json:"on"`
	// The handler fills in Taken, and HandedOver by reason. A reason that has never occurred is missing.
	Taken      float64            `json:"taken"`
	HandedOver map[string]float64 `json:"handed_over"`
}

// Redis is the state of Redis as this replica sees it.
type Redis struct {
	State     string `json:"state"` // up or down
	LastError string `json:"last_error"`
}
