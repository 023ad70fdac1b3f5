package authz

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/types"
)

// interruptEvery is how many steps of a comprehension run between two looks at the context.
const interruptEvery = 100

// expression is a compiled CEL condition.
type expression struct {
	source  string
	program cel.Program
	metered bool // its cost cannot be bounded beforehand, so it is counted while it runs
}

func (e *expression) match(j *judgment) (truth, error) {
	out, err := e.eval(j)
	if err != nil {
		return j.undecided(), errors.New("cel: " + e.explain(err))
	}
	if out == types.True {
		return yes, nil
	}
	unknown, ok := out.(*types.Unknown)
	if !ok {
		return no, nil
	}
	reasons := unknown.IDs()
	switch {
	case slices.Contains(reasons, obscure):
		return j.unseen(), nil
	case slices.Contains(reasons, unsaid):
		return open, nil
	}
	return no, nil // it is about a kind of target that the call does not name
}

func (e *expression) eval(j *judgment) (out any, err error) {
	if e.metered {
		out, _, err = e.program.ContextEval(j.ctx, &j.facts)
		return out, err
	}
	out, _, err = e.program.Eval(&j.facts)
	return out, err
}

// explain words an evaluation error for the operator. CEL puts values into its messages, and a value may be payload, which
// no record may hold: a detail is repeated only if the expression itself spells it.
func (e *expression) explain(err error) string {
	if own, ok := errors.AsType[faultError](err); ok {
		return own.Error()
	}
	message := err.Error()
	for _, known := range []string{
		"no such key", "no such attribute(s)", "no such overload", "index out of bounds", "division by zero", "modulus by zero",
		"integer overflow", "unsigned integer overflow", "operation interrupted", "operation cancelled: actual cost limit exceeded",
	} {
		rest, ok := strings.CutPrefix(message, known)
		if !ok {
			continue
		}
		if detail, ok := strings.CutPrefix(rest, ": "); ok && strings.Contains(e.source, detail) {
			return known + ": " + detail
		}
		return known
	}
	return "the evaluation failed"
}

// compileCEL compiles an expression. namesMethod is set if it asks for the method.
func (k *compiler) compileCEL(field, source string) (c condition, namesMethod bool) {
	if len(source) > maxExpression {
		k.add(field, "is longer than %d bytes", maxExpression)
		return nil, false
	}
	l := languageOnce()
	checked := k.check(field, l, source)
	if checked == nil {
		return nil, false
	}
	if t := checked.OutputType(); !t.IsExactType(cel.BoolType) {
		k.add(field, "1:1: must yield a bool, not %s", t)
		return nil, false
	}
	if !k.checkCalls(field, checked) {
		return nil, false
	}
	return k.plan(field, source, checked), slices.Contains(references(checked), "mcp.methodName")
}

// check parses an expression, puts our own functions into it, and checks its types. It returns nil if there are problems.
func (k *compiler) check(field string, l *language, source string) *cel.Ast {
	parsed, issues := l.env.Parse(source)
	checked := parsed
	if issues.Err() == nil {
		before := len(k.problems)
		rewrite(parsed.NativeRep(), func(e ast.Expr, format string, args ...any) {
			k.at(field, parsed.NativeRep().SourceInfo(), e, format, args...)
		})
		if len(k.problems) > before {
			return nil
		}
		checked, issues = l.env.Check(parsed)
	}
	if issues.Err() == nil {
		return checked
	}
	for _, e := range issues.Errors() {
		k.add(field, "%d:%d: %s", e.Location.Line(), e.Location.Column()+1, l.explain(e.Message))
	}
	return nil
}

// plan chooses how an expression runs. Counting the cost of every step takes longer than the steps of a simple rule, so
// an expression whose greatest possible cost is within the limit runs uncounted.
func (k *compiler) plan(field, source string, checked *cel.Ast) condition {
	l := languageOnce()
	estimate, err := l.env.EstimateCost(checked, sizes{})
	if err != nil {
		k.add(field, "1:1: its cost cannot be estimated: %v", err)
		return nil
	}
	if estimate.Min > maxCost {
		k.add(field, "1:1: costs at least %d, over the limit of %d", estimate.Min, maxCost)
		return nil
	}
	options := []cel.ProgramOption{cel.EvalOptions(cel.OptOptimize)}
	metered := estimate.Max > maxCost
	if metered {
		options = append(options, cel.CostLimit(maxCost), cel.InterruptCheckFrequency(interruptEvery))
	}
	program, err := l.env.Program(checked, options...)
	if err != nil {
		k.add(field, "1:1: %v", err)
		return nil
	}
	return &expression{source, program, metered}
}

// explain adds what a root has to a complaint about an unknown variable under it.
func (l *language) explain(message string) string {
	for root, fields := range l.fields {
		if strings.Contains(message, "undeclared reference to '"+root+"'") || strings.Contains(message, "undeclared reference to '"+root+".") {
			return fmt.Sprintf("%s; %s has %s", message, root, strings.Join(fields, ", "))
		}
	}
	return message
}

// checkCalls refuses patterns that are not written in the policy, so that no caller chooses a regular expression, and loop
// variables that hide a root, because has() is resolved before scopes are.
func (k *compiler) checkCalls(field string, checked *cel.Ast) bool {
	ok := true
	info := checked.NativeRep().SourceInfo()
	complain := func(e ast.Expr, format string, args ...any) {
		k.at(field, info, e, format, args...)
		ok = false
	}
	ast.PreOrderVisit(checked.NativeRep().Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		switch e.Kind() {
		case ast.CallKind:
			if why := checkRegex(e.AsCall()); why != "" {
				complain(e, "%s", why)
			}
		case ast.ComprehensionKind:
			c := e.AsComprehension()
			for _, name := range []string{c.IterVar(), c.IterVar2()} {
				if languageOnce().fields[name] != nil {
					complain(e, "the loop variable %q hides the root of that name", name)
				}
			}
		}
	}))
	return ok
}

func checkRegex(c ast.CallExpr) string {
	if c.FunctionName() != "matches" {
		return ""
	}
	pattern := c.Args()[len(c.Args())-1]
	if pattern.Kind() != ast.LiteralKind {
		return "the pattern of matches() must be a literal string"
	}
	if s, ok := pattern.AsLiteral().Value().(string); ok && len(s) > maxRegex {
		return fmt.Sprintf("the pattern of matches() is longer than %d bytes", maxRegex)
	}
	return ""
}

// references lists the variables an expression reads.
func references(checked *cel.Ast) []string {
	var names []string
	for _, r := range checked.NativeRep().ReferenceMap() {
		if r.Name != "" {
			names = append(names, r.Name)
		}
	}
	return names
}

// sizes tells CEL's cost estimator how long texts can be.
type sizes struct{}

// EstimateSize bounds the texts that facts hand out, and the chain. Maps and what is inside arguments have no bound.
func (sizes) EstimateSize(e cost.AstNode) *cost.SizeEstimate {
	path := e.Path()
	if len(path) == 1 && path[0] == "chain.actors" {
		return &cost.SizeEstimate{Min: 0, Max: maxHops - 1}
	}
	if len(path) == 0 || path[len(path)-1] == "@keys" || e.Type().Kind() != types.StringKind {
		return nil
	}
	return &cost.SizeEstimate{Min: 0, Max: maxText}
}

// EstimateCallCost leaves every function at CEL's own estimate.
func (sizes) EstimateCallCost(function, overload string, target *cost.AstNode, args []cost.AstNode) *cost.CallEstimate {
	return nil
}
