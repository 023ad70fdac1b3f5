package authn

import (
	"encoding/json/jsontext"
	"encoding/json/v2"
	"net/http"
	"strings"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/policy"
)

// wellKnown is where clients look for the metadata of a protected resource (RFC 9728 section 3).
const wellKnown = "/.well-known/oauth-protected-resource"

// Metadata is what a client learns about a protected resource (RFC 9728 section 2).
type Metadata struct {
	Resource             string   // "" is the URL of the request, as its client wrote it
	AuthorizationServers []string // issuers; at least one (contract mcp-a2a 9.1)
	Scopes               []string
	DisplayName          string
	Documentation        string
}

// document is the JSON of it.
type document struct {
	Resource      string   `json:"resource"`
	Servers       []string `json:"authorization_servers"`
	Scopes        []string `json:"scopes_supported,omitempty"`
	Methods       []string `json:"bearer_methods_supported"`
	Name          string   `json:"resource_name,omitempty"`
	Documentation string   `json:"resource_documentation,omitempty"`
}

// Answer implements policy.Answerer: it serves the metadata.
func (s *Stage) Answer(c *call.Call) *policy.Answer {
	if c.HTTP.Method != http.MethodGet {
		return nil
	}
	path, ok := strings.CutPrefix(c.HTTP.Path, wellKnown)
	if !ok || path != "" && path[0] != '/' {
		return nil
	}
	for i := range s.policies {
		p := &s.policies[i]
		if p.Metadata == nil {
			continue
		}
		body, err := json.Marshal(p.Metadata.describe(c, path), json.Deterministic(true), jsontext.EscapeForHTML(true))
		if err != nil {
			return nil // then the service speaks for itself
		}
		return &policy.Answer{Policy: p.Name, ContentType: "application/json", Body: body}
	}
	return nil
}

func (m *Metadata) describe(c *call.Call, path string) document {
	d := document{
		Resource: m.Resource, Servers: m.AuthorizationServers, Scopes: m.Scopes, Methods: []string{"header"},
		Name: m.DisplayName, Documentation: m.Documentation,
	}
	if d.Resource == "" { // inside the mesh clients write http: it is ztunnel that encrypts
		d.Resource = "http://" + c.HTTP.Host + path
	}
	return d
}

// challenge is the value of WWW-Authenticate (RFC 6750 section 3, RFC 9728 section 5.1), "" without metadata: clients that
// have no authorization server to go to lose their connection by a 401 (contract mcp-a2a 8.1). Without scopes it names those that
// clients may ask for.
func (m *Metadata) challenge(c *call.Call, code call.Code, scopes []string) string {
	if m == nil {
		return ""
	}
	if scopes == nil {
		scopes = m.Scopes
	}
	var b strings.Builder
	b.WriteString("Bearer ")
	switch code {
	case call.TokenInvalid, call.ChainInvalid, call.ChainUnbound, call.ActorNotAllowed, call.DepthExceeded:
		b.WriteString(`error="invalid_token", `)
	case call.Unauthenticated:
	case call.ScopeMissing:
		b.WriteString(`error="insufficient_scope", `)
	default:
		return ""
	}
	b.WriteString(m.reference(c))
	if len(scopes) > 0 {
		b.WriteString(`, scope="` + strings.Join(scopes, " ") + `"`)
	}
	return b.String()
}

// Challenge implements policy.Challenger: it names all scopes that the call needs, because clients may ask for those alone.
func (s *Stage) Challenge(c *call.Call, scopes []string) string {
	for i := range s.policies {
		if m := s.policies[i].Metadata; m != nil {
			return m.challenge(c, call.ScopeMissing, scopes)
		}
	}
	return ""
}

// reference names the metadata of the resource that was asked for. A path in a call is printable ASCII without quotes.
func (m *Metadata) reference(c *call.Call) string {
	path := c.HTTP.Path
	if path == "/" || path == "*" {
		path = ""
	}
	return `resource_metadata="http://` + quotable(c.HTTP.Host) + wellKnown + quotable(path) + `"`
}

func quotable(s string) string {
	return strings.NewReplacer(`"`, "%22", `\`, "%5C").Replace(s)
}

// discovers reports whether a call only asks how to authenticate (RFC 9728, RFC 8414, OpenID Connect Discovery): who has no
// token yet must be able to. Anywhere else than at a server of MCP a path like that may be anything.
func discovers(c *call.Call) bool {
	const oidc = "/.well-known/openid-configuration"
	if c.Protocol != call.MCP || c.Intent != call.Plumbing || c.HTTP.Method != http.MethodGet {
		return false
	}
	for _, name := range [...]string{wellKnown, "/.well-known/oauth-authorization-server", oidc} {
		if c.HTTP.Path == name || strings.HasPrefix(c.HTTP.Path, name+"/") {
			return true
		}
	}
	return strings.HasSuffix(c.HTTP.Path, oidc)
}
