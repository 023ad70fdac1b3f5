package authz

import (
	"net/netip"
	"net/textproto"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
	"waymark.dev/waypoint/pkg/api/v1alpha1"
	"waymark.dev/waypoint/pkg/call"
)

// condition is one compiled entry of when. An error is decided by the caller of match: against whoever called us.
type condition interface {
	match(j *judgment) (truth, error)
}

// attribute is a key of when: what it reads and of what it speaks.
type attribute struct {
	layer7 bool
	kind   call.Kind // the kind of target it speaks of
	method bool      // it is the method itself
	read   func(j *judgment) string
}

// attributes lists the keys of when. Istio's are as Istio has them; ours are the CEL variables of the same name.
func attributes(key string) (attribute, bool) {
	switch key {
	case "source.namespace":
		return attribute{read: func(j *judgment) string { ns, _ := j.c.Principal.Namespace(); return ns }}, true
	case "source.serviceAccount":
		return attribute{read: readAccount}, true
	case "source.trustDomain":
		return attribute{read: func(j *judgment) string { return j.c.Principal.TrustDomain().String() }}, true
	case "source.principal":
		return attribute{read: (*judgment).principal}, true
	case "destination.port":
		return attribute{read: func(j *judgment) string { return strconv.Itoa(int(j.c.Route.Service.Port)) }}, true
	case "mcp.methodName":
		return attribute{layer7: true, method: true, read: func(j *judgment) string { return j.c.Method }}, true
	case "mcp.tool.name":
		return attribute{layer7: true, kind: call.Tool, read: readTarget}, true
	case "mcp.resource.uri":
		return attribute{layer7: true, kind: call.Resource, read: readTarget}, true
	case "mcp.prompt.name":
		return attribute{layer7: true, kind: call.Prompt, read: readTarget}, true
	}
	return attribute{}, false
}

const keyList = "request.headers[name], request.auth.principal, request.auth.audiences, request.auth.presenter, " +
	"request.auth.claims[name], request.auth.authorizationDetails, source.ip, source.namespace, source.serviceAccount, source.principal, source.trustDomain, " +
	"destination.port, mcp.methodName, mcp.tool.name, mcp.resource.uri, mcp.prompt.name"

func readTarget(j *judgment) string { return j.c.Target.Name }

func readAccount(j *judgment) string {
	if a := accountOf(j.c.Principal); a != (account{}) {
		return a.namespace + "/" + a.name
	}
	return ""
}

// keyed compares an attribute with string matches.
type keyed struct {
	attribute
	values, notValues *patterns
}

func (k *keyed) match(j *judgment) (truth, error) {
	switch {
	case k.layer7 && j.blind():
		return j.unseen(), nil
	case (k.kind != call.None || k.method) && j.c.Protocol != call.MCP:
		return no, nil
	case k.kind != call.None && j.mode == lifecycle:
		return j.unsaid(), nil
	case k.kind != call.None && j.kind() != k.kind:
		return no, nil
	case within(k.read(j), k.values, k.notValues):
		return yes, nil
	case k.method && j.mode == lifecycle && !j.against:
		return open, nil
	}
	return no, nil
}

// header compares the lines of a request header. Where a header has several, a rule against the caller matches if any of
// them does, an ALLOW rule only if all do: the server may read the first, the last or all.
type header struct {
	name              string
	values, notValues *patterns
}

func (h *header) match(j *judgment) (truth, error) {
	if j.blind() {
		return j.unseen(), nil
	}
	lines := j.c.HTTP.Header[h.name]
	if h.name == "Host" {
		lines = []string{j.c.HTTP.Host}
	}
	if len(lines) == 0 {
		return truthOf(h.values == nil), nil
	}
	for _, line := range lines {
		if ok := within(line, h.values, h.notValues); ok == j.against {
			return truthOf(ok), nil
		}
	}
	return truthOf(!j.against), nil
}

// peer compares the caller's address.
type peer struct{ blocks, notBlocks []netip.Prefix }

func (p *peer) match(j *judgment) (truth, error) {
	a := j.address()
	return truthOf((p.blocks == nil || inBlocks(a, p.blocks)) && !inBlocks(a, p.notBlocks)), nil
}

// compileCondition reads one entry of when. namesMethod is set if the condition asks for the method.
func (k *compiler) compileCondition(field string, w *v1alpha1.Condition) (c condition, namesMethod bool) {
	if (w.Key == "") == (w.CEL == "") {
		k.add(field, "must have exactly one of key and cel")
		return nil, false
	}
	if w.CEL != "" {
		if w.Values != nil || w.NotValues != nil {
			k.add(field, "values and notValues belong to key, not to cel")
		}
		return k.compileCEL(field+".cel", w.CEL)
	}
	if w.Values == nil && w.NotValues == nil {
		k.add(field, "key needs values or notValues")
	}
	return k.compileKey(field, w), w.Key == "mcp.methodName" && w.Values != nil
}

func (k *compiler) compileKey(field string, w *v1alpha1.Condition) condition {
	if w.Key == "source.ip" {
		return &peer{k.blocks(field+".values", w.Values), k.blocks(field+".notValues", w.NotValues)}
	}
	values, notValues := k.strings(field+".values", w.Values), k.strings(field+".notValues", w.NotValues)
	if name, ok := strings.CutPrefix(w.Key, "request.headers["); ok {
		name, ok = strings.CutSuffix(name, "]")
		if !ok || !httpguts.ValidHeaderFieldName(name) {
			k.add(field+".key", "must be request.headers[name] with the name of an HTTP header, got %q", w.Key)
		}
		return &header{textproto.CanonicalMIMEHeaderKey(name), values, notValues}
	}
	if w.Key == "request.auth.authorizationDetails" {
		return &detailed{k.types(field+".values", w.Values), k.types(field+".notValues", w.NotValues)}
	}
	if claim := k.claim(field+".key", w.Key); claim != nil {
		c := &claimed{read: claim, values: values, notValues: notValues}
		if w.Key == "request.auth.claims[scope]" {
			for _, v := range w.Values {
				if !strings.Contains(v, "*") {
					c.scopes = append(c.scopes, v)
				}
			}
		}
		return c
	}
	a, ok := attributes(w.Key)
	if !ok {
		k.add(field+".key", "%q is not a key; the keys are %s", w.Key, keyList)
		return nil
	}
	return &keyed{a, values, notValues}
}
