package authz

import (
	"encoding/json/jsontext"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/identity/rights"
)

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
		d.err = fault("the claim authorization_details is not readable") // the cause would repeat what is in it
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
