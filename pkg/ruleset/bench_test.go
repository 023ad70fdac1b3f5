package ruleset_test

import (
	"bytes"
	"fmt"
	"testing"

	"waymark.dev/waypoint/pkg/api/v1alpha1"
	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/config"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/mesh"
	"waymark.dev/waypoint/pkg/policy/audit"
	"waymark.dev/waypoint/pkg/ruleset"
)

// BenchmarkChangePolicy is one changed policy among 1,000 for 1,000 services, until the first call is judged by it.
func BenchmarkChangePolicy(b *testing.B) {
	l := &land{attached: map[call.Service]mesh.Attached{}}
	c := &config.Cluster{Gateway: config.ClusterGateway{Namespace: "agents-system", Name: "agents", Found: true}}
	var services []call.Service
	for i := range 1000 {
		name := fmt.Sprintf("mcp-%d", i)
		services = append(services, l.attach(kubeService("bank", name)))
		c.Policies = append(c.Policies, object("bank", name, v1alpha1.Deny, "export", target("Service", name)))
	}
	deps := ruleset.Deps{Audit: audit.New(&bytes.Buffer{}, audit.Options{}), TrustDomains: []identity.TrustDomain{identity.RequireTrustDomain("cluster.local")}}
	rules, err := ruleset.Assemble(c, l, deps, nil)
	if err != nil {
		b.Fatal(err)
	}
	i := 0
	for b.Loop() {
		i = (i + 1) % len(services)
		c.Policies[i].Object = c.Policies[i].Object.DeepCopy()
		c.Policies[i].Object.Generation++
		if rules, err = ruleset.Assemble(c, l, deps, rules); err != nil {
			b.Fatal(err)
		}
		call := toolCall("spiffe://cluster.local/ns/agents/sa/teller-agent", "export")
		call.Route.Service = services[i]
		if rules.Pipeline(services[i]).Inspect(b.Context(), call).Allowed() {
			b.Fatal("the call is allowed")
		}
	}
}
