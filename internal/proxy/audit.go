package proxy

// This file writes the audit events: what somebody would look for who asks who tried what, beside the access event.

import (
	"context"
	"log/slog"
	"net/http"
	"strings"

	"roomgate/internal/fleet"
)

// auditEvents says which refusals are audited, by their reason, and as what.
func auditEvents() map[string]string {
	return map[string]string{
		"bad_token": "verification_failure", "logged_out": "verification_failure", "bad_session": "verification_failure",
		"forbidden": "license_refusal", "denied": "license_refusal",
		"login_limit": "limit_hit", "account_limit": "limit_hit", "member_limit": "limit_hit", "logout_limit": "limit_hit",
		"malformed": "attack", "header": "attack", "cross_origin": "attack",
	}
}

// audit writes one event of the request. The reason is "" where the request was let through.
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
		slog.String("trace_id", c.span.TraceID().String()),
	)
}

// probes reports whether the path is the token endpoint's in some spelling.
func probes(path string) bool {
	first, rest, ok := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	second, _, _ := strings.Cut(rest, "/")
	return ok && folds(first, "v1") && folds(second, "auth")
}

// forged reports whether the client sent what only the gateway may.
func forged(h http.Header) bool {
	for name := range h {
		if foldsToCredential(name) {
			return true
		}
	}
	return false
}
