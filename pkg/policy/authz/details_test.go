package authz_test

import (
	"fmt"
	"strings"
	"testing"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/policy"
	"waymark.dev/waypoint/pkg/policy/authz"
)

func TestAuthorizationDetails(t *testing.T) {
	const (
		payments = `{"authorization_details":[{"type":"payment","tools":["pay"],"arguments":{"/amount":{"maximum":500}}},{"type":"report","tools":["read"]}]}`
		short    = `authorized("payment")`
		long     = `jwt.authorization_details.permits("payment")`
	)
	claims := func(c *call.Call, claims string) *call.Call {
		c.Claims = &identity.Claims{Raw: []byte(claims)}
		return c
	}
	pay := func(arguments string) *call.Call { return toolWith("pay", arguments) }
	for _, tt := range []struct {
		name        string
		call        *call.Call
		short, long said
	}{
		{"covered", claims(pay(`{"amount":500}`), payments), holds, holds},
		{"too much", claims(pay(`{"amount":501}`), payments), holdsNot, holdsNot},
		{"no amount", claims(pay(`{}`), payments), holdsNot, holdsNot},
		{"no arguments", claims(pay(``), payments), holdsNot, holdsNot},
		{"another tool", claims(toolWith("refund", `{"amount":1}`), payments), holdsNot, holdsNot},
		{"a tool of another type", claims(toolWith("read", `{"amount":1}`), payments), holdsNot, holdsNot},
		{"no details", claims(pay(`{"amount":1}`), `{}`), holdsNot, fails},
		{"empty details", claims(pay(`{"amount":1}`), `{"authorization_details":[]}`), holdsNot, holdsNot},
		{"details of another shape", claims(pay(`{"amount":1}`), `{"authorization_details":"payment"}`), fails, fails},
		{"details in another case", claims(pay(`{"amount":1}`), `{"Authorization_Details":[{"type":"payment"}]}`), holdsNot, fails},
		{"no token", pay(`{"amount":1}`), holdsNot, fails},
		{"a resource", claims(resource("file:///x"), payments), holdsNot, holdsNot},
		{"plain HTTP", claims(web("POST", "/pay"), payments), holdsNot, holdsNot},
		{"handshake", claims(initialize(), payments), isOpen, isOpen},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := judge(t, short, tt.call); got != tt.short {
				t.Errorf("%s: got %v, want %v", short, got, tt.short)
			}
			if got := judge(t, long, tt.call); got != tt.long {
				t.Errorf("%s: got %v, want %v", long, got, tt.long)
			}
		})
	}
	// What no detail covers is no match in its negation either where there is no tool, and one where there is.
	if got := judge(t, `!authorized("payment")`, claims(toolWith("refund", `{}`), payments)); got != holds {
		t.Errorf("not authorized: got %v, want %v", got, holds)
	}
	if got := judge(t, `["report", "payment"].exists(d, authorized(d))`, claims(toolWith("read", `{}`), payments)); got != holds {
		t.Errorf("one of two types: got %v, want %v", got, holds)
	}
	if got := judge(t, `["payment", "payment"].all(d, authorized(d)) && ["report", "report", "none"].all(d, !authorized(d))`, claims(pay(`{"amount":1}`), payments)); got != holds {
		t.Errorf("asked again: got %v, want %v", got, holds)
	}
	if got := judge(t, `jwt["authorization_details"].permits("payment")`, claims(pay(`{"amount":1}`), payments)); got != holds {
		t.Errorf("with brackets: got %v, want %v", got, holds)
	}
}

// A list shows what some arguments would make a permitted call, and nothing else.
func TestListsUnderAuthorizationDetails(t *testing.T) {
	c := listTools()
	c.Claims = &identity.Claims{Raw: []byte(`{"authorization_details":[{"type":"payment","tools":["pay"],"arguments":{"/amount":{"maximum":500}}},{"type":"report","tools":["read"]}]}`)}
	for _, tt := range []struct{ spec, want string }{
		{`rules: [{when: [{cel: 'authorized("payment")'}]}]`, "[pay]"},
		{`rules: [{when: [{cel: 'authorized("payment") || authorized("report")'}]}]`, "[pay read]"},
		{`rules: [{when: [{cel: 'jwt.authorization_details.permits("report")'}]}]`, "[read]"},
		{`rules: [{when: [{cel: 'authorized("other")'}]}]`, "[]"},
		{`{action: DENY, rules: [{when: [{cel: '!authorized("payment")'}]}]}`, "[pay]"},
		{`{action: DENY, rules: [{when: [{cel: 'authorized("payment")'}]}]}`, "[pay read drop]"},
	} {
		if got := fmt.Sprint(shown(t, stage(t, tt.spec), c, list(call.Tool, "pay", "read", "drop"))); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.spec, got, tt.want)
		}
	}
}

