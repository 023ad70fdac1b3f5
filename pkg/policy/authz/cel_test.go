package authz_test

import (
	"context"
	"strings"
	"testing"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/policy"
)

func TestCEL(t *testing.T) {
	pay := toolWith("pay", `{"amount":250,"rate":0.5,"big":18446744073709551615,"huge":18446744073709551616,"to":{"iban":"DE1"},"items":[{"n":1},{"n":2}],"ok":true,"none":null,"name":"A","Twin":1,"twin":2,"Alone":1}`)
	claims := with(tool("x"), func(c *call.Call) { c.Claims = &identity.Claims{Raw: []byte(`{"sub":"ann","roles":["a"]}`)} })
	long := strings.Repeat("x", 16<<10+1)
	for _, tt := range []struct {
		expression  string
		call        *call.Call
		allow, deny bool // whether an ALLOW and a DENY rule match
	}{
		{`request.method == "POST" && request.path == "/mcp" && request.host == "company-mcp:3000"`, tool("x"), true, true},
		{`request.headers["x-team"] == "blue" && request.headers["X-Team"] == "blue"`, tool("x"), true, true},
		{`has(request.headers.none)`, tool("x"), false, false},
		{`"x-team" in request.headers`, tool("x"), true, true},
		{`request.headers["x-none"] == "a"`, tool("x"), false, true},
		{`request.headers["x-two"] == "a"`, tool("x"), false, true},
		{`request.headers.exists(h, h == "x-team")`, tool("x"), true, true},
		{`size(request.headers) == 2`, tool("x"), true, true},
		{`source.spiffeId == "spiffe://cluster.local/ns/bank/sa/teller"`, tool("x"), true, true},
		{`source.identity.trustDomain == "cluster.local" && source.identity.namespace == "bank" && source.identity.serviceAccount == "teller"`, raw(), true, true},
		{`source.namespace == "bank" && source.serviceAccount == "teller" && source.address == "10.1.2.3"`, raw(), true, true},
		{`source.namespace != "audit"`, by(edge, tool("x")), false, true},
		{`has(source.identity) || has(source.namespace)`, by(edge, tool("x")), false, false},
		{`has(source.spiffeId) && !has(source.identity.trustDomain)`, by(edge, tool("x")), true, true},
		{`destination.service == "company-mcp" && destination.namespace == "bank" && destination.port == 3000 && destination.hostname.endsWith(".local")`, raw(), true, true},
		{`jwt.sub == "ann"`, tool("x"), false, true},
		{`has(jwt.sub) && jwt.sub == "ann"`, tool("x"), false, false},
		{`jwt.sub == "ann" && "a" in jwt.roles`, claims, true, true},
		{`mcp.methodName == "tools/call" && mcp.tool.name == "x" && mcp.tool.target == "company-mcp"`, tool("x"), true, true},
		{`mcp.sessionId == "" && !has(mcp.sessionId)`, tool("x"), true, true},
		{`mcp.tool.name in ["x", "y"]`, tool("y"), true, true},
		{`!(mcp.tool.name in ["x", "y"])`, tool("z"), true, true},
		{`mcp.tool.name.matches("^get_[a-z]+$")`, tool("get_x"), true, true},
		{`mcp.prompt.name == "p" && mcp.prompt.target == "company-mcp"`, prompt("p"), true, true},
		{`mcp.resource.uri == "file:///x" && mcp.resource.name == mcp.resource.uri`, resource("file:///x"), true, true},
		{`mcp.task.name == "7"`, mcp("tasks/get", call.Task, "7", ""), true, true},
		{`has(mcp.tool) && !has(mcp.prompt) && has(mcp.tool.name) && has(mcp.tool.arguments)`, tool("x"), true, true},
		{`has(mcp.tool)`, web("GET", "/"), false, false},
		{`!has(mcp.tool)`, resource("file:///x"), true, true},

		// arguments
		{`mcp.tool.arguments.amount <= 500 && mcp.tool.arguments["amount"] == 250`, pay, true, true},
		{`mcp.tool.arguments.amount > 249.5 && mcp.tool.arguments.rate == 0.5`, pay, true, true},
		{`mcp.tool.arguments.big > 5`, pay, true, true},
		{`mcp.tool.arguments.huge > 5`, pay, false, true},
		{`mcp.tool.arguments.to.iban.startsWith("DE")`, pay, true, true},
		{`mcp.tool.arguments.items.all(i, i.n > 0) && mcp.tool.arguments.items[1].n == 2 && size(mcp.tool.arguments.items) == 2`, pay, true, true},
		{`mcp.tool.arguments.ok == true && mcp.tool.arguments.none == null`, pay, true, true},
		{`mcp.tool.arguments.to == {"iban": "DE1"}`, pay, true, true},
		{`mcp.tool.arguments.to.exists(k, k == "iban")`, pay, true, true},
		{`"amount" in mcp.tool.arguments && !("nope" in mcp.tool.arguments)`, pay, true, true},
		{`mcp.tool.arguments.nope == 1`, pay, false, true},
		{`mcp.tool.arguments.name < 5`, pay, false, true},
		{`mcp.tool.arguments.twin == 2`, pay, false, true},
		{`mcp.tool.arguments.alone == 1`, pay, false, true},
		{`has(mcp.tool.arguments.alone)`, pay, false, true},
		{`"Twin" in mcp.tool.arguments`, pay, false, true},
		{`has(mcp.tool.arguments.x)`, toolWith("x", ""), false, false},
		{`has(mcp.tool.arguments)`, toolWith("x", ""), false, false},
		{`mcp.tool.arguments.a == 1`, toolWith("x", `{"a":1,"a":1}`), false, true},
		{`size(mcp.tool.arguments) == 0`, toolWith("x", `[]`), false, true},

		// what the call does not name is no match, whichever way it is asked
		{`mcp.tool.name == "x"`, resource("file:///x"), false, false},
		{`mcp.tool.name != "x"`, resource("file:///x"), false, false},
		{`!(mcp.tool.name in ["x"])`, web("GET", "/"), false, false},
		{`mcp.tool.name == "x" || mcp.resource.uri == "file:///x"`, resource("file:///x"), true, true},
		{`mcp.methodName != "tools/call"`, web("GET", "/"), false, false},

		// a raw connection shows nothing above TCP
		{`mcp.tool.name == "x"`, raw(), false, true},
		{`has(mcp.tool)`, raw(), false, true},
		{`!has(mcp.tool)`, raw(), false, true},
		{`request.path == "/x"`, raw(), false, true},
		{`has(jwt.sub)`, raw(), false, true},
		{`source.namespace == "audit" && mcp.tool.name == "x"`, raw(), false, false},

		// lifecycle calls: tools are open, which counts for the caller in ALLOW and not against it in DENY
		{`mcp.tool.name == "x"`, initialize(), true, false},
		{`mcp.tool.name != "x"`, listTools(), true, false},
		{`has(mcp.tool)`, initialize(), true, false},
		{`mcp.methodName == "tools/call" && mcp.tool.name == "x"`, initialize(), true, false},
		{`mcp.methodName == "tools/list"`, listTools(), true, true},
		{`mcp.methodName == "tools/list" || mcp.tool.name == "x"`, listTools(), true, true},
		{`source.namespace == "audit" && mcp.tool.name == "x"`, initialize(), false, false},
		{`source.namespace == "audit" || mcp.tool.arguments.x > 1`, initialize(), true, false},
		{`mcp.tool.arguments.items.all(i, i.n > 0)`, initialize(), true, false},
		{`mcp.tool.name.matches("^a") ? true : false`, initialize(), true, false},
		{`request.headers[mcp.tool.name] == "a"`, initialize(), true, false},
		{`[mcp.tool.name, "b"].exists(n, n == "a")`, initialize(), true, false},

		// limits
		{`mcp.tool.name == "x"`, tool(long), false, true},
		{`mcp.tool.arguments.s == "x"`, toolWith("x", `{"s":"`+long+`"}`), false, false},
		{`mcp.tool.arguments.l.all(a, mcp.tool.arguments.l.all(b, a == b))`, toolWith("x", `{"l":[1`+strings.Repeat(",1", 999)+`]}`), false, true},
	} {
		t.Run(tt.expression, func(t *testing.T) {
			quoted := "'" + strings.ReplaceAll(tt.expression, "'", "''") + "'"
			v := inspect(t, stage(t, `rules: [{when: [{cel: `+quoted+`}]}]`), tt.call)
			if got := v.Action == policy.Pass; got != tt.allow {
				t.Errorf("ALLOW matches: got %v (%s %v), want %v", got, v.Reason, v.Notes, tt.allow)
			}
			v = inspect(t, stage(t, `{action: DENY, rules: [{when: [{cel: `+quoted+`}]}]}`), tt.call)
			if got := v.Action == policy.Deny; got != tt.deny {
				t.Errorf("DENY matches: got %v (%s), want %v", got, v.Reason, tt.deny)
			}
			if !tt.allow && tt.deny && tt.call.Protocol != call.TCP && v.Code != call.PolicyError {
				t.Errorf("an error in a DENY rule: got code %q, want %q", v.Code, call.PolicyError)
			}
		})
	}
}

