package authz

import (
	"fmt"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
)

// The functions that speak of claims, by the names operators write. CEL would take the text before the last dot for the
// receiver, and a claim has no type to hang a function on; so the calls are rewritten before they are checked.
const (
	scopeContains  = "jwt.scope.contains"                // (askerRoot, jwt.scope, scope)
	detailsPermits = "jwt.authorization_details.permits" // (callRoot, jwt.authorization_details, type)
	authorized     = "authorized"                        // (callRoot, type)
)

// The variables that hand the call itself to a function. No expression can spell them. callRoot is there for calls of tools, and
// open for lists; askerRoot is there for every call, because whoever has a scope has it always.
const (
	callRoot  = "call@"
	askerRoot = "asker@"
)

// rewriting turns what operators write about claims into calls of our own functions.
type rewriting struct {
	ast.ExprFactory
	info     *ast.SourceInfo
	nextID   int64
	complain func(e ast.Expr, format string, args ...any)
}

func rewrite(parsed *ast.AST, complain func(e ast.Expr, format string, args ...any)) {
	r := &rewriting{ast.NewExprFactory(), parsed.SourceInfo(), ast.MaxID(parsed) + 1, complain}
	ast.PostOrderVisit(parsed.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() == ast.CallKind {
			r.call(e)
		}
	}))
}

func (r *rewriting) call(e ast.Expr) {
	c := e.AsCall()
	name, args := c.FunctionName(), c.Args()
	switch {
	case c.IsMemberFunction() && name == "contains" && len(args) == 1 && isClaim(c.Target(), "scope"):
		r.checkScope(args[0])
		e.SetKindCase(r.NewCall(e.ID(), scopeContains, r.root(e, askerRoot), c.Target(), args[0]))
	case name == operators.In && len(args) == 2 && isClaim(args[1], "scope"):
		r.checkScope(args[0])
		e.SetKindCase(r.NewCall(e.ID(), scopeContains, r.root(e, askerRoot), args[1], args[0]))
	case c.IsMemberFunction() && name == "permits" && len(args) == 1 && isClaim(c.Target(), "authorization_details"):
		e.SetKindCase(r.NewCall(e.ID(), detailsPermits, r.root(e, callRoot), c.Target(), args[0]))
	case !c.IsMemberFunction() && name == authorized && len(args) == 1:
		e.SetKindCase(r.NewCall(e.ID(), authorized, r.root(e, callRoot), args[0]))
	}
}

// root is an expression that reads the call, at the place of e.
func (r *rewriting) root(e ast.Expr, name string) ast.Expr {
	id := r.nextID
	r.nextID++
	if at, ok := r.info.GetOffsetRange(e.ID()); ok {
		r.info.SetOffsetRange(id, at)
	}
	return r.NewIdent(id, name)
}

// checkScope refuses what is in no scope: who writes it means a piece of the text.
func (r *rewriting) checkScope(e ast.Expr) {
	if e.Kind() != ast.LiteralKind {
		return
	}
	if s, ok := e.AsLiteral().(types.String); ok && (s == "" || strings.Contains(string(s), " ")) {
		r.complain(e, "a scope is one word, got %q; string(jwt.scope).contains() looks for a piece of the text", string(s))
	}
}

// isClaim reports whether e is jwt.name or jwt["name"].
func isClaim(e ast.Expr, name string) bool {
	var of ast.Expr
	switch e.Kind() {
	case ast.SelectKind:
		s := e.AsSelect()
		if s.IsTestOnly() || s.FieldName() != name {
			return false
		}
		of = s.Operand()
	case ast.CallKind:
		c := e.AsCall()
		if c.FunctionName() != operators.Index || c.Args()[1].Kind() != ast.LiteralKind || c.Args()[1].AsLiteral() != types.String(name) {
			return false
		}
		of = c.Args()[0]
	default:
		return false
	}
	return of.Kind() == ast.IdentKind && strings.TrimPrefix(of.AsIdent(), ".") == "jwt"
}

// at adds a problem with the place of e in its expression.
func (k *compiler) at(field string, info *ast.SourceInfo, e ast.Expr, format string, args ...any) {
	at := info.GetStartLocation(e.ID())
	k.add(field, "%d:%d: %s", at.Line(), at.Column()+1, fmt.Sprintf(format, args...))
}
