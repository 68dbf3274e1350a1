package bridge

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

// ruleCost bounds one evaluation, in CEL's units of about one step each. That takes some milliseconds at most. A rule that costs more
// fails, and so is false.
const ruleCost = 20_000

// ruleMember is the variable member of a rule. The type checker refuses other names than these.
type ruleMember struct {
	Sub     string         `cel:"sub"`
	Iss     string         `cel:"iss"`
	Claims  map[string]any `cel:"claims"`
	Profile Profile        `cel:"profile"`
}

// ruleRequest is the variable request of a rule. Its fields are those of Request.
type ruleRequest struct {
	Method string `cel:"method"`
	Path   string `cel:"path"`
	Room   string `cel:"room"`
}

// rule is one compiled rule in CEL (cel.dev). It never changes and is safe for concurrent use.
type rule struct {
	text    string
	program cel.Program
	always  *bool // the value of a rule that is just true or false; nil for any other
	member  bool  // it uses the member
	claims  bool  // it needs the member's claims
	profile bool  // it needs the member's profile
	request bool  // it uses the request
}

// newRuleEnv returns the environment of all rules: the two variables, and CEL's functions for strings.
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

// compileRule parses and type-checks a rule, which must be a bool. The error is for the operator; for a mistake in the syntax or
// a type it shows the place.
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

// inspect sets what the rule depends on: always, member, claims, profile and request.
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
		field := "" // the rule uses the whole member, as in member == member
		if parent, ok := name.Parent(); ok && parent.Kind() == ast.SelectKind {
			field = parent.AsSelect().FieldName()
		}
		r.claims = r.claims || field == "claims" || field == ""
		r.profile = r.profile || field == "profile" || field == ""
	}
}

// holds evaluates the rule. m must have the claims and the profile if the rule needs them. With an error the value is false.
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

// admitsAnybody reports whether a rule is true for everybody. It counts as such if it is just true, if it doesn't use the member, or
// if it is true for a member without claims and profile. It is for owner rules, where that is a mistake.
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

// celNumbers returns value with each json.Number in it converted for CEL: to an int if it is one, otherwise to a double. It
// doesn't change value.
func celNumbers(value any) any {
	switch v := value.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		f, _ := v.Float64() // the only possible error is a number too large for a double, which becomes ±Inf
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
