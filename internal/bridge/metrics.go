package bridge

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the package's counters. The names of licenses come from the settings; all other label values are in the help texts.
type metrics struct {
	// verified counts calls of Authenticate with a token of the right form, by mode and result.
	verified *prometheus.CounterVec
	// admittedLocally and admittedByGlory are the two of verified that most requests use, so they are looked up once.
	admittedLocally, admittedByGlory prometheus.Counter
	// decided counts calls of Authorize that came to a decision, by license and role.
	decided *prometheus.CounterVec
}

// newMetrics returns counters that aren't registered.
func newMetrics() metrics {
	m := metrics{
		verified: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "roomgate_member_verifications_total",
			Help: "Member tokens judged, by mode (local, remote: by Glory) and result (admitted, denied: not valid, failed: Glory " +
				"gave no verdict).",
		}, []string{"mode", "result"}),
		decided: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "roomgate_license_decisions_total",
			Help: "Room requests by the license and role (member, owner) that admitted them. Where the license is none, the role tells why " +
				"(none: no license admits the member, denied: the deny list).",
		}, []string{"license", "role"}),
	}
	m.admittedLocally, m.admittedByGlory = m.verified.WithLabelValues("local", "admitted"), m.verified.WithLabelValues("remote", "admitted")
	return m
}

// register registers the counters. The error joins those of both.
func (m metrics) register(r prometheus.Registerer) error {
	return errors.Join(r.Register(m.verified), r.Register(m.decided))
}

// outcome returns the label for a verification that ended with err.
func outcome(err error) string {
	switch {
	case err == nil:
		return "admitted"
	case errors.Is(err, ErrMemberToken):
		return "denied"
	}
	return "failed"
}
