package mcp

import (
	"net/http"
	"strings"

	"waymark.dev/waypoint/pkg/jsonrpc"
)

// How a client finds out how to authenticate, and does it, is no MCP: who has no token yet must be able to (contract 9.1). All
// of it is plain HTTP that needs no more than that the caller may use something here.

// metadata reports whether a request reads one of the documents of RFC 9728, RFC 8414 and OpenID Connect Discovery, in the forms
// with and without the path of what they are about.
func (m *Message) metadata() bool {
	if m.head.Method != http.MethodGet {
		return false
	}
	const oidc = "/.well-known/openid-configuration"
	path := m.head.Path
	for _, document := range [...]string{"/.well-known/oauth-protected-resource", "/.well-known/oauth-authorization-server", oidc} {
		if path == document || strings.HasPrefix(path, document+"/") {
			return true
		}
	}
	return strings.HasSuffix(path, oidc)
}

// consent reports whether a request opens the page on which a person lets a client in. Clients of 2025-03-26 look for it at the
// server itself, with no document that names it.
func (m *Message) consent() bool {
	return m.head.Method == http.MethodGet && strings.HasSuffix(m.head.Path, "/authorize")
}

// authorizes reports whether a POST goes to one of the endpoints that a 2025-03-26 server has at paths of its own choice: to
// the authorization endpoint, for a token, or to register a client. The body must be what those read and no server of MCP does.
func (m *Message) authorizes(body []byte) bool {
	h := m.head.Header
	if len(body) > m.opt.Request.Bytes || !identity(h["Content-Encoding"]) || len(h["Mcp-Session-Id"]) > 0 || len(h["Mcp-Method"]) > 0 {
		return false
	}
	switch path := m.head.Path; {
	case strings.HasSuffix(path, "/authorize"), strings.HasSuffix(path, "/token"):
		return labelled(h["Content-Type"], "application/x-www-form-urlencoded") && !looksJSON(body)
	case strings.HasSuffix(path, "/register"):
		return plainJSON(h["Content-Type"]) && registers(body, m.opt.Request)
	}
	return false
}

// registers reports whether a body is the metadata of a client (RFC 7591, section 2) in which nobody finds a message.
func registers(body []byte, l jsonrpc.Limits) bool {
	if jsonrpc.Check(body, l) != nil {
		return false
	}
	o, ok := jsonrpc.Members(body)
	if !ok || o.Get("redirect_uris").Kind() != '[' {
		return false
	}
	for _, name := range [...]string{"jsonrpc", "method", "params"} {
		if o.Find(name) != nil || o.Twin(name) != "" {
			return false
		}
	}
	return true
}
