package main

// One request to an upstream shows whether it answers, whether its clock is right, and how long its certificate is valid. The
// gateway's own certificates are checked here, too.

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"roomgate/internal/upstream"
)

// A certificate that expires sooner gets a warning, and so does a clock that differs by more.
const (
	ownCertificateSoon  = 30 * 24 * time.Hour
	upstreamCertificate = 14 * 24 * time.Hour
	clockSkew           = 2 * time.Second
)

// probed is an upstream to check.
type probed struct {
	name, setting string
	base          *url.URL
	path          string
	timeout       time.Duration
	healthy       func(status int) (detail, hint string, good bool)
	mostSkew      time.Duration // requests fail if the clocks differ by more; 0: they never do
}

// isOK judges the answer of Glory's health route.
func isOK(status int) (detail, hint string, good bool) {
	return fmt.Sprintf("health: status %d", status), "does GLORY_URL lead to Glory, and is Glory healthy?", status == http.StatusOK
}

// asksForCredential judges the answer of a room route to a request without a credential, because Interwater has no health route. 401
// and 403 are good.
func asksForCredential(status int) (detail, hint string, good bool) {
	good = status < 300 || status == http.StatusUnauthorized || status == http.StatusForbidden
	return fmt.Sprintf("without a credential: status %d", status), "does INTERWATER_URL lead to Interwater, and is Interwater healthy?", good
}

// check sends one request.
func (u probed) check(ctx context.Context) []finding {
	f := begin(u.name)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.base.JoinPath(u.path).String(), nil)
	if err != nil {
		return []finding{f.fail("the URL is invalid", "is "+u.setting+" right?")}
	}
	service, err := upstream.New(upstream.Options{Name: u.name, Base: u.base, Timeout: u.timeout, Slots: 1})
	if err != nil {
		return []finding{f.fail(err.Error(), "is "+u.setting+" right?")}
	}
	defer service.Close()
	sent := time.Now()
	answer, err := service.RoundTrip(request)
	if err != nil {
		return []finding{f.fail(upstream.Plain(err).Error(), u.whyNot(err))}
	}
	defer func() { _ = answer.Body.Close() }()
	detail, hint, good := u.healthy(answer.StatusCode)
	if f = f.end(detail); !good {
		f = f.fail(detail, hint)
	}
	findings := []finding{f, u.clock(answer.Header.Get("Date"), sent, time.Now())}
	if answer.TLS != nil {
		chain := answer.TLS.PeerCertificates
		findings = append(findings, certificate(u.name+" certificate", chain, upstreamCertificate, "tell those who run "+u.name))
	}
	return findings
}

// certificateHint returns what to look at if err refuses a server's certificate, and "" for other errors. setting holds the server's
// URL.
func certificateHint(setting string, err error) string {
	invalid, isInvalid := errors.AsType[x509.CertificateInvalidError](err)
	_, isOther := errors.AsType[x509.HostnameError](err)
	_, isUnknown := errors.AsType[x509.UnknownAuthorityError](err)
	switch {
	case isInvalid && invalid.Reason == x509.Expired:
		return "has its certificate expired, or is this machine's clock wrong?"
	case isOther:
		return "does its certificate name the host in " + setting + "?"
	case isUnknown:
		return "does this machine know its certificate authority? SSL_CERT_FILE names a file with more roots"
	}
	return ""
}

// whyNot returns what to look at if there was no answer.
func (u probed) whyNot(err error) string {
	if hint := certificateHint(u.setting, err); hint != "" {
		return hint
	}
	_, isName := errors.AsType[*net.DNSError](err)
	timeout, isNet := errors.AsType[net.Error](err)
	switch {
	case errors.Is(err, http.ErrSchemeMismatch):
		return "it answers without TLS: should " + u.setting + " begin with http://, or name another port?"
	case isName:
		return "is the host in " + u.setting + " spelt right, and known to the name server?"
	case isNet && timeout.Timeout(), errors.Is(err, upstream.ErrTimeout):
		return "is " + u.setting + " reachable from here, or does a firewall block it?"
	}
	return "is " + u.setting + " right, and reachable from here?"
}

// clock compares the upstream's clock with ours. Date has whole seconds, so half a second more is the best guess.
func (u probed) clock(date string, sent, received time.Time) finding {
	f := finding{Check: u.name + " clock"}
	at, err := http.ParseTime(date)
	if err != nil {
		return f.warn("unknown: it sends no Date", "compare this machine's clock with a time server")
	}
	took := received.Sub(sent)
	skew := at.Add(time.Second / 2).Sub(sent.Add(took / 2)).Round(time.Second / 10)
	doubt := (time.Second + took) / 2
	detail := fmt.Sprintf("%s behind ours", -skew)
	if skew > 0 {
		detail = fmt.Sprintf("%s ahead of ours", skew)
	}
	const hint = "does a time server set this machine's clock, and the upstream's?"
	switch far := skew.Abs() - doubt; {
	case far <= clockSkew-time.Second/2:
		return f.end("agrees with ours to " + (skew.Abs() + doubt).Round(time.Second/10).String())
	case u.mostSkew > 0 && far > max(u.mostSkew, clockSkew):
		return f.fail(detail, "more than GLORY_JWT_LEEWAY ("+u.mostSkew.String()+
			"): members' tokens count as not yet valid, or as expired; "+hint)
	}
	return f.warn(detail, hint)
}

// checkOwnCertificate checks a certificate of the gateway's own in the file path. setting names that file.
func checkOwnCertificate(check, setting, path string) finding {
	f := begin(check)
	text, err := os.ReadFile(path)
	if err != nil {
		return f.fail("can't read the file", "is "+setting+" right?")
	}
	var chain []*x509.Certificate
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		one, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return f.fail("can't read a certificate in the file", "is "+setting+" right?")
		}
		chain = append(chain, one)
	}
	checked := certificate(f.Check, chain, ownCertificateSoon, "renew it; the file is read again when it changes")
	return f.conclude(checked.Result, checked.Detail, checked.Hint)
}

// certificate checks when a chain is valid: while all its certificates are.
func certificate(check string, chain []*x509.Certificate, soon time.Duration, hint string) finding {
	f := finding{Check: check}
	if len(chain) == 0 {
		return f.fail("there is none", hint)
	}
	begins, ends := chain[0].NotBefore, chain[0].NotAfter
	for _, c := range chain[1:] {
		if c.NotAfter.Before(ends) {
			ends = c.NotAfter
		}
		if c.NotBefore.After(begins) {
			begins = c.NotBefore
		}
	}
	left := time.Until(ends)
	switch until := ends.UTC().Format(time.DateOnly); {
	case left <= 0:
		return f.fail("expired on "+until, hint)
	case time.Until(begins) > 0:
		return f.fail("not valid before "+begins.UTC().Format(time.RFC3339), "is this machine's clock right?")
	case left < soon:
		return f.warn(fmt.Sprintf("expires on %s, in %d days", until, int(left.Hours()/24)), hint)
	default:
		return f.end(fmt.Sprintf("valid until %s, %d days", until, int(left.Hours()/24)))
	}
}
