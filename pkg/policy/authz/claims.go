package authz

import (
	"reflect"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"waymark.dev/waypoint/pkg/identity"
)

// maxHops bounds a chain as expressions see it: a user and 16 actors. The cost of an expression is estimated with it.
const maxHops = 17

var (
	callType  = types.NewOpaqueType("waymark.call")
	textsType = cel.ListType(cel.StringType)
)

// functions are what an expression can ask of claims, beside CEL's own.
func functions() []cel.EnvOption {
	return []cel.EnvOption{
		cel.Function(scopeContains, cel.Overload("jwt_scope_contains", []*cel.Type{callType, cel.DynType, cel.StringType}, cel.BoolType,
			cel.OverloadIsNonStrict(), cel.FunctionBinding(scopeAsked))),
		cel.Function(detailsPermits, cel.Overload("jwt_authorization_details_permits", []*cel.Type{callType, cel.DynType, cel.StringType}, cel.BoolType,
			cel.FunctionBinding(func(args ...ref.Val) ref.Val { return permits(args[0], args[2]) }))),
		cel.Function(authorized, cel.Overload("authorized_type", []*cel.Type{callType, cel.StringType}, cel.BoolType,
			cel.BinaryBinding(permits))),
	}
}

// scopeAsked is scopeHas, and while it is asked what more scope would change, what it has to say to that. It is not strict because
// a token without any scope can step up too.
func scopeAsked(args ...ref.Val) ref.Val {
	by, claim, asked := args[0], args[1], args[2]
	c, known := by.(theCall)
	want, isText := asked.(types.String)
	switch {
	case !known:
		return by
	case !isText:
		return types.MaybeNoSuchOverloadErr(asked)
	case types.IsUnknown(claim):
		return claim
	case types.IsError(claim):
		if c.wants(string(want), false) {
			return types.True
		}
		return claim
	}
	has := scopeHas(claim, want)
	if b, ok := has.(types.Bool); ok && c.wants(string(want), bool(b)) {
		return types.True
	}
	return has
}

// scopeHas reports whether a scope claim has one scope: a text of scopes with spaces between them (RFC 6749 section 3.3),
// or a list of scopes. Scopes are compared byte for byte.
func scopeHas(claim ref.Val, want types.String) ref.Val {
	switch has := claim.(type) {
	case types.String:
		return types.Bool(hasWord(string(has), string(want)))
	case traits.Lister:
		found := types.False
		for it := has.Iterator(); it.HasNext() == types.True; {
			s, ok := it.Next().(types.String)
			if !ok {
				return notScope
			}
			found = found || types.Bool(s == want && s != "")
		}
		return found
	}
	return notScope
}

var notScope = fault("the claim scope is neither a text nor a list of texts")

func hasWord(text, word string) bool {
	if word == "" || strings.Contains(word, " ") {
		return false
	}
	for s := range strings.SplitSeq(text, " ") {
		if s == word {
			return true
		}
	}
	return false
}

// theCall is the call as a value, for functions that speak of all of it.
type theCall struct{ *judgment }

func (theCall) ConvertToNative(reflect.Type) (any, error) {
	return nil, faultError("a call is not a value")
}
func (theCall) ConvertToType(ref.Type) ref.Val { return fault("a call is not a value") }
func (theCall) Equal(ref.Val) ref.Val          { return types.False }
func (theCall) Type() ref.Type                 { return callType }
func (c theCall) Value() any                   { return c }

// readUser is the subject of the token, if it has one.
func readUser(j *judgment) ref.Val {
	if len(j.c.Chain) == 0 {
		return nil
	}
	return some(j.c.Chain[0].Subject)
}

// readActors lists those that act for the user, the first one that the user asked first.
func readActors(j *judgment) ref.Val {
	switch n := len(j.c.Chain); {
	case n == 0:
		return nil
	case n > maxHops:
		return fault("the chain is longer than 16 actors")
	}
	names := make([]string, len(j.c.Chain)-1)
	for i, hop := range j.c.Chain[1:] {
		if len(hop.Subject) > maxText {
			return text(hop.Subject)
		}
		names[i] = hop.Subject
	}
	return types.NewStringList(types.DefaultTypeAdapter, names)
}

func readDepth(j *judgment) ref.Val {
	if len(j.c.Chain) == 0 {
		return nil
	}
	return types.Int(len(j.c.Chain) - 1)
}

func readVerified(j *judgment) ref.Val {
	if len(j.c.Chain) == 0 {
		return nil
	}
	return types.Bool(vouched(j.c.Chain))
}

// vouched reports whether somebody we trust vouches for every hop.
func vouched(chain []identity.Hop) bool {
	for _, hop := range chain {
		if !hop.Verified {
			return false
		}
	}
	return true
}
