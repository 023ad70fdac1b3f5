package authz_test

import (
	"fmt"
	"strings"
	"testing"

	"waymark.dev/waypoint/pkg/api/v1alpha1"
	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/policy"
	"waymark.dev/waypoint/pkg/policy/authz"
)

// claiming is a call of a tool with a token of these claims.
func claiming(name, claims string) *call.Call {
	return with(tool(name), func(c *call.Call) { c.Claims = &identity.Claims{Raw: []byte(claims)} })
}

func hops(names ...string) []identity.Hop {
	out := make([]identity.Hop, len(names))
	for i, n := range names {
		out[i] = identity.Hop{Subject: n, Issuer: "https://sts.example", Verified: true}
	}
	return out
}

func chained(names ...string) *call.Call {
	return with(tool("x"), func(c *call.Call) {
		c.Claims = &identity.Claims{Raw: []byte(`{"sub":"` + names[0] + `"}`)}
		c.Chain = hops(names...)
	})
}

// said is what became of an expression.
type said int

const (
	holds    said = iota
	holdsNot      // it is false, or about something that the call does not name
	fails         // an error: no match in an ALLOW rule, and a denial in a DENY rule
	isOpen        // it depends on what the call has not said: a match in an ALLOW rule and none in a DENY rule
)

func judge(t *testing.T, expression string, c *call.Call) said {
	t.Helper()
	quoted := "'" + strings.ReplaceAll(expression, "'", "''") + "'"
	allow := inspect(t, stage(t, `rules: [{when: [{cel: `+quoted+`}]}]`), c)
	deny := inspect(t, stage(t, `{action: DENY, rules: [{when: [{cel: `+quoted+`}]}]}`), c)
	switch {
	case allow.Action == policy.Pass && deny.Code == call.EntitlementDenied:
		return holds
	case allow.Action == policy.Deny && deny.Action == policy.Pass:
		return holdsNot
	case allow.Action == policy.Deny && deny.Code == call.PolicyError:
		return fails
	case allow.Action == policy.Pass && deny.Action == policy.Pass:
		return isOpen
	}
	t.Fatalf("%s: ALLOW says %v (%s) and DENY %v (%s)", expression, allow.Action, allow.Reason, deny.Action, deny.Reason)
	return 0
}