func TestCELErrorInAllowIsNoted(t *testing.T) {
	v := inspect(t, stage(t, `rules: [{when: [{cel: 'jwt.sub == "ann"'}]}]`), tool("x"))
	wantCode(t, v, call.EntitlementDenied)
	want := policy.Note{Kind: "error", Policy: "bank/p0", Rule: "rules[0]",
		Text: "an ALLOW rule could not be evaluated, which counts as no match: cel: no such key: sub"}
	if len(v.Notes) != 1 || v.Notes[0] != want {
		t.Errorf("notes: got %+v, want %+v", v.Notes, want)
	}
}

func TestCELStopsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	s := stage(t, `rules: [{when: [{cel: 'mcp.tool.arguments.l.all(a, a == 1)'}]}]`)
	v, err := s.Inspect(ctx, toolWith("x", `{"l":[1`+strings.Repeat(",1", 999)+`]}`))
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, v, call.EntitlementDenied)
	if len(v.Notes) != 1 || !strings.HasSuffix(v.Notes[0].Text, "cel: operation interrupted") {
		t.Errorf("notes: got %+v, want one about the interruption", v.Notes)
	}
}

// The reason goes into the audit record, which must not hold the payload.
func TestCELErrorsDoNotRepeatThePayload(t *testing.T) {
	for expression, want := range map[string]string{
		`jwt.sub == "x"`:                                                         "no such key: sub",
		`jwt[mcp.tool.arguments.key] == "x"`:                                     "no such key",
		`int(mcp.tool.arguments.key) == 1`:                                       "the evaluation failed",
		`mcp.tool.arguments.key < 1`:                                             "no such overload",
		`mcp.tool.arguments.list[7] == 1`:                                        "index out of bounds: 7",
		`1 / mcp.tool.arguments.zero == 1`:                                       "division by zero",
		`mcp.tool.arguments.twin == 1`:                                           "a member is there in another case, so that two servers could read it differently",
		`request.headers["x-two"] == "a"`:                                        "a header has several lines, so that two servers could read it differently",
		`mcp.tool.arguments.huge == 1`:                                           "a whole number has more than 64 bits",
		`timestamp(mcp.tool.arguments.key) == timestamp("2026-01-01T00:00:00Z")`: "the evaluation failed",
	} {
		t.Run(expression, func(t *testing.T) {
			s := stage(t, "{action: DENY, rules: [{when: [{cel: '"+expression+"'}]}]}")
			v := inspect(t, s, toolWith("x", `{"key":"s3cret","list":[],"zero":0,"Twin":1,"huge":123456789012345678901}`))
			wantCode(t, v, call.PolicyError)
			if want := "a DENY rule could not be evaluated, which counts as a match: cel: " + want; v.Reason != want {
				t.Errorf("got  %s\nwant %s", v.Reason, want)
			}
		})
	}
}

