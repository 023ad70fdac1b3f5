package authz

import (
	"encoding/json/jsontext"
	"errors"
	"strings"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/identity/rights"
)

var errDetails = errors.New("the claim authorization_details is not readable")

// details are the authorization details of the token (RFC 9396), read at most once per call.
type details struct {
	of      rights.Details
	err     ref.Val
	read    bool
	answers []answer // of this call; an expression may ask in a loop, and each answer reads the arguments
}

type answer struct {
	typ       string
	permitted bool
}

// permit reports whether a detail of a type covers the call. Types are the token's, so that there are few to remember.
func (d *details) permit(typ string, c *call.Call) bool {
	for _, a := range d.answers {
		if a.typ == typ {
			return a.permitted
		}
	}
	if !d.of.Could(typ, c.Target.Name) {
		return false
	}
	permitted := d.of.Permit(typ, c.Target.Name, c.Arguments)
	d.answers = append(d.answers, answer{typ, permitted})
	return permitted
}

// permits reports whether one of the token's authorization details of a type covers the call. For an entry of a list that
// is open if the detail covers the tool with some arguments, and no if it does with none.
func permits(called, typ ref.Val) ref.Val {
	c, isCall := called.(theCall)
	t, isText := typ.(types.String)
	if !isCall || !isText {
		return types.MaybeNoSuchOverloadErr(typ)
	}
	d := c.authorizationDetails()
	switch {
	case d.err != nil:
		return d.err
	case c.mode != showing:
		return types.Bool(d.permit(string(t), c.c))
	case d.of.Could(string(t), c.c.Target.Name):
		return c.facts.language.unknown[unsaid]
	}
	return types.False
}

// detailed asks whether one of the token's authorization details covers the call, by its type.
type detailed struct{ types, notTypes []string }

func (d *detailed) match(j *judgment) (truth, error) {
	switch {
	case j.blind():
		return j.unseen(), nil
	case j.c.Protocol != call.MCP:
		return no, nil
	case j.mode == lifecycle:
		return j.unsaid(), nil
	case j.kind() != call.Tool:
		return no, nil
	}
	has, err := j.covers(d.types)
	if err != nil || d.notTypes == nil {
		return has, err
	}
	hasNot, err := j.covers(d.notTypes)
	if d.types == nil {
		has = yes
	}
	return min(has, yes-hasNot), err
}

// covers returns whether a detail of any of these types covers the call; for an entry of a list that is open.
func (j *judgment) covers(list []string) (truth, error) {
	d := j.authorizationDetails()
	if d.err != nil {
		return j.undecided(), errDetails
	}
	t := no
	for _, typ := range list {
		switch {
		case j.mode != showing && d.permit(typ, j.c):
			return yes, nil
		case j.mode == showing && d.of.Could(typ, j.c.Target.Name):
			t = open
		}
	}
	return t, nil
}

// types checks the types of authorization details, which are exact: a pattern would cover types that nobody has thought of.
func (k *compiler) types(field string, values []string) []string {
	return k.list(field, values, maxEntries, func(v string) string {
		if v == "" || strings.Contains(v, "*") {
			return "must be the exact type of an authorization detail"
		}
		return ""
	})
}

// authorizationDetails reads the claim as it was signed; without it nothing is authorized.
func (j *judgment) authorizationDetails() *details {
	d := &j.details
	if d.read {
		return d
	}
	d.read = true
	value := j.claim("authorization_details")
	if value == nil {
		return d
	}
	var err error
	if d.of, err = rights.ParseDetails(value); err != nil {
		d.err = fault(errDetails.Error()) // the cause would repeat what is in it
	}
	return d
}

// claim returns a claim that is there under exactly this name, or nil.
func (j *judgment) claim(name string) jsontext.Value {
	if j.c.Claims == nil || j.c.Claims.Raw.Kind() != jsontext.KindBeginObject {
		return nil
	}
	value, state := member(j.c.Claims.Raw, name)
	if state != present {
		return nil // in another case, or twice: nothing is authorized
	}
	return value
}
