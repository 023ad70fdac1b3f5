package authz_test

import (
	"net/netip"
	"strings"
	"testing"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/policy"
	"waymark.dev/waypoint/pkg/policy/authz"
)

func TestFrom(t *testing.T) {
	from := func(addr string) *call.Call {
		return with(tool("x"), func(c *call.Call) { c.Source = netip.MustParseAddrPort(addr) })
	}
	dotted := identity.RequireID("spiffe://cluster.local/ns/bank/sa/a.b")
	for _, tt := range []struct {
		name, source string
		yes, no      []*call.Call
	}{
		{"principal", `principals: [cluster.local/ns/bank/sa/teller]`, []*call.Call{tool("x"), raw()}, []*call.Call{by(auditor, tool("x")), by(identityZero, tool("x"))}},
		{"principal with its scheme", `principals: ["spiffe://cluster.local/ns/bank/sa/teller"]`, []*call.Call{tool("x")}, []*call.Call{by(auditor, tool("x"))}},
		{"principal prefix", `principals: ["cluster.local/ns/bank/*"]`, []*call.Call{tool("x")}, []*call.Call{by(auditor, tool("x")), by(edge, tool("x"))}},
		{"principal suffix", `principals: ["*/sa/teller"]`, []*call.Call{tool("x")}, []*call.Call{by(auditor, tool("x"))}},
		{"any authenticated", `principals: ["*"]`, []*call.Call{tool("x"), by(edge, tool("x"))}, []*call.Call{by(identityZero, tool("x"))}},
		{"notPrincipals", `notPrincipals: [cluster.local/ns/bank/sa/teller]`, []*call.Call{by(auditor, tool("x")), by(identityZero, tool("x"))}, []*call.Call{tool("x")}},
		{"dots are dots", `principals: [cluster.local/ns/bank/sa/aXb]`, nil, []*call.Call{by(dotted, tool("x"))}},
		{"namespace", `namespaces: [bank, "au*"]`, []*call.Call{tool("x"), by(auditor, tool("x"))}, []*call.Call{by(edge, tool("x"))}},
		{"notNamespaces", `notNamespaces: [bank]`, []*call.Call{by(auditor, tool("x"))}, []*call.Call{tool("x")}},
		{"service account here", `serviceAccounts: [teller]`, []*call.Call{tool("x")}, []*call.Call{by(auditor, tool("x")), by(edge, tool("x"))}},
		{"service account there", `serviceAccounts: [audit/auditor]`, []*call.Call{by(auditor, tool("x"))}, []*call.Call{tool("x")}},
		{"service account by its whole name", `serviceAccounts: [tell]`, nil, []*call.Call{tool("x")}},
		{"notServiceAccounts", `notServiceAccounts: [teller]`, []*call.Call{by(auditor, tool("x"))}, []*call.Call{tool("x")}},
		{"block", `ipBlocks: [10.0.0.0/8, "2001:db8::/32"]`, []*call.Call{from("10.9.9.9:1"), from("[::ffff:10.0.0.1]:1"), from("[2001:db8::1]:1")},
			[]*call.Call{from("11.0.0.1:1"), with(tool("x"), func(c *call.Call) { c.Source = netip.AddrPort{} })}},
		{"address", `ipBlocks: [10.1.2.3]`, []*call.Call{from("10.1.2.3:9")}, []*call.Call{from("10.1.2.4:9")}},
		{"unmasked block", `ipBlocks: [10.1.2.3/8]`, []*call.Call{from("10.0.0.1:9")}, nil},
		{"notIpBlocks", `notIpBlocks: [10.0.0.0/8]`, []*call.Call{from("11.0.0.1:1")}, []*call.Call{from("10.0.0.1:1")}},
		{"every field", `{namespaces: [bank], ipBlocks: [10.0.0.0/8]}`, []*call.Call{from("10.0.0.1:1")}, []*call.Call{from("11.0.0.1:1"), by(auditor, from("10.0.0.1:1"))}},
		{"field and opposite", `{namespaces: ["*"], notNamespaces: [audit]}`, []*call.Call{tool("x")}, []*call.Call{by(auditor, tool("x"))}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			allow := stage(t, `{rules: [{from: [{source: {`+trim(tt.source)+`}}]}]}`)
			deny := stage(t, `{action: DENY, rules: [{from: [{source: {`+trim(tt.source)+`}}]}]}`)
			check := func(c *call.Call, matches bool) {
				t.Helper()
				if got := inspect(t, allow, c).Action == policy.Pass; got != matches {
					t.Errorf("ALLOW matches %v from %v: got %v, want %v", c.Principal, c.Source, got, matches)
				}
				if got := inspect(t, deny, c).Action == policy.Deny; got != matches {
					t.Errorf("DENY matches %v from %v: got %v, want %v", c.Principal, c.Source, got, matches)
				}
			}
			for _, c := range tt.yes {
				check(c, true)
			}
			for _, c := range tt.no {
				check(c, false)
			}
		})
	}
}

// trim takes the braces off a flow mapping.
func trim(s string) string {
	if s[0] == '{' {
		return s[1 : len(s)-1]
	}
	return s
}

