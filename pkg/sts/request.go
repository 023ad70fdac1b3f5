package sts

import (
	"encoding/json/jsontext"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"waymark.dev/waypoint/pkg/identity/rights"
	"waymark.dev/waypoint/pkg/oauth"
)

// Limits of a request.
const (
	maxForm      = 96 << 10 // bytes: three tokens of 16 KiB, escaped, and what is around them
	maxToken     = 16 << 10
	maxAudiences = 8
	maxText      = 512 // bytes of an audience or a resource
	maxScopes    = 64
)

// request is an exchange that was asked for (RFC 8693 section 2.1).
type request struct {
	subject, subjectType string
	actor, actorType     string
	audiences            []string // audiences and resources (RFC 8707)
	scope                []string // nil: what there is
	details              rights.Details
	issue                string // the type of the new token
}

// readForm reads the parameters. One that is there twice has two meanings; only audience and resource may be.
func readForm(r *http.Request) (url.Values, *fault) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/x-www-form-urlencoded" {
		return nil, refuse(invalidRequest, "the body is no form")
	}
	if r.URL.RawQuery != "" {
		return nil, refuse(invalidRequest, "parameters in the query end up in logs")
	}
	b, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxForm))
	if err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return nil, refuse(invalidRequest, "the form has more than %d bytes", maxForm)
		}
		return nil, refuse(invalidRequest, "the form broke off")
	}
	form, err := url.ParseQuery(string(b))
	if err != nil {
		return nil, refuse(invalidRequest, "the form cannot be read")
	}
	for name, values := range form {
		if len(values) > 1 && name != "audience" && name != "resource" {
			return nil, refuse(invalidRequest, "a parameter is there twice")
		}
	}
	return form, nil
}

// readRequest reads what is asked for.
func readRequest(form url.Values) (*request, *fault) {
	switch form.Get("grant_type") {
	case oauth.GrantExchange:
	case "":
		return nil, refuse(invalidRequest, "no grant_type")
	default:
		return nil, refuse(unsupportedGrantType, "only token exchange is offered")
	}
	r := &request{
		subject: form.Get("subject_token"), subjectType: form.Get("subject_token_type"),
		actor: form.Get("actor_token"), actorType: form.Get("actor_token_type"),
		audiences: append(slices.Clone(form["audience"]), form["resource"]...), issue: form.Get("requested_token_type"),
	}
	known := []string{oauth.TypeJWT, oauth.TypeAccessToken, oauth.TypeIDToken}
	switch {
	case r.subject == "" || len(r.subject) > maxToken:
		return nil, refuse(invalidRequest, "no subject_token, or one of more than %d bytes", maxToken)
	case !slices.Contains(known, r.subjectType):
		return nil, refuse(invalidRequest, "subject_token_type is none that is known here")
	case (r.actor == "") != (r.actorType == "") || len(r.actor) > maxToken:
		return nil, refuse(invalidRequest, "actor_token and actor_token_type belong together")
	case r.actor != "" && r.actorType != oauth.TypeJWT:
		return nil, refuse(invalidRequest, "actor_token_type is none that is known here")
	case r.issue == "":
		r.issue = oauth.TypeAccessToken
	case r.issue != oauth.TypeAccessToken && r.issue != oauth.TypeJWT:
		return nil, refuse(invalidRequest, "requested_token_type is none that is given out")
	}
	if len(r.audiences) == 0 || len(r.audiences) > maxAudiences {
		return nil, refuse(invalidTarget, "1 to %d audiences and resources are needed", maxAudiences)
	}
	for _, a := range r.audiences {
		if a == "" || len(a) > maxText {
			return nil, refuse(invalidTarget, "an audience is empty or longer than %d bytes", maxText)
		}
	}
	for _, res := range form["resource"] {
		if u, err := url.Parse(res); err != nil || !u.IsAbs() || u.Fragment != "" || strings.Contains(res, "#") {
			return nil, refuse(invalidTarget, "a resource is no absolute URI without fragment (RFC 8707)")
		}
	}
	return r, r.readRights(form)
}

func (r *request) readRights(form url.Values) *fault {
	if v, ok := form["scope"]; ok {
		r.scope = []string{}
		for s := range strings.SplitSeq(v[0], " ") {
			if s == "" || len(s) > 256 || strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c > '~' || c == '"' || c == '\\' }) {
				return refuse(invalidScope, "the scope cannot be read")
			}
			if !slices.Contains(r.scope, s) {
				r.scope = append(r.scope, s)
			}
		}
		if len(r.scope) > maxScopes {
			return refuse(invalidScope, "more than %d scopes", maxScopes)
		}
	}
	if v, ok := form["authorization_details"]; ok {
		var err error
		if r.details, err = rights.ParseDetails(jsontext.Value(v[0])); err != nil {
			return refuse(invalidDetails, "%v", err)
		}
	}
	return nil
}
