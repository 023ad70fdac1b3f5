package authz_test

import (
	"pgregory.net/rapid"

	"waymark.dev/waypoint/pkg/api/v1alpha1"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/policy/authz"
)

var callers = []identity.ID{teller, auditor, edge}

// drawPolicy draws a policy without conditions on arguments.
func drawPolicy(t *rapid.T) *v1alpha1.AgentAuthorizationPolicy {
	p := &v1alpha1.AgentAuthorizationPolicy{}
	p.Namespace, p.Name = "bank", "drawn"
	p.Spec.Action = rapid.SampledFrom([]v1alpha1.Action{v1alpha1.Allow, v1alpha1.Allow, v1alpha1.Deny, v1alpha1.RequireApproval, v1alpha1.Audit}).Draw(t, "action")
	for range rapid.IntRange(0, 3).Draw(t, "rules") {
		p.Spec.Rules = append(p.Spec.Rules, drawRule(t))
	}
	return p
}

func drawRule(t *rapid.T) v1alpha1.Rule {
	var r v1alpha1.Rule
	for range rapid.IntRange(0, 2).Draw(t, "from") {
		r.From = append(r.From, v1alpha1.From{Source: rapid.SampledFrom([]v1alpha1.Source{
			{Namespaces: []string{"bank"}}, {NotNamespaces: []string{"bank"}}, {Principals: []string{"*"}}, {ServiceAccounts: []string{"audit/auditor"}},
			{IPBlocks: []string{"10.0.0.0/8"}}, {NotPrincipals: []string{"cluster.local/edge/*"}},
		}).Draw(t, "source")})
	}
	for range rapid.IntRange(0, 2).Draw(t, "to") {
		r.To = append(r.To, v1alpha1.To{Operation: rapid.SampledFrom([]v1alpha1.Operation{
			{Tools: []string{"read"}}, {Tools: []string{"read", "pay"}}, {Tools: []string{"get_*"}}, {NotTools: []string{"drop"}},
			{Tools: []string{"*"}, NotTools: []string{"*ay"}}, {Methods: []string{"tools/call"}}, {NotMethods: []string{"tools/call"}},
			{Methods: []string{"tools/list"}}, {Resources: []string{"file:///*"}}, {Prompts: []string{"read"}},
			{Protocols: []v1alpha1.Protocol{v1alpha1.MCP}}, {Protocols: []v1alpha1.Protocol{v1alpha1.HTTP}}, {Ports: []string{"3000"}}, {NotPaths: []string{"/mcp"}},
		}).Draw(t, "operation")})
	}
	for range rapid.IntRange(0, 2).Draw(t, "when") {
		r.When = append(r.When, rapid.SampledFrom([]v1alpha1.Condition{
			{Key: "mcp.tool.name", NotValues: []string{"pay"}}, {Key: "mcp.methodName", Values: []string{"tools/*"}}, {Key: "source.namespace", Values: []string{"bank"}},
			{CEL: `mcp.tool.name == "read"`}, {CEL: `!(mcp.tool.name in ["read", "pay"])`}, {CEL: `has(mcp.tool) && mcp.tool.name.startsWith("get_")`},
			{CEL: `source.namespace == "bank" && mcp.tool.name != "drop"`}, {CEL: `jwt.sub == "ann"`}, {CEL: `mcp.prompt.name == "read"`},
			{CEL: `mcp.methodName == "tools/call"`}, {CEL: `mcp.tool.name == "read" || jwt.sub == "ann"`}, {CEL: `request.path == "/mcp"`},
		}).Draw(t, "condition"))
	}
	return r
}

func compileDrawn(t *rapid.T, p *v1alpha1.AgentAuthorizationPolicy) *authz.Policy {
	compiled, problems := authz.Compile(p)
	if problems != nil {
		t.Fatalf("problems: %v", problems)
	}
	return compiled
}

// A naive reading of order, to hold against the indexed one: see TestIndexChangesNothing.
func singles(t *rapid.T, p *v1alpha1.AgentAuthorizationPolicy) []*authz.Stage {
	var out []*authz.Stage
	for _, r := range p.Spec.Rules {
		one := *p
		one.Spec.Rules = []v1alpha1.Rule{r}
		out = append(out, authz.New([]*authz.Policy{compileDrawn(t, &one)}))
	}
	return out
}
