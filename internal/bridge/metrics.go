package bridge

// This file counts what is decided here. Label values are bounded: licenses come from the settings, the others stand in the
// help texts.

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	verified *prometheus.CounterVec
	// Of verified, by mode: the two that most requests count.
	admittedLocally, admittedByGlory prometheus.Counter
	decided                          *prometheus.CounterVec
}

func newMetrics() metrics {
	m := metrics{
		verified: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "roomgate_member_verifications_total",
			Help: "Member tokens judged, by mode (local, remote: by Glory) and result (admitted, denied: no valid one, failed: Glory " +
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

func (m metrics) register(r prometheus.Registerer) error {
	return errors.Join(r.Register(m.verified), r.Register(m.decided))
}

// outcome is the result of a verification that ended with err.
func outcome(err error) string {
	switch {
	case err == nil:
		return "admitted"
	case errors.Is(err, ErrMemberToken):
		return "denied"
	}
	return "failed"
}
