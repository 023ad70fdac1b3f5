package authz

import (
	"fmt"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/parser"
)

// Limits of one expression (security.md section 5). Cost is in CEL's own units, about one per operation.
const (
	maxExpression = 8 << 10 // bytes; half of what a CRD's CEL may have
	maxDepth      = 50      // nesting
	maxCost       = 100_000
	maxRegex      = 1024 // bytes of a pattern
)

// language is the CEL environment: the variables and the standard library, nothing else. It is immutable.
type language struct {
	env     *cel.Env
	slots   map[string]*slot
	fields  map[string][]string // root → what it has, for error texts
	unknown [4]*types.Unknown   // by reason
}

// languageOnce builds the environment at first use: that takes milliseconds, and every policy shares it.
var languageOnce = sync.OnceValue(func() *language {
	l, err := newLanguage()
	if err != nil { // nothing here depends on input
		panic(fmt.Sprintf("authz: internal error: %v", err))
	}
	return l
})

func newLanguage() (*language, error) {
	l := &language{slots: make(map[string]*slot), fields: make(map[string][]string)}
	options := []cel.EnvOption{
		cel.EagerlyValidateDeclarations(true),
		cel.CrossTypeNumericComparisons(true),
		cel.DefaultUTCTimeZone(true),
		cel.ParserExpressionSizeLimit(maxExpression),
		cel.ParserRecursionLimit(maxDepth),
		cel.ExpressionNestingDepthLimit(maxDepth),
		cel.ASTValidators(cel.ValidateDurationLiterals(), cel.ValidateTimestampLiterals(), cel.ValidateRegexLiterals()),
		cel.Macros(cel.GlobalMacro("has", 1, l.expandHas)),
	}
	options = append(options, functions()...)
	for _, v := range variables() {
		l.slots[v.name] = &slot{index: len(l.slots), of: []variable{v}}
		options = append(options, cel.Variable(v.name, v.typ))
		root, field, _ := strings.Cut(v.name, ".")
		l.fields[root] = append(l.fields[root], field)
		for _, p := range prefixes(v.name) {
			name := p + presence
			if l.slots[name] == nil {
				l.slots[name] = &slot{index: len(l.slots), present: true}
				options = append(options, cel.Variable(name, cel.BoolType))
			}
			l.slots[name].of = append(l.slots[name].of, v)
		}
	}
	for why := range l.unknown {
		l.unknown[why] = types.NewUnknown(int64(why), nil)
	}
	env, err := cel.NewEnv(options...)
	l.env = env
	return l, err
}

// expandHas makes has(mcp.tool) and has(mcp.tool.name) read a presence variable. CEL's own has looks for a field of a
// message or a key of a map, and ours are flat variables.
func (l *language) expandHas(eh parser.ExprHelper, target ast.Expr, args []ast.Expr) (ast.Expr, *common.Error) {
	if name, ok := dotted(args[0]); ok && strings.Contains(name, ".") && l.slots[name+presence] != nil {
		return eh.NewIdent(name + presence), nil
	}
	return parser.MakeHas(eh, target, args)
}

// dotted returns a.b.c for an expression that is nothing but that.
func dotted(e ast.Expr) (string, bool) {
	switch e.Kind() {
	case ast.IdentKind:
		return e.AsIdent(), true
	case ast.SelectKind:
		s := e.AsSelect()
		if operand, ok := dotted(s.Operand()); ok && !s.IsTestOnly() {
			return operand + "." + s.FieldName(), true
		}
	}
	return "", false
}
