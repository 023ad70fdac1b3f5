package authz

import (
	"fmt"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"waymark.dev/waypoint/pkg/call"
)

// maxText bounds every text that an expression sees, in bytes. The cost of an expression is estimated with this bound, and
// a longer text is an error, so that the estimate holds.
const maxText = 16 << 10

// domain is where a variable comes from; it decides what the variable is while nothing can be known of it.
type domain uint8

const (
	tunnel    domain = iota // known of every call
	layer7                  // of every call but raw connections
	method                  // the method itself: of MCP calls, and open to an ALLOW rule on a lifecycle call
	session                 // of MCP calls
	target                  // of MCP calls that name a target of the variable's kind; open on a lifecycle call
	arguments               // likewise, and open while a list is cut
)

// variable is one root of CEL: flat, with its dotted name, so that reading it costs one lookup and no map. The names are
// agentgateway's, so that rules move over.
type variable struct {
	name   string
	typ    *cel.Type
	domain domain
	kind   call.Kind
	read   func(j *judgment) ref.Val // nil if the call has none, which is an error to the expression
}

func variables() []variable {
	texts, claims := cel.MapType(cel.StringType, cel.StringType), cel.MapType(cel.StringType, cel.DynType)
	return []variable{
		{"request.method", cel.StringType, layer7, "", func(j *judgment) ref.Val { return text(j.c.HTTP.Method) }},
		{"request.path", cel.StringType, layer7, "", func(j *judgment) ref.Val { return text(j.c.HTTP.Path) }},
		{"request.host", cel.StringType, layer7, "", func(j *judgment) ref.Val { return text(j.c.HTTP.Host) }},
		{"request.headers", texts, layer7, "", func(j *judgment) ref.Val { return &lookup{keys: headers(j.c.HTTP.Header)} }},
		{"jwt", claims, layer7, "", readClaims},
		{askerRoot, callType, layer7, "", func(j *judgment) ref.Val { return theCall{j} }},
		{"chain.user", cel.StringType, layer7, "", readUser},
		{"chain.actors", textsType, layer7, "", readActors},
		{"chain.depth", cel.IntType, layer7, "", readDepth},
		{"chain.verified", cel.BoolType, layer7, "", readVerified},

		{"source.spiffeId", cel.StringType, tunnel, "", func(j *judgment) ref.Val { return some(j.c.Principal.String()) }},
		{"source.address", cel.StringType, tunnel, "", readAddress},
		{"source.namespace", cel.StringType, tunnel, "", readNamespace},
		{"source.serviceAccount", cel.StringType, tunnel, "", readServiceAccount},
		{"source.identity.trustDomain", cel.StringType, tunnel, "", readTrustDomain},
		{"source.identity.namespace", cel.StringType, tunnel, "", readNamespace},
		{"source.identity.serviceAccount", cel.StringType, tunnel, "", readServiceAccount},

		{"destination.service", cel.StringType, tunnel, "", readService},
		{"destination.namespace", cel.StringType, tunnel, "", func(j *judgment) ref.Val { return text(j.c.Route.Service.Namespace) }},
		{"destination.hostname", cel.StringType, tunnel, "", func(j *judgment) ref.Val { return text(j.c.Route.Service.Hostname) }},
		{"destination.port", cel.IntType, tunnel, "", func(j *judgment) ref.Val { return types.Int(j.c.Route.Service.Port) }},

		{"mcp.methodName", cel.StringType, method, "", func(j *judgment) ref.Val { return text(j.c.Method) }},
		{"mcp.sessionId", cel.StringType, session, "", func(j *judgment) ref.Val { return text(j.c.Session) }},
		{"mcp.tool.name", cel.StringType, target, call.Tool, readName},
		{"mcp.tool.target", cel.StringType, target, call.Tool, readService},
		{"mcp.tool.arguments", claims, arguments, call.Tool, func(j *judgment) ref.Val { return newObject(j.c.Arguments) }},
		{callRoot, callType, target, call.Tool, func(j *judgment) ref.Val { return theCall{j} }},
		{"mcp.prompt.name", cel.StringType, target, call.Prompt, readName},
		{"mcp.prompt.target", cel.StringType, target, call.Prompt, readService},
		{"mcp.resource.name", cel.StringType, target, call.Resource, readName},
		{"mcp.resource.uri", cel.StringType, target, call.Resource, readName},
		{"mcp.resource.target", cel.StringType, target, call.Resource, readService},
		{"mcp.task.name", cel.StringType, target, call.Task, readName},
		{"mcp.task.target", cel.StringType, target, call.Task, readService},
	}
}

func readName(j *judgment) ref.Val { return text(j.c.Target.Name) }

func readService(j *judgment) ref.Val { return text(j.c.Route.Service.Name) }

// readTrustDomain belongs to source.identity, which is there only for identities of Istio's form.
func readTrustDomain(j *judgment) ref.Val {
	if accountOf(j.c.Principal) == (account{}) {
		return nil
	}
	return text(j.c.Principal.TrustDomain().String())
}

func readNamespace(j *judgment) ref.Val {
	ns, _ := j.c.Principal.Namespace()
	return some(ns)
}

func readServiceAccount(j *judgment) ref.Val {
	sa, _ := j.c.Principal.ServiceAccount()
	return some(sa)
}

func readAddress(j *judgment) ref.Val {
	if a := j.address(); a.IsValid() {
		return text(a.String())
	}
	return nil
}

// readClaims is empty while no token was verified: asking for a claim is then an error, which decides against the caller.
func readClaims(j *judgment) ref.Val {
	if j.c.Claims == nil {
		return newObject(nil)
	}
	return newObject(j.c.Claims.Raw)
}

// text boxes s, or an error if s is longer than the cost of an expression allows for.
func text(s string) ref.Val {
	if len(s) > maxText {
		return fault(fmt.Sprintf("a text is longer than %d bytes", maxText))
	}
	return types.String(s)
}

// some is text for a fact that may be missing.
func some(s string) ref.Val {
	if s == "" {
		return nil
	}
	return text(s)
}

// presence is the suffix of the variable that has(x) reads for a flat variable x or for a common prefix of several, such as
// mcp.tool. No expression can spell it.
const presence = "@present"

// prefixes returns the dotted prefixes of a variable's name that has() may ask for: mcp.tool.name gives mcp.tool and
// mcp.tool.name.
func prefixes(name string) []string {
	var out []string
	for i := strings.IndexByte(name, '.') + 1; i > 0 && i < len(name); i++ {
		if name[i] == '.' {
			out = append(out, name[:i])
		}
	}
	return append(out, name)
}
