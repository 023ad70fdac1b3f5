package authz_test

import (
	"context"
	"encoding/json/v2"
	"net/http"
	"net/netip"
	"testing"

	"go.yaml.in/yaml/v3"

	"waymark.dev/waypoint/pkg/api/v1alpha1"
	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/policy"
	"waymark.dev/waypoint/pkg/policy/authz"
)

// parse reads one policy as the configuration does: unknown fields are errors.
func parse(text string) (*v1alpha1.AgentAuthorizationPolicy, error) {
	var tree any
	if err := yaml.Unmarshal([]byte(text), &tree); err != nil {
		return nil, err
	}
	b, err := json.Marshal(tree)
	if err != nil {
		return nil, err
	}
	p := &v1alpha1.AgentAuthorizationPolicy{}
	return p, json.Unmarshal(b, p, json.RejectUnknownMembers(true))
}

// spec reads the spec of a policy called bank/p.
func spec(t testing.TB, text string) *v1alpha1.AgentAuthorizationPolicy {
	t.Helper()
	var tree any
	if err := yaml.Unmarshal([]byte(text), &tree); err != nil {
		t.Fatalf("%v in:\n%s", err, text)
	}
	b, err := json.Marshal(map[string]any{"metadata": map[string]any{"namespace": "bank", "name": "p"}, "spec": tree})
	if err != nil {
		t.Fatal(err)
	}
	p := &v1alpha1.AgentAuthorizationPolicy{}
	if err := json.Unmarshal(b, p, json.RejectUnknownMembers(true)); err != nil {
		t.Fatalf("%v in:\n%s", err, text)
	}
	return p
}

func compile(t testing.TB, p *v1alpha1.AgentAuthorizationPolicy) *authz.Policy {
	t.Helper()
	out, problems := authz.Compile(p)
	for _, problem := range problems {
		t.Errorf("problem: %v", problem)
	}
	if problems != nil {
		t.FailNow()
	}
	return out
}

// stage compiles specs; the n-th policy is called bank/p<n>.
func stage(t testing.TB, specs ...string) *authz.Stage {
	t.Helper()
	var policies []*authz.Policy
	for i, s := range specs {
		p := spec(t, s)
		p.Name = "p" + string(rune('0'+i))
		policies = append(policies, compile(t, p))
	}
	return authz.New(policies)
}

func inspect(t testing.TB, s *authz.Stage, c *call.Call) policy.Verdict {
	t.Helper()
	v, err := s.Inspect(context.Background(), c)
	if err != nil {
		t.Fatalf("Inspect: %v", err)
	}
	return v
}

var (
	teller       = identity.RequireID("spiffe://cluster.local/ns/bank/sa/teller")
	auditor      = identity.RequireID("spiffe://cluster.local/ns/audit/sa/auditor")
	identityZero identity.ID
	edge         = identity.RequireID("spiffe://cluster.local/edge/gateway-7")
)

// base is a call by bank/teller, with nothing said yet.
func base(p call.Protocol) *call.Call {
	return &call.Call{
		Protocol:  p,
		Direction: call.ToServer,
		Principal: teller,
		Source:    netip.MustParseAddrPort("10.1.2.3:40000"),
		Route:     call.Route{Service: call.Service{Namespace: "bank", Name: "company-mcp", Hostname: "company-mcp.bank.svc.cluster.local", Port: 3000}},
		HTTP:      call.Request{Method: "POST", Host: "company-mcp:3000", Path: "/mcp", Header: http.Header{"X-Team": {"blue"}, "X-Two": {"a", "b"}}},
	}
}

func mcp(method string, kind call.Kind, name, arguments string) *call.Call {
	c := base(call.MCP)
	c.Method, c.Target, c.Intent = method, call.Target{Kind: kind, Name: name}, call.Use
	if arguments != "" {
		c.Arguments = []byte(arguments)
	}
	return c
}

func tool(name string) *call.Call { return mcp("tools/call", call.Tool, name, "{}") }

func toolWith(name, arguments string) *call.Call {
	return mcp("tools/call", call.Tool, name, arguments)
}

func resource(uri string) *call.Call { return mcp("resources/read", call.Resource, uri, "") }

func prompt(name string) *call.Call { return mcp("prompts/get", call.Prompt, name, "") }

func lifecycle(method string, intent call.Intent) *call.Call {
	c := mcp(method, call.None, "", "")
	c.Intent = intent
	return c
}

func initialize() *call.Call { return lifecycle("initialize", call.Plumbing) }

func listTools() *call.Call { return lifecycle("tools/list", call.List) }

func web(method, path string) *call.Call {
	c := base(call.HTTP)
	c.Method, c.HTTP.Method, c.HTTP.Path = method, method, path
	return c
}

func raw() *call.Call {
	c := base(call.TCP)
	c.HTTP = call.Request{}
	return c
}

func by(id identity.ID, c *call.Call) *call.Call {
	c.Principal = id
	return c
}

func with(c *call.Call, change func(*call.Call)) *call.Call {
	change(c)
	return c
}
