package main

// This file checks what one request to an upstream tells: whether it answers, what its clock says, and how long its certificate
// holds; and the gateway's own certificate.

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

// When there is still time to do something about it.
const (
	ownCertificateSoon  = 30 * 24 * time.Hour
	upstreamCertificate = 14 * 24 * time.Hour
	clockSkew           = 2 * time.Second
)

// probed is an upstream to be asked.
type probed struct {
	name, setting string
	base          *url.URL
	path          string
	timeout       time.Duration
	healthy       func(status int) (detail, hint string, good bool)
	mostSkew      time.Duration // more makes requests fail; 0: none does
}

// isOK is what a health route answers.
func isOK(status int) (detail, hint string, good bool) {
	return fmt.Sprintf("health: status %d", status), "is GLORY_URL that of Glory, and Glory well?", status == http.StatusOK
}

// asksForCredential takes any answer that isn't a server's failure or a wrong address: Interwater has no health route, and
// without a credential a room route is refused.
func asksForCredential(status int) (detail, hint string, good bool) {
	good = status < 300 || status == http.StatusUnauthorized || status == http.StatusForbidden
	return fmt.Sprintf("without a credential: status %d", status), "is INTERWATER_URL that of Interwater, and Interwater well?", good
}

// check asks once.
func (u probed) check(ctx context.Context) []finding {
	f := begin(u.name)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.base.JoinPath(u.path).String(), nil)
	if err != nil {
		return []finding{f.fail("no address to ask", "is "+u.setting+" right?")}
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

// certificateHint is what to look at when the certificate of the server that setting names was refused; "" for another error.
func certificateHint(setting string, err error) string {
	invalid, isInvalid := errors.AsType[x509.CertificateInvalidError](err)
	_, isOther := errors.AsType[x509.HostnameError](err)
	_, isUnknown := errors.AsType[x509.UnknownAuthorityError](err)
	switch {
	case isInvalid && invalid.Reason == x509.Expired:
		return "is its certificate to be renewed, or this machine's clock wrong?"
	case isOther:
		return "is the host in " + setting + " the one that the certificate names?"
	case isUnknown:
		return "is its authority known here? SSL_CERT_FILE names a file with more roots"
	}
	return ""
}

// whyNot is what to look at when there was no answer.
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
		return "is " + u.setting + " reachable from here, and no firewall between?"
	}
	return "is " + u.setting + " right, and reachable from here?"
}

// clock compares the upstream's with ours. Date counts whole seconds, so half of one is the best guess for the rest.
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
	const hint = "does a time server keep this machine's clock, and theirs?"
	switch far := skew.Abs() - doubt; {
	case far <= clockSkew-time.Second/2:
		return f.end("agrees with ours to " + (skew.Abs() + doubt).Round(time.Second/10).String())
	case u.mostSkew > 0 && far > max(u.mostSkew, clockSkew):
		return f.fail(detail, "more than GLORY_JWT_LEEWAY ("+u.mostSkew.String()+
			"): members' tokens count as not yet valid, or as expired; "+hint)
	}
	return f.warn(detail, hint)
}

// checkOwnCertificate looks at a certificate of the gateway's own, in the file that setting names.
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

// certificate looks at the times of all of a chain: whichever ends first ends it.
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
