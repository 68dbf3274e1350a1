package bridge

// This file tells an operator how a request is judged, step by step, without doing what follows from it.

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

// Explanation is how one request is judged. It holds no token and no key.
type Explanation struct {
	Verdict  string               `json:"verdict"` // admitted, or why not
	Subject  string               `json:"sub"`
	Issuer   string               `json:"iss"`
	Denied   bool                 `json:"denied"` // on the deny list
	Licenses []LicenseExplanation `json:"licenses"`
	License  string               `json:"license"` // the one chosen; "" for none
	Role     string               `json:"role"`
	Standing *tokencache.Standing `json:"token,omitempty"`       // of the chosen credential, in Redis
	Error    string               `json:"token_error,omitempty"` // why it isn't known
}

// LicenseExplanation is the rules of one license.
type LicenseExplanation struct {
	Name  string          `json:"name"`
	Allow RuleExplanation `json:"allow"`
	Owner RuleExplanation `json:"owner"`
}

// RuleExplanation is a rule with its value, and the values of what && and || join in it.
type RuleExplanation struct {
	Text  string            `json:"text"`
	Value string            `json:"value"` // true, false, or the error that makes it false
	Parts []RuleExplanation `json:"parts,omitempty"`
}

// peeker shows where tokens stand. *tokencache.Cache is one.
type peeker interface {
	Peek(context.Context, tokencache.Key) (tokencache.Standing, error)
}

// Explain judges a request as Authenticate and Authorize do, and tells of every step. It asks Glory where they would; it
// fetches no access token.
func (b *Bridge) Explain(ctx context.Context, authorization []string, r Request, tokens peeker) Explanation {
	member, err := b.Authenticate(ctx, authorization)
	x := Explanation{Verdict: "admitted", Subject: member.Subject, Issuer: member.Issuer, Licenses: []LicenseExplanation{}}
	if err != nil {
		x.Verdict = err.Error()
		return x
	}
	x.Denied = b.isDenied(member)
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

// explainRule evaluates a rule and its parts.
func explainRule(ctx context.Context, e *evaluation, r *rule) RuleExplanation {
	x := RuleExplanation{Text: r.text, Value: e.describe(ctx, r)}
	env, err := newRuleEnv()
	if err != nil {
		return x
	}
	checked, issues := env.Compile(r.text)
	if issues.Err() != nil {
		return x // compiled before: doesn't happen
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

// joined are the operands of && and ||, however deep; none where the rule is a single condition.
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

// describe is a rule's value as text.
func (e *evaluation) describe(ctx context.Context, r *rule) string {
	holds, err := e.holds(ctx, r)
	if err == nil && !holds && r.always == nil {
		// Why it doesn't hold is what holds keeps to itself: an error is no.
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