// Objects of few and of many members are searched in different ways, with the same answers.
func TestMembersInAnotherCase(t *testing.T) {
	for name, filler := range map[string]string{"few": "", "many": strings.Repeat(`"f%":0,`, 40)} {
		n := 0
		for strings.Contains(filler, "%") {
			filler = strings.Replace(filler, "%", strings.Repeat("x", n), 1)
			n++
		}
		for _, tt := range []struct {
			members, expression string
			want                said
		}{
			{`"amount":5`, `mcp.tool.arguments.amount == 5`, holds},
			{`"amount":5`, `mcp.tool.arguments.Amount == 5`, fails},
			{`"am\u006funt":5`, `mcp.tool.arguments.amount == 5`, holds},
			{`"AM\u006fUNT":5,"amount":5`, `mcp.tool.arguments.amount == 5`, fails},
			{`"\u017fize":5`, `mcp.tool.arguments.size == 5`, fails},               // long s folds to s
			{`"ſize":5,"size":5`, `mcp.tool.arguments.size == 5`, fails},           // and as it stands
			{`"\u212aey":5,"key":5`, `mcp.tool.arguments.key == 5`, fails},         // Kelvin folds to k
			{`"a":5,"@":6,"` + "`" + `":7`, `mcp.tool.arguments["@"] == 6`, holds}, // they differ in the bit of case, and are no letters
			{`"":5`, `mcp.tool.arguments[""] == 5`, holds},
			{`"a":5`, `mcp.tool.arguments.b == 5`, fails},
			{`"a":5`, `has(mcp.tool.arguments.b)`, holdsNot},
			{`"a":{"b":1,"B":2}`, `mcp.tool.arguments.a.b == 1`, fails},
			{`"a\"b":5`, `mcp.tool.arguments["a\"b"] == 5`, holds},
		} {
			t.Run(name+" "+tt.members, func(t *testing.T) {
				if got := judge(t, tt.expression, toolWith("x", "{"+filler+tt.members+"}")); got != tt.want {
					t.Errorf("%s: got %v, want %v", tt.expression, got, tt.want)
				}
			})
		}
	}
}
