package authz_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/policy"
	"waymark.dev/waypoint/pkg/policy/authz"
)

// rules returns a stage of n CEL rules, of which the last matches the tool "read".
func celRules(t testing.TB, n int) *authz.Stage {
	text := "rules:\n"
	for i := range n - 1 {
		text += fmt.Sprintf("- when: [{cel: 'source.namespace == \"bank\" && mcp.tool.name == \"tool_%d\"'}]\n", i)
	}
	return stage(t, text+"- when: [{cel: 'source.namespace == \"bank\" && mcp.tool.name == \"read\"'}]\n")
}

// plain returns a stage of n rules without CEL, each about another tool.
func plainRules(t testing.TB, n int) *authz.Stage {
	text := "rules:\n"
	for i := range n - 1 {
		text += fmt.Sprintf("- {from: [{source: {namespaces: [bank]}}], to: [{operation: {tools: [tool_%d]}}]}\n", i)
	}
	return stage(t, text+"- {from: [{source: {namespaces: [bank]}}], to: [{operation: {tools: [read]}}]}\n")
}

func mixedRules(t testing.TB) *authz.Stage {
	return stage(t, `rules:
- {from: [{source: {principals: [cluster.local/ns/bank/sa/clerk]}}]}
- {to: [{operation: {tools: [a, b]}}]}
- {to: [{operation: {tools: ["get_*"]}}]}
- {to: [{operation: {methods: [resources/read]}}]}
- {from: [{source: {ipBlocks: [192.168.0.0/16]}}]}
- {when: [{key: "request.headers[x-team]", values: [red]}]}
- {when: [{cel: 'mcp.tool.name.startsWith("list_")'}]}
- {when: [{cel: 'source.identity.namespace == "audit" && destination.port == 3000'}]}
- {to: [{operation: {tools: [read], arguments: [{pointer: /amount, min: 100}]}}]}
- {to: [{operation: {tools: [read], arguments: [{pointer: /amount, max: 99}]}}]}
`)
}

// Ten rules of every sort may allocate ten times (performance.md, row 7).
func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes sync.Pool drop things at random")
	}
	c := toolWith("read", `{"account":"a1","amount":7}`)
	for _, tt := range []struct {
		name  string
		stage *authz.Stage
		want  float64
	}{{"10 CEL rules", celRules(t, 10), 10}, {"10 plain rules", plainRules(t, 10), 0}, {"10 mixed rules", mixedRules(t), 10}} {
		t.Run(tt.name, func(t *testing.T) {
			got := testing.AllocsPerRun(100, func() {
				if v, err := tt.stage.Inspect(context.Background(), c); err != nil || v.Action != policy.Pass {
					t.Fatal(v, err)
				}
			})
			if got > tt.want {
				t.Errorf("got %.0f allocations, want at most %.0f", got, tt.want)
			}
		})
	}
}

func BenchmarkStage(b *testing.B) {
	c := toolWith("read", `{"account":"a1","amount":7}`)
	for _, bb := range []struct {
		name  string
		stage *authz.Stage
	}{
		{"cel=1", celRules(b, 1)}, {"cel=10", celRules(b, 10)}, {"cel=100", celRules(b, 100)},
		{"plain=10", plainRules(b, 10)}, {"plain=100", plainRules(b, 100)}, {"mixed=10", mixedRules(b)},
	} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if v, err := bb.stage.Inspect(context.Background(), c); err != nil || v.Action != policy.Pass {
					b.Fatal(v, err)
				}
			}
		})
	}
	b.Run("hand", func(b *testing.B) { // the rule of cel=1 in Go: the floor
		for b.Loop() {
			if !byHand(c) {
				b.Fatal("no match")
			}
		}
	})
}

//go:noinline
func byHand(c *call.Call) bool {
	ns, ok := c.Principal.Namespace()
	return ok && ns == "bank" && c.Protocol == call.MCP && c.Target.Kind == call.Tool && c.Target.Name == "read"
}

// delegated is a call with a token of a usual size and a chain of two actors.
func delegated() *call.Call {
	c := toolWith("read", `{"account":"a1","amount":7}`)
	c.Claims = &identity.Claims{Raw: []byte(`{"iss":"https://agw-sts.example.com","sub":"alice","aud":["bank-mcp"],"exp":4102444800,"iat":1767225600,` +
		`"jti":"6f0c1d5e-2a53-4b0c-9a5e-0d1f6b1a2c3d","scope":"openid profile email bank-agents github-readonly","groups":["staff","investment-advisors","all"],` +
		`"email":"alice@example.com","name":"Alice Example","tenant":"example","authorization_details":[{"type":"account","tools":["read"],"arguments":{"/amount":{"maximum":500}}}],"act":{"sub":"agent-coach","iss":"https://agw-sts.example.com","act":{"sub":"agent-butler"}}}`)}
	c.Chain = hops("alice", "agent-butler", "agent-coach")
	return c
}

func BenchmarkClaims(b *testing.B) {
	c := delegated()
	const chain = `chain.verified && chain.depth == 2 && chain.actors == ["agent-butler", "agent-coach"]`
	for _, bb := range []struct{ name, expression string }{
		{"chain", chain},
		{"act", `jwt.iss == "https://agw-sts.example.com" && jwt.act.sub == "agent-coach" && jwt.act.act.sub == "agent-butler"`},
		{"scope", `jwt.scope.contains("github-readonly") && mcp.tool.name in ["list", "read"]`},
		{"details", `authorized("account")`},
		{"groups", `jwt.groups.exists(g, g == "investment-advisors")`},
	} {
		one := "rules: [{when: [{cel: '" + bb.expression + "'}]}]"
		ten := "rules:\n" + strings.Repeat("- when: [{cel: '"+bb.expression+" && mcp.tool.name == \"other\"'}]\n", 9) + "- when: [{cel: '" + bb.expression + "'}]\n"
		for rules, text := range map[string]string{"1": one, "10": ten} {
			s := stage(b, text)
			b.Run(bb.name+"="+rules, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if v, err := s.Inspect(context.Background(), c); err != nil || v.Action != policy.Pass {
						b.Fatal(v, err)
					}
				}
			})
		}
	}
}

func BenchmarkList(b *testing.B) {
	s := mixedRules(b)
	var names []string
	for i := range 50 {
		names = append(names, fmt.Sprintf("tool_%d", i))
	}
	r, c := list(call.Tool, names...), listTools()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.InspectReply(context.Background(), c, r); err != nil {
			b.Fatal(err)
		}
	}
}
