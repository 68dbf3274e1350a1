package bridge

// This file compiles and evaluates the rules that say who may use a license, in CEL (cel.dev).

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/ext"
)

// ruleCost bounds one evaluation in CEL's own units, one for each step: some milliseconds at most.
const ruleCost = 20_000

// ruleMember and ruleRequest are what a rule sees, and all of it: the type checker refuses any other name.
type ruleMember struct {
	Sub     string         `cel:"sub"`
	Iss     string         `cel:"iss"`
	Claims  map[string]any `cel:"claims"`
	Profile Profile        `cel:"profile"`
}

type ruleRequest struct {
	Method string `cel:"method"`
	Path   string `cel:"path"` // as sent
	Room   string `cel:"room"` // decoded once; "" where the route has none
}

// rule is one compiled condition. It is safe for concurrent use.
type rule struct {
	text    string
	program cel.Program
	always  *bool // its value, where it is a mere true or false
	member  bool  // it mentions the member
	claims  bool  // it needs the member's claims
	profile bool  // it needs the member's profile
	request bool  // it mentions the request
}

// newRuleEnv is what all rules are compiled in.
func newRuleEnv() (*cel.Env, error) {
	env, err := cel.NewEnv(
		ext.NativeTypes(reflect.TypeFor[ruleMember](), reflect.TypeFor[ruleRequest](), reflect.TypeFor[Profile](), ext.ParseStructTags(true)),
		ext.Strings(),
		cel.Variable("member", cel.ObjectType("bridge.ruleMember")),
		cel.Variable("request", cel.ObjectType("bridge.ruleRequest")),
	)
	if err != nil {
		return nil, fmt.Errorf("CEL: %w", err)
	}
	return env, nil
}

// compileRule parses and type-checks text. The error is a text for the operator that points at the column.
func compileRule(env *cel.Env, text string) (*rule, error) {
	checked, issues := env.Compile(text)
	if issues.Err() != nil {
		return nil, issues.Err()
	}
	if !checked.OutputType().IsExactType(types.BoolType) {
		return nil, fmt.Errorf("gives %s, and must give bool", checked.OutputType())
	}
	program, err := env.Program(checked, cel.CostLimit(ruleCost), cel.InterruptCheckFrequency(100))
	if err != nil {
		return nil, fmt.Errorf("program: %w", err)
	}
	r := &rule{text: text, program: program}
	r.inspect(ast.NavigateAST(checked.NativeRep()))
	return r, nil
}

// inspect finds out what the rule depends on.
func (r *rule) inspect(root ast.NavigableExpr) {
	if root.Kind() == ast.LiteralKind {
		if value, ok := root.AsLiteral().Value().(bool); ok {
			r.always = &value
		}
	}
	for _, name := range ast.MatchDescendants(root, ast.KindMatcher(ast.IdentKind)) {
		if name.AsIdent() != "member" {
			r.request = r.request || name.AsIdent() == "request"
			continue
		}
		r.member = true
		field := "" // the whole member, as in member == member
		if parent, ok := name.Parent(); ok && parent.Kind() == ast.SelectKind {
			field = parent.AsSelect().FieldName()
		}
		r.claims = r.claims || field == "claims" || field == ""
		r.profile = r.profile || field == "profile" || field == ""
	}
}

// holds evaluates the rule. With an error it doesn't hold.
func (r *rule) holds(ctx context.Context, m *ruleMember, q *ruleRequest) (bool, error) {
	if r.always != nil {
		return *r.always, nil
	}
	value, _, err := r.program.ContextEval(ctx, map[string]any{"member": m, "request": q})
	if err != nil {
		return false, fmt.Errorf("rule: %w", err)
	}
	holds, isBool := value.Value().(bool)
	return isBool && holds, nil
}

// admitsAnybody reports whether an owner rule is true without looking at who asks: it says nothing of the member, or a
// stranger of whom nothing is known satisfies it.
func (r *rule) admitsAnybody(ctx context.Context) bool {
	if r.always != nil {
		return *r.always
	}
	if !r.member {
		return true
	}
	stranger := &ruleMember{Sub: "roomgate-stranger", Iss: "roomgate-stranger", Claims: map[string]any{}}
	holds, err := r.holds(ctx, stranger, &ruleRequest{Method: "GET", Path: "/", Room: ""})
	return err == nil && holds
}

// celNumbers turns the JSON numbers of claims into what CEL calculates with: int where the number is one, else double.
func celNumbers(value any) any {
	switch v := value.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		f, _ := v.Float64() // was read as a JSON number; beyond a double it is ±Inf
		return f
	case map[string]any:
		converted := make(map[string]any, len(v))
		for name, member := range v {
			converted[name] = celNumbers(member)
		}
		return converted
	case []any:
		converted := make([]any, len(v))
		for i, element := range v {
			converted[i] = celNumbers(element)
		}
		return converted
	}
	return value
}
