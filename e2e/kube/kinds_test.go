package kube_test

import (
	"fmt"
	"net/netip"
	"os"
	"testing"

	"waymark.dev/waypoint/e2e/testbed"
	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/config"
	"waymark.dev/waypoint/pkg/mesh"
)

// step is what is written, and what a picture has to say then.
type step struct {
	spec string
	want func(*config.Cluster) bool
}

func restricted(target string) func(*config.Cluster) bool {
	return func(c *config.Cluster) bool {
		for _, u := range c.Unenforced {
			if u.Name == "o" && (target == "" && len(u.TargetRefs) == 0 || len(u.TargetRefs) > 0 && u.TargetRefs[0].Name == target) {
				return true
			}
		}
		return false
	}
}

func declares(kind, host string, port uint16, want mesh.Protocol) func(*config.Cluster) bool {
	return func(c *config.Cluster) bool {
		d := c.Declared[mesh.Host{Namespace: "bank", Hostname: host}]
		if d == nil || d.Object != (mesh.Ref{Kind: kind, Namespace: "bank", Name: "o"}) || len(d.Faults) > 0 {
			return false
		}
		dest := mesh.Destination{Service: call.Service{Port: port}}
		d.Options.Apply(&dest, d.Ports[port])
		return dest.Protocol == want
	}
}

// everyKind creates, changes and deletes an object of each kind.
func everyKind(t *testing.T, k *testbed.Kubernetes) {
	f := start(t, k.Kubeconfig)
	f.ready()
	const ours = "waymark.dev/v1alpha1"
	for _, c := range []struct {
		version, kind string
		steps         []step // none: such objects are counted
		counted       string // the spec of what is counted
	}{
		{ours, "AgentAuthorizationPolicy", []step{
			{`{action: DENY}`, func(c *config.Cluster) bool {
				return len(c.Policies) == 1 && c.Policies[0].Object.Spec.Action == "DENY"
			}},
			{`{action: AUDIT}`, func(c *config.Cluster) bool {
				return len(c.Policies) == 1 && c.Policies[0].Object.Spec.Action == "AUDIT"
			}},
		}, ""},
		{ours, "AgentGuard", []step{
			{`{rules: [{name: a, surfaces: [Arguments], regex: {patterns: [{name: p, pattern: x}]}}]}`, restricted("")},
		}, ""},
		{ours, "Quarantine", []step{
			{`{reason: r, requestedBy: me, subject: {tools: [a]}}`, restricted("")},
			{`{reason: r, requestedBy: me, targetRefs: [{kind: Service, name: mcp}]}`, restricted("mcp")},
		}, ""},
		{ours, "ToolCatalog", []step{
			{`{tools: [{name: pay, riskTier: High}]}`, func(c *config.Cluster) bool {
				return len(c.Catalogs) == 1 && c.Catalogs[0].Problem == "" && c.Catalogs[0].Object.Spec.Tools[0].Name == "pay"
			}},
		}, ""},
		{"security.istio.io/v1", "AuthorizationPolicy", []step{
			{`{action: DENY, targetRefs: [{group: "", kind: Service, name: a}]}`, restricted("a")},
			{`{action: DENY, targetRef: {group: gateway.networking.k8s.io, kind: Gateway, name: agents}}`, restricted("agents")},
		}, ""},
		{"security.istio.io/v1", "RequestAuthentication", []step{
			{`{targetRefs: [{group: "", kind: Service, name: a}], jwtRules: [{issuer: i, jwks: "{}"}]}`, func(c *config.Cluster) bool {
				return len(c.Requests) == 1 && c.Requests[0].Problem == "" && c.Requests[0].Object.TargetRefs[0].Name == "a"
			}},
		}, ""},
		{"telemetry.istio.io/v1", "Telemetry", nil, `{targetRefs: [{group: "", kind: Service, name: a}]}`},
		{"networking.istio.io/v1", "DestinationRule", nil, `{host: mcp}`},
		{"networking.istio.io/v1", "ServiceEntry", []step{
			{`{hosts: [x.example.com], resolution: DNS, ports: [{number: 80, name: mcp, protocol: HTTP}]}`, declares("ServiceEntry", "x.example.com", 80, mesh.MCP)},
			{`{hosts: [y.example.com], resolution: DNS, ports: [{number: 80, name: x, protocol: GRPC}]}`, declares("ServiceEntry", "y.example.com", 80, mesh.GRPC)},
		}, ""},
		{"gateway.networking.k8s.io/v1", "HTTPRoute", nil, `{parentRefs: [{group: "", kind: Service, name: mcp}]}`},
		{"gateway.networking.k8s.io/v1", "GRPCRoute", nil, `{parentRefs: [{group: "", kind: Service, name: mcp}]}`},
		{"gateway.networking.k8s.io/v1", "TCPRoute", nil, `{parentRefs: [{group: "", kind: Service, name: mcp}], rules: [{backendRefs: [{name: a, port: 1}]}]}`},
		{"gateway.networking.k8s.io/v1", "TLSRoute", nil, `{hostnames: [a.example.com], parentRefs: [{group: "", kind: Service, name: mcp}], rules: [{backendRefs: [{name: a, port: 1}]}]}`},
		{"v1", "Service", []step{
			{`{ports: [{port: 3000, name: a, appProtocol: kgateway.dev/mcp}]}`, declares("Service", "o.bank.svc.cluster.local", 3000, mesh.MCP)},
			{`{ports: [{port: 3000, name: a, appProtocol: agentgateway.dev/a2a}]}`, declares("Service", "o.bank.svc.cluster.local", 3000, mesh.A2A)},
		}, ""},
	} {
		t.Run(c.kind, func(t *testing.T) {
			f.t = t
			object := func(spec string) string {
				return fmt.Sprintf(`{apiVersion: %s, kind: %s, metadata: {name: o, namespace: bank}, spec: %s}`, c.version, c.kind, spec)
			}
			for i, s := range c.steps {
				k.ApplyText(t, object(s.spec))
				f.until(fmt.Sprintf("step %d", i), s.want)
			}
			if c.counted != "" {
				k.ApplyText(t, object(c.counted))
			}
			f.await("the object", func() bool { return f.kind(c.kind).Count == 1 || c.kind == "Service" })
			k.Kubectl(t, "-n", "bank", "delete", c.kind, "o")
			f.await("its deletion", func() bool { return f.kind(c.kind).Count == 0 || c.kind == "Service" && f.kind(c.kind).Count == 1 }) // default/kubernetes
			if n := len(c.steps); n > 0 {
				f.until("nothing of it", func(p *config.Cluster) bool { return !c.steps[n-1].want(p) })
			}
		})
	}
	f.t = t
	t.Run("full objects", func(t *testing.T) { fullObjects(t, k, f) })
	t.Run("Gateway", func(t *testing.T) { gateway(t, k, f) })
}

