package ops

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Options configures the operations listener. Fields are required unless said otherwise.
type Options struct {
	// Loopback means that the listener is on a loopback address: requests for other host names are refused. If false, all host
	// names are answered, because a cluster has many names for a replica.
	Loopback bool
	// Ready reports whether the replica should get traffic, and if not, why.
	Ready func() (ready bool, reason string)
	// Status is called for each /status, /readyz and view of the page. For /status the handler fills in its Counters, and those
	// of its Lane.
	Status   func() Status
	Registry *prometheus.Registry
	// Level is the log's level. PUT /loglevel changes it until the process ends.
	Level *slog.LevelVar
	// History is what the status page plots. The caller runs it.
	History *History
}

// NewHandler returns the handler of the operations listener. None of its answers may be cached.
func NewHandler(o Options) http.Handler {
	mux, page := http.NewServeMux(), newPage(o)
	mux.HandleFunc("GET /{$}", page.show)
	mux.HandleFunc("GET /events", page.stream)
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]string{"status": "alive"})
	})
	mux.HandleFunc("GET /readyz", o.ready)
	mux.HandleFunc("GET /status", o.status)
	mux.HandleFunc("GET /loglevel", o.level)
	mux.Handle("PUT /loglevel", fromThisMachine(http.HandlerFunc(o.setLevel)))
	mux.Handle("GET /metrics", promhttp.HandlerFor(o.Registry, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	mux.Handle("/debug/pprof/", fromThisMachine(profiles()))
	var all http.Handler = mux
	if o.Loopback {
		all = forThisMachine(mux)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		all.ServeHTTP(w, r)
	})
}

// profiles serves net/http/pprof, without cmdline, which would show the command's arguments.
func profiles() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", http.NotFound)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

// readiness is the answer of /readyz.
type readiness struct {
	Status   string   `json:"status"`   // "ready", or why it isn't
	Degraded []string `json:"degraded"` // texts; /status has details
}

func (o Options) ready(w http.ResponseWriter, _ *http.Request) {
	answer := readiness{Status: "ready", Degraded: []string{}}
	for _, d := range o.Status().Degraded {
		answer.Degraded = append(answer.Degraded, d.Text)
	}
	status := http.StatusOK
	if ready, reason := o.Ready(); !ready {
		status, answer.Status = http.StatusServiceUnavailable, reason
	}
	writeJSON(w, status, answer)
}

func (o Options) status(w http.ResponseWriter, _ *http.Request) {
	s := o.Status()
	families, err := o.Registry.Gather()
	if err != nil {
		s.Degraded = append(s.Degraded, Degradation{Reason: "metrics", Text: "metrics can't be gathered", Level: LevelRisk, Since: time.Now()})
	} else {
		s.Counters = counters(families)
	}
	s.Lane.Taken, s.Lane.HandedOver = laneCounts(families)
	writeJSON(w, http.StatusOK, s)
}

func (o Options) level(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]string{"level": strings.ToLower(o.Level.Level().String())})
}

// setLevel handles PUT /loglevel?level=debug, info, warn or error.
func (o Options) setLevel(w http.ResponseWriter, r *http.Request) {
	asked := strings.ToLower(r.URL.Query().Get("level"))
	var level slog.Level
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, asked) || level.UnmarshalText([]byte(asked)) != nil {
		writeJSON(w, http.StatusBadRequest, map[string]string{"error": "?level= must be debug, info, warn or error"})
		return
	}
	o.Level.Set(level)
	o.level(w, r)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		http.Error(w, "can't encode", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // the server notices a client that has gone
}
