package proxy

import (
	"context"
	"log/slog"
	"net/http"
	"strings"

	"roomgate/internal/fleet"
)

// auditEvents returns the audit events by the reasons of refusals. Other refusals aren't audited.
func auditEvents() map[string]string {
	return map[string]string{
		"bad_token": "verification_failure", "logged_out": "verification_failure", "bad_session": "verification_failure",
		"forbidden": "license_refusal", "denied": "license_refusal",
		"login_limit": "limit_hit", "account_limit": "limit_hit", "member_limit": "limit_hit", "logout_limit": "limit_hit",
		"malformed": "attack", "header": "attack", "cross_origin": "attack",
	}
}

// audit writes one audit event of the request, beside its access event. Audit events answer the question who tried what. reason is "" if
// the event has none.
func audit(log *slog.Logger, event, reason string, c *call) {
	log.LogAttrs(context.Background(), slog.LevelInfo, "audit",
		slog.Int("schema_version", fleet.AuditVersion),
		slog.String("event", event),
		slog.String("reason", reason),
		slog.String("request_id", c.requestID),
		slog.String("sub", c.subject),
		slog.String("license", c.grant.License),
		slog.String("method", c.method),
		slog.String("path", loggedPath(c)),
		slog.String("client", c.client),
		slog.String("trace_id", c.traceID()),
	)
}

// probes reports whether the path is that of the token endpoint (v1/auth), in any spelling, or is below it.
func probes(path string) bool {
	first, rest, ok := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	second, _, _ := strings.Cut(rest, "/")
	return ok && folds(first, "v1") && folds(second, "auth")
}

// forged reports whether the client sent a credential header, which only the gateway may set.
func forged(h http.Header) bool {
	for name := range h {
		if foldsToCredential(name) {
			return true
		}
	}
	return false
}
