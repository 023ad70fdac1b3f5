package authz_test

import (
	"fmt"
	"testing"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/identity"
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