func TestTrustDomainAliases(t *testing.T) {
	own, alias := identity.RequireTrustDomain("mesh.example"), identity.RequireTrustDomain("old.example")
	p := spec(t, `rules: [{from: [{source: {principals: [old.example/ns/bank/sa/teller, cluster.local/ns/bank/sa/clerk, other.example/ns/bank/sa/guest]}}]}]`)
	compiled, problems := authz.Compile(p, own, alias)
	if problems != nil {
		t.Fatal(problems)
	}
	s := authz.New([]*authz.Policy{compiled})
	for id, want := range map[string]call.Code{
		"spiffe://mesh.example/ns/bank/sa/teller":  pass,
		"spiffe://old.example/ns/bank/sa/teller":   pass,
		"spiffe://mesh.example/ns/bank/sa/clerk":   pass,
		"spiffe://cluster.local/ns/bank/sa/clerk":  call.EntitlementDenied,
		"spiffe://other.example/ns/bank/sa/guest":  pass,
		"spiffe://mesh.example/ns/bank/sa/guest":   call.EntitlementDenied,
		"spiffe://other.example/ns/bank/sa/teller": call.EntitlementDenied,
	} {
		t.Run(id, func(t *testing.T) { wantCode(t, inspect(t, s, by(identity.RequireID(id), tool("x"))), want) })
	}
}

// An actor whom nobody vouches for can only make things worse for the caller.
func TestActorsThatNobodyVouchesFor(t *testing.T) {
	c := chained("ann", "butler", "coach")
	c.Chain[1].Verified = false
	for source, want := range map[string]struct{ allow, deny bool }{
		`actors: [butler]`: {false, true}, `notActors: [butler]`: {false, true}, `actors: [coach]`: {true, true}, `notActors: [coach]`: {false, false},
	} {
		if got := inspect(t, stage(t, `{rules: [{from: [{source: {`+source+`}}]}]}`), c).Action == policy.Pass; got != want.allow {
			t.Errorf("ALLOW matches %s: got %v", source, got)
		}
		if got := inspect(t, stage(t, `{action: DENY, rules: [{from: [{source: {`+source+`}}]}]}`), c).Action == policy.Deny; got != want.deny {
			t.Errorf("DENY matches %s: got %v", source, got)
		}
	}
}

// What the token says of the caller; on a raw connection nobody sees a token, which counts against the caller (Istio drops such a
// field from a DENY rule, and such a rule from an ALLOW policy).
func TestFromToken(t *testing.T) {
	ann := with(chained("ann", "butler", "coach"), func(c *call.Call) { c.Claims.Issuer, c.Claims.Subject = "https://idp.example", "ann" })
	alone := with(chained("ann"), func(c *call.Call) { c.Claims.Issuer, c.Claims.Subject = "https://idp.example", "ann" })
	nameless := claiming("x", `{}`)
	for _, tt := range []struct {
		source  string
		yes, no []*call.Call
	}{
		{`requestPrincipals: ["https://idp.example/ann"]`, []*call.Call{ann, alone}, []*call.Call{tool("x"), nameless}},
		{`requestPrincipals: ["https://idp.example/*"]`, []*call.Call{ann}, []*call.Call{tool("x"), nameless}},
		{`requestPrincipals: ["*"]`, []*call.Call{ann}, []*call.Call{tool("x"), nameless}},
		{`requestPrincipals: [ann]`, nil, []*call.Call{ann}},
		{`notRequestPrincipals: ["*"]`, []*call.Call{tool("x"), nameless}, []*call.Call{ann}},
		{`actors: [butler]`, []*call.Call{ann}, []*call.Call{alone, tool("x")}},
		{`actors: ["co*", other]`, []*call.Call{ann}, []*call.Call{alone, tool("x")}},
		{`actors: [ann]`, nil, []*call.Call{ann, alone}}, // who acts for nobody is no actor
		{`actors: ["*"]`, []*call.Call{ann}, []*call.Call{alone, tool("x")}},
		{`notActors: [coach]`, []*call.Call{alone, tool("x")}, []*call.Call{ann}},
		{`notActors: ["*"]`, []*call.Call{alone, tool("x")}, []*call.Call{ann}},
		{`notActors: [ann]`, []*call.Call{ann, alone}, nil},
		{`{actors: [butler], notActors: [coach]}`, nil, []*call.Call{ann, alone}},
		{`{actors: [butler], namespaces: [audit]}`, nil, []*call.Call{ann}},
		{`{actors: [butler], requestPrincipals: ["https://idp.example/ann"]}`, []*call.Call{ann}, []*call.Call{alone}},
	} {
		t.Run(tt.source, func(t *testing.T) {
			allow := stage(t, `{rules: [{from: [{source: {`+trim(tt.source)+`}}]}]}`)
			deny := stage(t, `{action: DENY, rules: [{from: [{source: {`+trim(tt.source)+`}}]}]}`)
			for i, c := range append(append([]*call.Call{}, tt.yes...), tt.no...) {
				matches := i < len(tt.yes)
				if got := inspect(t, allow, c).Action == policy.Pass; got != matches {
					t.Errorf("ALLOW matches %v: got %v, want %v", c.Chain, got, matches)
				}
				if got := inspect(t, deny, c).Action == policy.Deny; got != matches {
					t.Errorf("DENY matches %v: got %v, want %v", c.Chain, got, matches)
				}
			}
			wantCode(t, inspect(t, allow, raw()), call.EntitlementDenied)
			if !strings.Contains(tt.source, "namespaces") {
				wantCode(t, inspect(t, deny, raw()), call.EntitlementDenied)
			}
		})
	}
}