func TestScopeIsASet(t *testing.T) {
	words, list := `{"scope":"read write:all  github-readonly"}`, `{"scope":["read","write:all","github-readonly","a b"]}`
	for _, tt := range []struct {
		expression, claims string
		want               said
	}{
		{`jwt.scope.contains("read")`, words, holds},
		{`jwt.scope.contains("github-readonly")`, words, holds},
		{`jwt.scope.contains("readonly")`, words, holdsNot},
		{`jwt.scope.contains("rea")`, words, holdsNot},
		{`jwt.scope.contains("READ")`, words, holdsNot},
		{`jwt.scope.contains("write")`, words, holdsNot},
		{`jwt.scope.contains("read")`, list, holds},
		{`jwt.scope.contains("rea")`, list, holdsNot},
		{`jwt["scope"].contains("read")`, words, holds},
		{`jwt["scope"].contains("rea")`, words, holdsNot},
		{`.jwt.scope.contains("rea")`, words, holdsNot},
		{`(jwt.scope).contains("rea")`, words, holdsNot},
		{`"read" in jwt.scope`, words, holds},
		{`"rea" in jwt.scope`, words, holdsNot},
		{`"read" in jwt["scope"]`, list, holds},
		{`"rea" in jwt["scope"]`, list, holdsNot},
		{`!("admin" in jwt.scope)`, words, holds},
		{`["read", "none"].exists(s, jwt.scope.contains(s))`, words, holds},
		{`["rea", "none"].exists(s, s in jwt.scope)`, words, holdsNot},
		{`jwt.scope.contains(jwt.want)`, `{"scope":"a b","want":"a b"}`, holdsNot},
		{`jwt.scope.contains(jwt.want)`, `{"scope":"a  b","want":""}`, holdsNot},
		{`jwt.scope.contains(jwt.want)`, `{"scope":["a",""],"want":""}`, holdsNot},
		{`jwt.scope.contains(jwt.want)`, `{"scope":"a","want":7}`, fails},
		// tabs, newlines and other spaces do not stand between scopes
		{`jwt.scope.contains("read")`, `{"scope":"read\twrite"}`, holdsNot},
		{`jwt.scope.contains("read")`, `{"scope":"read\u00a0write"}`, holdsNot},
		{`jwt.scope.contains("read")`, `{"scope":"read\u0000"}`, holdsNot},
		{`jwt.scope.contains("é")`, `{"scope":"e\u0301"}`, holdsNot},
		// what is no scope at all
		{`jwt.scope.contains("read")`, `{}`, fails},
		{`jwt.scope.contains("read")`, `{"Scope":"read"}`, fails},
		{`jwt.scope.contains("read")`, `{"scope":"read","SCOPE":"x"}`, fails},
		{`jwt.scope.contains("read")`, `{"scope":{"read":true}}`, fails},
		{`jwt.scope.contains("read")`, `{"scope":true}`, fails},
		{`jwt.scope.contains("read")`, `{"scope":null}`, fails},
		{`jwt.scope.contains("read")`, `{"scope":["read",7]}`, fails},
		{`has(jwt.scope) && jwt.scope.contains("read")`, `{}`, holdsNot},
		// the text, on request
		{`string(jwt.scope).contains("rea")`, words, holds},
		{`string(jwt.scope).contains("read write")`, words, holds},
		{`string(jwt.scope).contains("rea")`, list, fails},
		{`jwt.scope.startsWith("rea")`, words, holds},
		{`jwt.scope == "read"`, `{"scope":"read"}`, holds},
		// other claims, and other things called scope, are as in CEL
		{`jwt.sub.contains("nn")`, `{"sub":"ann"}`, holds},
		{`jwt.act.scope.contains("rea")`, `{"act":{"scope":"read"}}`, holds},
		{`"a" in jwt.groups && "b" in jwt.act`, `{"groups":["a"],"act":{"b":1}}`, holds},
		{`"read" in jwt.act.scope`, `{"act":{"scope":"read"}}`, fails},
		{`request.path.contains("mc") && "x" in ["x"]`, `{}`, holds},
	} {
		t.Run(tt.expression+" of "+tt.claims, func(t *testing.T) {
			if got := judge(t, tt.expression, claiming("x", tt.claims)); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
	if got := judge(t, `jwt.scope.contains("read")`, tool("x")); got != fails {
		t.Errorf("without a token: got %v, want %v", got, fails)
	}
}

func TestChain(t *testing.T) {
	butler, coach := "spiffe://cluster.local/ns/agents/sa/butler", "spiffe://cluster.local/ns/agents/sa/coach"
	doubtful := with(chained("ann", butler, coach), func(c *call.Call) { c.Chain[1].Verified = false })
	nobody := with(chained("ann", butler), func(c *call.Call) { c.Chain[0].Subject = "" })
	endless := chained(append([]string{"ann"}, strings.Fields(strings.Repeat("a ", 17))...)...)
	wide := chained("ann", strings.Repeat("x", 16<<10+1))
	for _, tt := range []struct {
		name, expression string
		call             *call.Call
		want             said
	}{
		{"all of it", `chain.user == "ann" && chain.actors == ["` + butler + `", "` + coach + `"] && chain.depth == 2 && chain.verified`, chained("ann", butler, coach), holds},
		{"order", `chain.actors[0].endsWith("/butler") && chain.actors[1].endsWith("/coach")`, chained("ann", butler, coach), holds},
		{"the other order", `chain.actors == ["` + coach + `", "` + butler + `"]`, chained("ann", butler, coach), holdsNot},
		{"the actor that calls", `chain.actors[size(chain.actors) - 1] == source.spiffeId`, chained("ann", butler, teller.String()), holds},
		{"member", `"` + coach + `" in chain.actors`, chained("ann", butler), holdsNot},
		{"macros", `chain.actors.all(a, a.matches("^spiffe://cluster[.]local/")) && chain.actors.exists_one(a, a == "` + butler + `")`, chained("ann", butler, coach), holds},
		{"no delegation", `chain.depth == 0 && chain.actors == [] && size(chain.actors) == 0 && chain.verified && has(chain.user)`, chained("ann"), holds},
		{"too few", `chain.actors[1] == "x"`, chained("ann", butler), fails},
		{"a hop that nobody vouches for", `chain.verified`, doubtful, holdsNot},
		{"no token", `has(chain.user) || has(chain.actors) || has(chain.depth) || has(chain.verified)`, tool("x"), holdsNot},
		{"user without a token", `chain.user == "ann"`, tool("x"), fails},
		{"actors without a token", `size(chain.actors) == 0`, tool("x"), fails},
		{"depth without a token", `chain.depth == 0`, tool("x"), fails},
		{"verified without a token", `!chain.verified`, tool("x"), fails},
		{"user without a subject", `chain.user != "bob"`, nobody, fails},
		{"has a user without a subject", `has(chain.user)`, nobody, holdsNot},
		{"more actors than there may be", `size(chain.actors) > 0`, endless, fails},
		{"an actor with a long name", `chain.actors[0] != ""`, wide, fails},
		{"handshake", `chain.depth == 1`, with(initialize(), func(c *call.Call) { c.Chain = hops("ann", butler) }), holds},
		{"plain HTTP", `chain.user == "ann"`, with(web("GET", "/"), func(c *call.Call) { c.Chain = hops("ann") }), holds},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := judge(t, tt.expression, tt.call); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
	v := inspect(t, stage(t, `{action: DENY, rules: [{when: [{cel: 'chain.user == "ann"'}]}]}`), raw())
	wantCode(t, v, call.EntitlementDenied) // as for all that a raw connection does not show
}

// What operators of agent gateways write runs as it is.
func TestOperatorsRules(t *testing.T) {
	const (
		github = `jwt.scope.contains("github-readonly") && mcp.tool.name in ["get_file_contents","search_repositories","search_code",
"search_issues","search_users","list_commits","get_issue","list_issues","get_pull_request","list_pull_requests",
"list_branches","list_pull_request_files"]`
		alice = `jwt.sub == "alice" && mcp.tool.name == "get_me"`
		bank  = `jwt.groups.exists(g, g == "investment-advisors") && jwt.scope.contains("bank-agents") && mcp.tool.name in
["get_user_financial_profile","analyze_portfolio","project_retirement"]`
		chain = `jwt.iss == "https://agw-sts.example.com" && jwt.act.sub == "agent-coach" && jwt.act.act.sub == "agent-butler"`

		times  = `"exp":4102444800,"iat":1767225600,"nbf":1767225600,"jti":"6f0c"`
		nested = `{"iss":"https://agw-sts.example.com","sub":"alice","aud":["bank-mcp"],` + times +
			`,"scope":"bank-agents","act":{"sub":"agent-coach","iss":"https://agw-sts.example.com","act":{"sub":"agent-butler"}}}`
	)
	for _, tt := range []struct {
		name, expression, tool, claims string
		want                           said
	}{
		{"github", github, "list_commits", `{"iss":"https://idp.example","sub":"dev",` + times + `,"scope":"openid github-readonly"}`, holds},
		{"github, the last one", github, "list_pull_request_files", `{"scope":"github-readonly"}`, holds},
		{"github, a list", github, "get_issue", `{"scope":["openid","github-readonly"]}`, holds},
		{"github, another tool", github, "delete_repository", `{"scope":"github-readonly"}`, holdsNot},
		{"github, a wider scope", github, "get_issue", `{"scope":"github-readonly-all xgithub-readonly"}`, holdsNot},
		{"github, no scope", github, "get_issue", `{"sub":"dev"}`, fails},
		{"github, no scope and another tool", github, "delete_repository", `{"sub":"dev"}`, holdsNot},
		{"alice", alice, "get_me", `{"sub":"alice",` + times + `}`, holds},
		{"alice, another tool", alice, "get_you", `{"sub":"alice"}`, holdsNot},
		{"bob", alice, "get_me", `{"sub":"bob"}`, holdsNot},
		{"a number for a subject", alice, "get_me", `{"sub":7}`, holdsNot},
		{"no subject", alice, "get_me", `{}`, fails},
		{"bank", bank, "analyze_portfolio", `{"groups":["staff","investment-advisors"],"scope":"openid bank-agents"}`, holds},
		{"bank, another group", bank, "analyze_portfolio", `{"groups":["staff"],"scope":"bank-agents"}`, holdsNot},
		{"bank, no groups", bank, "analyze_portfolio", `{"groups":[],"scope":"bank-agents"}`, holdsNot},
		{"bank, another scope", bank, "analyze_portfolio", `{"groups":["investment-advisors"],"scope":"bank-agents-admin"}`, holdsNot},
		{"bank, another tool", bank, "transfer", `{"groups":["investment-advisors"],"scope":"bank-agents"}`, holdsNot},
		{"bank, groups missing", bank, "analyze_portfolio", `{"scope":"bank-agents"}`, fails},
		{"bank, scope missing", bank, "analyze_portfolio", `{"groups":["investment-advisors"]}`, fails},
		{"bank, groups as a text", bank, "analyze_portfolio", `{"groups":"investment-advisors","scope":"bank-agents"}`, fails},
		{"bank, groups as an object", bank, "analyze_portfolio", `{"groups":{"a":"investment-advisors"},"scope":"bank-agents"}`, holdsNot},
		{"bank, groups of other things", bank, "analyze_portfolio", `{"groups":[7,null,"investment-advisors"],"scope":"bank-agents"}`, holds},
		{"chain", chain, "x", nested, holds},
		{"chain, the wrong way round", chain, "x", `{"iss":"https://agw-sts.example.com","act":{"sub":"agent-butler","act":{"sub":"agent-coach"}}}`, holdsNot},
		{"chain, without the butler", chain, "x", `{"iss":"https://agw-sts.example.com","act":{"sub":"agent-coach"}}`, fails},
		{"chain, nobody acts", chain, "x", `{"iss":"https://agw-sts.example.com","sub":"alice"}`, fails},
		{"chain, another issuer", chain, "x", `{"iss":"https://agw-sts.example.com.evil.example","act":{"sub":"agent-coach","act":{"sub":"agent-butler"}}}`, holdsNot},
		{"chain, act as a text", chain, "x", `{"iss":"https://agw-sts.example.com","act":"agent-coach"}`, fails},
		{"chain, act in another case", chain, "x", `{"iss":"https://agw-sts.example.com","Act":{"sub":"agent-coach","act":{"sub":"agent-butler"}}}`, fails},
		{"chain, act twice in two cases", chain, "x", `{"iss":"https://agw-sts.example.com","act":{"sub":"agent-coach","act":{"sub":"agent-butler"},"ACT":{}}}`, fails},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := judge(t, tt.expression, claiming(tt.tool, tt.claims)); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
	for _, expression := range []string{github, alice, bank, chain} {
		if got := judge(t, expression, tool("get_me")); got != fails && got != holdsNot {
			t.Errorf("%s without a token: got %v, want an error or false", expression, got)
		}
	}
	s := stage(t, "rules:\n- when: [{cel: '"+github+"'}]\n- when: [{cel: '"+alice+"'}]\n")
	c := with(listTools(), func(c *call.Call) { c.Claims = claiming("x", `{"sub":"alice","scope":"github-readonly"}`).Claims })
	wantShown(t, s, c, "[get_me get_issue]")
	c = with(listTools(), func(c *call.Call) { c.Claims = claiming("x", `{"sub":"alice","scope":"github"}`).Claims })
	wantShown(t, s, c, "[get_me]")
}

func wantShown(t *testing.T, s *authz.Stage, c *call.Call, want string) {
	t.Helper()
	if got := fmt.Sprint(shown(t, s, c, list(call.Tool, "get_me", "get_issue", "delete_repository"))); got != want {
		t.Errorf("shown: got %s, want %s", got, want)
	}
}

func TestClaimProblems(t *testing.T) {
	for expression, want := range map[string]string{
		`jwt.scope.contains("")`:                  `1:20: a scope is one word, got ""; string(jwt.scope).contains() looks for a piece of the text`,
		`true && jwt.scope.contains("a b")`:       `1:28: a scope is one word, got "a b"; string(jwt.scope).contains() looks for a piece of the text`,
		`"a b" in jwt.scope`:                      `1:1: a scope is one word, got "a b"; string(jwt.scope).contains() looks for a piece of the text`,
		`jwt.scope.contains(5)`:                   `1:19: found no matching overload for 'jwt.scope.contains' applied to '(waymark.call, dyn, int)'`,
		`jwt.scope.contains()`:                    `1:19: found no matching overload for 'jwt.scope.contains' applied to '()'`,
		`jwt.scope.permits("a")`:                  `1:18: undeclared reference to 'permits'`,
		`authorized()`:                            `1:11: found no matching overload for 'authorized' applied to '()'`,
		`authorized(1)`:                           `1:11: found no matching overload for 'authorized' applied to '(waymark.call, int)'`,
		`authorized("a", "b")`:                    `1:11: found no matching overload for 'authorized' applied to '(string, string)'`,
		`chain.nothing == 1`:                      `1:1: undeclared reference to 'chain'; chain has user, actors, depth, verified`,
		`chain.actors.exists(chain, chain == "")`: `1:20: the loop variable "chain" hides the root of that name`,
		`["a"].exists(jwt, jwt == "")`:            `1:13: the loop variable "jwt" hides the root of that name`,
		`chain.user == 5`:                         `1:12: found no matching overload for '_==_' applied to '(string, int)'`,
	} {
		t.Run(expression, func(t *testing.T) {
			p := &v1alpha1.AgentAuthorizationPolicy{}
			p.Spec.Rules = []v1alpha1.Rule{{When: []v1alpha1.Condition{{CEL: expression}}}}
			_, problems := authz.Compile(p)
			if len(problems) == 0 {
				t.Fatal("got no problem")
			}
			if got := problems[0].Text; got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}