// fullObjects creates one of each kind of ours with nearly every field.
func fullObjects(t *testing.T, k *testbed.Kubernetes, f *follow) {
	k.Apply(t, "e2e/crds/testdata/base.yaml")
	c := f.until("all of them", func(c *config.Cluster) bool {
		return len(c.Policies) == 1 && len(c.Unenforced) == 3 && len(c.Authentications) == 1 && len(c.Exchanges) == 1
	})
	if a, x := c.Authentications[0], c.Exchanges[0]; a.Problem != "" || x.Problem != "" || len(a.Object.Spec.Issuers) == 0 || x.Object.Spec.Exchange == nil {
		t.Errorf("got %q, %+v and %q, %+v", a.Problem, a.Object.Spec, x.Problem, x.Object.Spec)
	}
	if p := c.Policies[0]; p.Problem != "" || len(p.Object.Spec.TargetRefs) != 3 || len(p.Object.Spec.Rules[0].To) != 3 || p.Object.Generation == 0 || p.Object.UID == "" {
		t.Errorf("got %q, %+v", p.Problem, p.Object)
	}
	want := []string{"AgentGuard", "AgentLimit", "Quarantine"}
	for i, u := range c.Unenforced {
		if u.Kind != want[i] || len(u.TargetRefs) != 1 || u.TargetRefs[0].Name != "company-mcp" {
			t.Errorf("got %+v, want %s", u, want[i])
		}
	}
	for _, kind := range append(want, "AgentAuthentication", "TokenExchange", "AgentAuthorizationPolicy", "ToolCatalog", "ApprovalRequest", "AgentAudit") {
		f.await(kind, func() bool { return f.kind(kind).Count == 1 })
	}
	k.Kubectl(t, "delete", "-f", testbed.Root+"/e2e/crds/testdata/base.yaml")
	f.until("nothing of it", func(c *config.Cluster) bool { return len(c.Policies)+len(c.Unenforced) == 0 })
}

func gateway(t *testing.T, k *testbed.Kubernetes, f *follow) {
	k.ApplyText(t, testbed.Waypoint("bank", "other", "service"), testbed.Waypoint("bank", "agents", "service"))
	f.until("the Gateway", func(c *config.Cluster) bool { return c.Gateway.Found })
	k.PatchGateway(t, "bank", "other", "127.0.2.9")
	k.PatchGateway(t, "bank", "agents", "127.0.2.1", "agents.bank.svc.cluster.local")
	f.until("its addresses", func(c *config.Cluster) bool {
		g := c.Gateway
		return len(g.Addresses) == 1 && g.Addresses[0] == netip.MustParseAddr("127.0.2.1") && len(g.Hosts) == 1 && g.Hosts[0] == "agents.bank.svc.cluster.local"
	})
	if n := f.kind("Gateway").Count; n != 1 {
		t.Errorf("got %d Gateways, want ours only", n)
	}
	k.Kubectl(t, "-n", "bank", "delete", "gateway", "agents", "other")
	f.until("no Gateway", func(c *config.Cluster) bool { return !c.Gateway.Found })
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
