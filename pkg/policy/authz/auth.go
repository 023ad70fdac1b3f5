package authz

import (
	"encoding/json/jsontext"
	"errors"
	"slices"
	"strings"

	"waymark.dev/waypoint/pkg/identity"
)

// claimReader returns the texts that a key of request.auth stands for, none if the token does not say. An error is a claim
// that cannot be read as texts.
type claimReader func(c *identity.Claims) ([]string, error)

// claimed compares what a token says with string matches, as Istio does: of several texts one has to match values, and
// none may match notValues. Without a token there are none.
type claimed struct {
	read              claimReader
	values, notValues *patterns
	scopes            []string // those that values spell out, if it is the scope that is read
}

func (c *claimed) match(j *judgment) (truth, error) {
	if j.blind() {
		return j.unseen(), nil
	}
	var texts []string
	if j.c.Claims != nil {
		var err error
		if texts, err = c.read(j.c.Claims); err != nil {
			return j.undecided(), err
		}
	}
	t := c.values == nil
	for _, text := range texts {
		if c.notValues != nil && c.notValues.match(text) {
			return no, nil
		}
		t = t || c.values.match(text)
	}
	if j.step.askable == nil {
		return truthOf(t), nil
	}
	for _, scope := range c.scopes {
		if has := slices.Contains(texts, scope); has == t && j.wants(scope, has) {
			return yes, nil
		}
	}
	return truthOf(t), nil
}

// claim compiles a key of request.auth; nil for any other key.
func (k *compiler) claim(field, key string) claimReader {
	switch key {
	case "request.auth.principal":
		return readPrincipal
	case "request.auth.audiences":
		return func(c *identity.Claims) ([]string, error) { return c.Audience, nil }
	case "request.auth.presenter":
		return claimAt("azp")
	}
	path, ok := strings.CutPrefix(key, "request.auth.claims[")
	if !ok {
		return nil
	}
	path, ok = strings.CutSuffix(path, "]")
	names := strings.Split(path, "][")
	for _, name := range names {
		ok = ok && name != "" && !strings.ContainsAny(name, "[]")
	}
	if !ok {
		k.add(field, "must be request.auth.claims[name], with [name] again for every level below, got %q", key)
	}
	return claimAt(names...)
}

// readPrincipal is Istio's name of whom the token speaks of: issuer/subject.
func readPrincipal(c *identity.Claims) ([]string, error) {
	if c.Issuer == "" || c.Subject == "" {
		return nil, nil
	}
	return []string{c.Issuer + "/" + c.Subject}, nil
}

// claimAt reads the claim at a path: a text or a list of texts. The claims scope and permission are sets with spaces
// between their members, as in Istio.
func claimAt(path ...string) claimReader {
	spaced := len(path) == 1 && (path[0] == "scope" || path[0] == "permission")
	return func(c *identity.Claims) ([]string, error) {
		value, state := c.Raw, present
		for _, name := range path {
			if value.Kind() != jsontext.KindBeginObject {
				return nil, nil
			}
			if value, state = member(value, name); state != present {
				break
			}
		}
		switch state {
		case missing:
			return nil, nil
		case twofold:
			return nil, errors.New("a claim is there in another case, so that two servers could read it differently")
		case unreadable:
			return nil, errors.New("a claim is not readable as JSON")
		}
		return textsOf(value, spaced)
	}
}

var errNoText = errors.New("a claim is neither a text nor a list of texts")

func textsOf(value jsontext.Value, spaced bool) ([]string, error) {
	switch value.Kind() {
	case jsontext.KindString:
		v := scalar(value)
		switch {
		case v.state != present:
			return nil, errNoText
		case spaced:
			return strings.FieldsFunc(v.text, func(r rune) bool { return r == ' ' }), nil
		}
		return []string{v.text}, nil
	case jsontext.KindBeginArray:
		var texts []string
		bad := false
		err := eachElement(value, func(value jsontext.Value) {
			v := scalar(value)
			bad = bad || v.state != present || v.kind != jsontext.KindString
			texts = append(texts, v.text)
		})
		if bad || err != nil {
			return nil, errNoText
		}
		return texts, nil
	}
	return nil, errNoText
}
