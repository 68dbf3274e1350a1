package bridge

import (
	"context"
	"errors"
	"fmt"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"

	"roomgate/internal/tokencache"
	"roomgate/internal/upstream"
)

// Explanation tells an operator how one request is judged, step by step. It holds no token and no key.
type Explanation struct {
	// Verdict is on the member token: "admitted", or why not. In the second case all other fields are empty.
	Verdict string `json:"verdict"`
	// Subject and Issuer are the member's.
	Subject string `json:"sub"`
	Issuer  string `json:"iss"`
	// Denied: the member or the member token is on the deny list.
	Denied bool `json:"denied"`
	// Licenses are all licenses, in the order in which they are tried.
	Licenses []LicenseExplanation `json:"licenses"`
	// License and Role are what Authorize has chosen; "": no license admits the request.
	License string `json:"license"`
	Role    string `json:"role"`
	// Standing is the state of the chosen access token in Redis. nil: none was chosen, or Error says why it isn't known.
	Standing *tokencache.Standing `json:"token,omitempty"`
	Error    string               `json:"token_error,omitempty"`
}

// LicenseExplanation is one license with its rules.
type LicenseExplanation struct {
	Name  string          `json:"name"`
	Allow RuleExplanation `json:"allow"`
	Owner RuleExplanation `json:"owner"`
}

// RuleExplanation is a rule with its value.
type RuleExplanation struct {
	Text string `json:"text"`
	// Value is "true", "false", or the error that makes the rule false.
	Value string `json:"value"`
	// Parts are the operands of && and || in the rule, at any depth; nil: the rule has neither.
	Parts []RuleExplanation `json:"parts,omitempty"`
}

// peeker looks up access tokens in Redis. *tokencache.Cache implements it.
type peeker interface {
	Peek(context.Context, tokencache.Key) (tokencache.Standing, error)
}

// Explain judges a request as Authenticate and Authorize do, and returns every step. It evaluates the rules of all licenses, so
// it may ask Glory for a profile that Authorize wouldn't need. It fetches no access token. It counts in the metrics like a request.
func (b *Bridge) Explain(ctx context.Context, authorization []string, r Request, tokens peeker) Explanation {
	member, err := b.Authenticate(ctx, authorization)
	x := Explanation{Verdict: "admitted", Subject: member.Subject, Issuer: member.Issuer, Licenses: []LicenseExplanation{}}
	if err != nil {
		x.Verdict = err.Error()
		return x
	}
	x.Denied = errors.Is(b.listed(member), ErrDenied)
	e := &evaluation{bridge: b, from: member, request: &ruleRequest{Method: r.Method, Path: r.Path, Room: r.Room}}
	for _, l := range b.secrets.Load().licenses {
		x.Licenses = append(x.Licenses, LicenseExplanation{
			Name: l.member.License, Allow: explainRule(ctx, e, l.allow), Owner: explainRule(ctx, e, l.owner),
		})
	}
	grant, err := b.Authorize(ctx, member, r)
	if err != nil {
		return x
	}
	x.License, x.Role = grant.License, grant.Role
	standing, err := tokens.Peek(ctx, grant.key)
	if err != nil {
		x.Error = err.Error()
		return x
	}
	x.Standing = &standing
	return x
}

// explainRule evaluates a rule, and each of its parts as a rule of its own.
func explainRule(ctx context.Context, e *evaluation, r *rule) RuleExplanation {
	x := RuleExplanation{Text: r.text, Value: e.describe(ctx, r)}
	env, err := newRuleEnv()
	if err != nil {
		return x
	}
	checked, issues := env.Compile(r.text)
	if issues.Err() != nil {
		return x // can't happen: the same text was compiled before
	}
	for _, part := range joined(checked.NativeRep().Expr()) {
		text, err := cel.ExprToString(part, checked.NativeRep().SourceInfo())
		if err != nil {
			continue
		}
		if sub, err := compileRule(env, text); err == nil {
			x.Parts = append(x.Parts, RuleExplanation{Text: text, Value: e.describe(ctx, sub)})
		}
	}
	return x
}

// joined returns the operands of && and || in e, at any depth; nil if e is a single condition.
func joined(e ast.Expr) []ast.Expr {
	if e.Kind() != ast.CallKind {
		return nil
	}
	call := e.AsCall()
	if name := call.FunctionName(); name != operators.LogicalAnd && name != operators.LogicalOr {
		return nil
	}
	var parts []ast.Expr
	for _, operand := range call.Args() {
		if inner := joined(operand); inner != nil {
			parts = append(parts, inner...)
		} else {
			parts = append(parts, operand)
		}
	}
	return parts
}

// describe returns a rule's value as in RuleExplanation.Value.
func (e *evaluation) describe(ctx context.Context, r *rule) string {
	holds, err := e.holds(ctx, r)
	if err == nil && !holds && r.always == nil {
		// Evaluate it again for the error: evaluation.holds returns false without it.
		_, err = r.holds(ctx, e.member, e.request)
	}
	switch {
	case errors.Is(err, ErrMemberToken) || errors.Is(err, upstream.ErrFailed) || errors.Is(err, upstream.ErrTimeout) ||
		errors.Is(err, upstream.ErrBusy) || errors.Is(err, upstream.ErrCircuit):
		return "no profile: " + err.Error()
	case err != nil:
		return "error: " + err.Error()
	}
	return fmt.Sprint(holds)
}