// The same question as a key of when.
func TestWhenAuthorizationDetails(t *testing.T) {
	token := `{"authorization_details":[{"type":"payment","tools":["pay"],"arguments":{"/amount":{"maximum":500}}},{"type":"report","tools":["read"]}]}`
	claims := func(c *call.Call, claims string) *call.Call {
		c.Claims = &identity.Claims{Raw: []byte(claims)}
		return c
	}
	values := func(list string) string { return `{key: request.auth.authorizationDetails, values: [` + list + `]}` }
	not := func(list string) string { return `{key: request.auth.authorizationDetails, notValues: [` + list + `]}` }
	for _, tt := range []struct {
		name, when  string
		call        *call.Call
		allow, deny bool // whether an ALLOW and a DENY rule match
	}{
		{"covered", values("payment"), claims(toolWith("pay", `{"amount":500}`), token), true, true},
		{"covered by one of two", values("report, payment"), claims(toolWith("pay", `{"amount":500}`), token), true, true},
		{"too much", values("payment"), claims(toolWith("pay", `{"amount":501}`), token), false, false},
		{"too much, negated", not("payment"), claims(toolWith("pay", `{"amount":501}`), token), true, true},
		{"covered, negated", not("payment"), claims(toolWith("pay", `{"amount":500}`), token), false, false},
		{"both", `{key: request.auth.authorizationDetails, values: [payment], notValues: [report]}`, claims(toolWith("pay", `{"amount":500}`), token), true, true},
		{"both, and the second one covers too", `{key: request.auth.authorizationDetails, values: [payment], notValues: [payment]}`, claims(toolWith("pay", `{"amount":500}`), token), false, false},
		{"another type", values("report"), claims(toolWith("pay", `{"amount":1}`), token), false, false},
		{"no token", values("payment"), toolWith("pay", `{"amount":1}`), false, false},
		{"no token, negated", not("payment"), toolWith("pay", `{"amount":1}`), true, true},
		{"unreadable", values("payment"), claims(toolWith("pay", `{"amount":1}`), `{"authorization_details":7}`), false, true},
		{"unreadable, negated", not("payment"), claims(toolWith("pay", `{"amount":1}`), `{"authorization_details":7}`), false, true},
		{"a resource", values("payment"), claims(resource("file:///x"), token), false, false},
		{"a resource, negated", not("payment"), claims(resource("file:///x"), token), false, false},
		{"plain HTTP", values("payment"), claims(web("POST", "/pay"), token), false, false},
		{"handshake", values("payment"), claims(initialize(), token), true, false},
		{"raw", values("payment"), raw(), false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := inspect(t, stage(t, `{rules: [{when: [`+tt.when+`]}]}`), tt.call).Action == policy.Pass; got != tt.allow {
				t.Errorf("ALLOW matches: got %v, want %v", got, tt.allow)
			}
			if got := inspect(t, stage(t, `{action: DENY, rules: [{when: [`+tt.when+`]}]}`), tt.call).Action == policy.Deny; got != tt.deny {
				t.Errorf("DENY matches: got %v, want %v", got, tt.deny)
			}
		})
	}
	l := lifecycle("tools/list", call.List)
	l.Claims = &identity.Claims{Raw: []byte(token)}
	for when, want := range map[string]string{values("payment"): "pay", values("report, payment"): "pay read", not("payment"): "pay read other"} {
		if got := strings.Join(shown(t, stage(t, `{rules: [{when: [`+when+`]}]}`), l, list(call.Tool, "pay", "read", "other")), " "); got != want {
			t.Errorf("%s shows %q, want %q", when, got, want)
		}
	}
	_, problems := authz.Compile(spec(t, `{rules: [{when: [{key: request.auth.authorizationDetails, values: ["pay*"]}]}]}`))
	if got := fmt.Sprint(problems); got != `[spec.rules[0].when[0].values[0]: must be the exact type of an authorization detail, got "pay*"]` {
		t.Error(got)
	}
}
