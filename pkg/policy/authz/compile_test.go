package authz_test

import (
	"slices"
	"strings"
	"testing"

	"waymark.dev/waypoint/pkg/policy/authz"
)

func TestCompileProblems(t *testing.T) {
	in := func(part string) string { return "rules: [{" + part + "}]" }
	source := func(s string) string { return in("from: [{source: {" + s + "}}]") }
	operation := func(s string) string { return in("to: [{operation: {" + s + "}}]") }
	argument := func(s string) string { return operation("arguments: [{" + s + "}]") }
	when := func(s string) string { return in("when: [{" + s + "}]") }
	cel := func(s string) string { return when("cel: '" + strings.ReplaceAll(s, "'", "''") + "'") }
	const keys = "; the keys are request.headers[name], request.auth.principal, request.auth.audiences, request.auth.presenter, request.auth.claims[name], request.auth.authorizationDetails, source.ip, source.namespace, source.serviceAccount, source.principal, source.trustDomain, " +
		"destination.port, mcp.methodName, mcp.tool.name, mcp.resource.uri, mcp.prompt.name"
	for _, tt := range []struct {
		name, spec string
		want       []string
	}{
		{"action", `action: deny`, []string{`spec.action: must be ALLOW, DENY, AUDIT, REQUIRE_APPROVAL or CUSTOM, got "deny"`}},
		{"empty targetRefs", `targetRefs: []`, []string{"spec.targetRefs: must not be empty; leave the field out to attach to the whole namespace"}},
		{"target kind", `targetRefs: [{kind: Pod, name: x}]`, []string{`spec.targetRefs[0].kind: must be Service, ServiceEntry or Gateway, got "Pod"`}},
		{"target group", `targetRefs: [{kind: Gateway, name: x}]`, []string{`spec.targetRefs[0].group: must be "gateway.networking.k8s.io" for a Gateway, got ""`}},
		{"target name", `targetRefs: [{kind: Service, name: ""}]`, []string{"spec.targetRefs[0].name: must not be empty"}},
		{"too many targets", `targetRefs: [` + strings.Repeat("{kind: Service, name: x},", 17) + `]`, []string{"spec.targetRefs: has 17 entries, over the limit of 16"}},
		{"too many rules", `rules: [` + strings.Repeat("{},", 513) + `]`, []string{"spec.rules: has 513 entries, over the limit of 512"}},
		{"empty from", in(`from: []`), []string{"spec.rules[0].from: must not be empty; leave the field out to match anything"}},
		{"empty to", in(`to: []`), []string{"spec.rules[0].to: must not be empty; leave the field out to match anything"}},
		{"empty when", in(`when: []`), []string{"spec.rules[0].when: must not be empty; leave the field out to match anything"}},
		{"too many conditions", in(`to: [` + strings.Repeat("{operation: {tools: [x]}},", 513) + `]`), []string{"spec.rules[0].to: has 513 entries, over the limit of 512"}},

		{"too many when", in(`when: [` + strings.Repeat(`{cel: "true"},`, 65) + `]`), []string{"spec.rules[0].when: has 65 entries, over the limit of 64"}},
		{"too many values", operation(`tools: [` + strings.Repeat("x,", 513) + `]`), []string{"spec.rules[0].to[0].operation.tools: has 513 entries, over the limit of 512"}},
		{"too many accounts", source(`serviceAccounts: [` + strings.Repeat("x,", 17) + `]`), []string{"spec.rules[0].from[0].source.serviceAccounts: has 17 entries, over the limit of 16"}},
		{"long value", operation(`paths: ["` + strings.Repeat("x", 4097) + `"]`), []string{"spec.rules[0].to[0].operation.paths[0]: is longer than 4096 bytes"}},

		{"empty source", source(``), []string{"spec.rules[0].from[0].source: must have at least one field; leave from out to match every caller"}},
		{"empty list", source(`principals: []`), []string{"spec.rules[0].from[0].source.principals: must not be empty; leave the field out to match anything"}},
		{"empty value", source(`namespaces: [""]`), []string{`spec.rules[0].from[0].source.namespaces[0]: must not be empty, got ""`}},
		{"inner star", source(`notNamespaces: [a, "b*c"]`), []string{`spec.rules[0].from[0].source.notNamespaces[1]: "*" may stand only once, at the beginning or at the end, got "b*c"`}},
		{"two stars", source(`principals: ["*a*"]`), []string{`spec.rules[0].from[0].source.principals[0]: "*" may stand only once, at the beginning or at the end, got "*a*"`}},
		{"account with a star", source(`serviceAccounts: ["bank/*"]`), []string{`spec.rules[0].from[0].source.serviceAccounts[0]: service accounts are exact names without *, got "bank/*"`}},
		{"account", source(`notServiceAccounts: ["a/b/c"]`), []string{`spec.rules[0].from[0].source.notServiceAccounts[0]: must be namespace/name or name, got "a/b/c"`}},
		{"account and namespace", source(`serviceAccounts: [a], namespaces: [b]`), []string{"spec.rules[0].from[0].source: serviceAccounts cannot be combined with principals or namespaces"}},
		{"block", source(`ipBlocks: [10.0.0.0/33]`), []string{`spec.rules[0].from[0].source.ipBlocks[0]: must be an IP address or a CIDR block, got "10.0.0.0/33"`}},
		{"IPv4 in IPv6", source(`notIpBlocks: ["::ffff:10.0.0.0/104"]`), []string{`spec.rules[0].from[0].source.notIpBlocks[0]: an IPv4 block must be written as IPv4, got "::ffff:10.0.0.0/104"`}},

		{"empty operation", operation(``), []string{"spec.rules[0].to[0].operation: must have at least one field; leave to out to match every call"}},
		{"protocol", operation(`protocols: [MCP]`), []string{`spec.rules[0].to[0].operation.protocols[0]: must be mcp, a2a, http or tcp, got "MCP"`}},
		{"no protocols", operation(`protocols: []`), []string{"spec.rules[0].to[0].operation.protocols: must not be empty; leave the field out to match anything"}},
		{"port", operation(`ports: ["0", "65536", "080", "+80", "http", "80"]`), []string{
			`spec.rules[0].to[0].operation.ports[0]: must be a port from 1 to 65535, got "0"`,
			`spec.rules[0].to[0].operation.ports[1]: must be a port from 1 to 65535, got "65536"`,
			`spec.rules[0].to[0].operation.ports[2]: must be a port from 1 to 65535, got "080"`,
			`spec.rules[0].to[0].operation.ports[3]: must be a port from 1 to 65535, got "+80"`,
			`spec.rules[0].to[0].operation.ports[4]: must be a port from 1 to 65535, got "http"`,
		}},
		{"two kinds", operation(`tools: [a], notPrompts: [b]`), []string{"spec.rules[0].to[0].operation: names a tool and a prompt: a call names only one, so this never matches; write two entries"}},
		{"no tools", operation(`tools: []`), []string{"spec.rules[0].to[0].operation.tools: must not be empty; leave the field out to match anything"}},
		{"host", operation(`hosts: ["a*b"]`), []string{`spec.rules[0].to[0].operation.hosts[0]: "*" may stand only once, at the beginning or at the end, got "a*b"`}},

		{"no arguments", operation(`arguments: []`), []string{"spec.rules[0].to[0].operation.arguments: must not be empty; leave the field out to match anything"}},
		{"pointer", argument(`pointer: amount, max: 5`), []string{`spec.rules[0].to[0].operation.arguments[0].pointer: must be a JSON pointer that begins with "/", got "amount"`}},
		{"pointer escape", argument(`pointer: /a~2, max: 5`), []string{`spec.rules[0].to[0].operation.arguments[0].pointer: "~" must be written ~0 and "/" inside a name ~1, got "/a~2"`}},
		{"nothing asked", argument(`pointer: /a`), []string{"spec.rules[0].to[0].operation.arguments[0]: must have one of values, notValues, min, max and present"}},
		{"absent with value", argument(`pointer: /a, present: false, values: [x]`), []string{"spec.rules[0].to[0].operation.arguments[0].present: a value that is absent cannot have other conditions"}},
		{"no number", argument(`pointer: /a, max: "1e3"`), []string{`spec.rules[0].to[0].operation.arguments[0].max: must be a decimal number such as 500 or "0.25", got "1e3"`}},
		{"leading zero", argument(`pointer: /a, min: "007"`), []string{`spec.rules[0].to[0].operation.arguments[0].min: must be a decimal number such as 500 or "0.25", got "007"`}},
		{"long number", argument(`pointer: /a, min: "` + strings.Repeat("9", 65) + `"`), []string{"spec.rules[0].to[0].operation.arguments[0].min: has more than 64 digits"}},
		{"min over max", argument(`pointer: /a, min: 2, max: 1`), []string{"spec.rules[0].to[0].operation.arguments[0].max: is less than min, so this never matches"}},

		{"no condition", when(``), []string{"spec.rules[0].when[0]: must have exactly one of key and cel"}},
		{"both", when(`key: source.ip, values: [10.0.0.1], cel: "true"`), []string{"spec.rules[0].when[0]: must have exactly one of key and cel"}},
		{"cel with values", when(`values: [a], cel: "true"`), []string{"spec.rules[0].when[0]: values and notValues belong to key, not to cel"}},
		{"key without values", when(`key: source.namespace`), []string{"spec.rules[0].when[0]: key needs values or notValues"}},
		{"unknown key", when(`key: "request.auth.raw", values: [a]`), []string{`spec.rules[0].when[0].key: "request.auth.raw" is not a key` + keys}},
		{"claim without a name", when(`key: "request.auth.claims[]", values: [a]`), []string{`spec.rules[0].when[0].key: must be request.auth.claims[name], with [name] again for every level below, got "request.auth.claims[]"`}},
		{"unclosed claim", when(`key: "request.auth.claims[act][sub", values: [a]`), []string{`spec.rules[0].when[0].key: must be request.auth.claims[name], with [name] again for every level below, got "request.auth.claims[act][sub"`}},
		{"claim in dots", when(`key: "request.auth.claims[a].b", values: [a]`), []string{`spec.rules[0].when[0].key: must be request.auth.claims[name], with [name] again for every level below, got "request.auth.claims[a].b"`}},
		{"header name", when(`key: "request.headers[:path]", values: [a]`), []string{`spec.rules[0].when[0].key: must be request.headers[name] with the name of an HTTP header, got "request.headers[:path]"`}},
		{"unclosed header", when(`key: "request.headers[a", values: [a]`), []string{`spec.rules[0].when[0].key: must be request.headers[name] with the name of an HTTP header, got "request.headers[a"`}},
		{"ip", when(`key: source.ip, values: [home]`), []string{`spec.rules[0].when[0].values[0]: must be an IP address or a CIDR block, got "home"`}},
		{"value", when(`key: source.namespace, notValues: ["a*b"]`), []string{`spec.rules[0].when[0].notValues[0]: "*" may stand only once, at the beginning or at the end, got "a*b"`}},

		{"cel syntax", cel(`mcp.tool.name ==`), []string{"spec.rules[0].when[0].cel: 1:17: Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}"}},
		{"cel two errors, second line", "rules:\n- when:\n  - cel: |-\n      foo == 1 ||\n        bar(2)", []string{
			"spec.rules[0].when[0].cel: 1:1: undeclared reference to 'foo'",
			"spec.rules[0].when[0].cel: 2:6: undeclared reference to 'bar'",
		}},
		{"cel field", cel(`mcp.tool.nme == "x"`), []string{"spec.rules[0].when[0].cel: 1:9: undeclared reference to 'mcp.tool.nme' (did you mean 'mcp.tool.name'?); mcp has methodName, sessionId, " +
			"tool.name, tool.target, tool.arguments, prompt.name, prompt.target, resource.name, resource.uri, resource.target, task.name, task.target"}},
		{"cel whole root", cel(`has(source.pod)`), []string{"spec.rules[0].when[0].cel: 1:5: undeclared reference to 'source'; source has spiffeId, address, namespace, " +
			"serviceAccount, identity.trustDomain, identity.namespace, identity.serviceAccount"}},
		{"cel spelled presence", cel("`mcp.tool@present`"), []string{
			"spec.rules[0].when[0].cel: 1:1: Syntax error: token recognition error at: '`mcp.tool@'",
			"spec.rules[0].when[0].cel: 1:18: Syntax error: token recognition error at: '`'",
		}},
		{"cel type", cel(`mcp.tool.name == 5`), []string{"spec.rules[0].when[0].cel: 1:15: found no matching overload for '_==_' applied to '(string, int)'"}},
		{"cel result", cel(`mcp.tool.name`), []string{"spec.rules[0].when[0].cel: 1:1: must yield a bool, not string"}},
		{"cel dyn result", cel(`mcp.tool.arguments.ok`), []string{"spec.rules[0].when[0].cel: 1:1: must yield a bool, not dyn"}},
		{"cel pattern from the caller", cel(`"x".matches(mcp.tool.name)`), []string{"spec.rules[0].when[0].cel: 1:12: the pattern of matches() must be a literal string"}},
		{"cel bad pattern", cel(`mcp.tool.name.matches("(")`), []string{"spec.rules[0].when[0].cel: 1:23: invalid matches argument"}},
		{"cel long pattern", cel(`mcp.tool.name.matches("` + strings.Repeat("a", 1025) + `")`), []string{"spec.rules[0].when[0].cel: 1:22: the pattern of matches() is longer than 1024 bytes"}},
		{"cel hidden root", cel(`["a"].all(mcp, mcp == "a")`), []string{`spec.rules[0].when[0].cel: 1:10: the loop variable "mcp" hides the root of that name`}},
		{"cel long", cel(strings.Repeat(" ", 8<<10) + "true"), []string{"spec.rules[0].when[0].cel: is longer than 8192 bytes"}},
		{"cel dear", cel(`size(` + nested("[1,2,3,4,5,6,7,8,9,10]", "abcde") + `) > 0`),
			[]string{"spec.rules[0].when[0].cel: 1:1: costs at least 1566653, over the limit of 100000"}},

		{"all at once", "action: NO\nrules:\n- from: [{source: {}}]\n  to: [{operation: {ports: [x]}}]\n- when: [{cel: '1'}]", []string{
			`spec.action: must be ALLOW, DENY, AUDIT, REQUIRE_APPROVAL or CUSTOM, got "NO"`,
			"spec.rules[0].from[0].source: must have at least one field; leave from out to match every caller",
			`spec.rules[0].to[0].operation.ports[0]: must be a port from 1 to 65535, got "x"`,
			"spec.rules[1].when[0].cel: 1:1: must yield a bool, not int",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, problems := authz.Compile(spec(t, tt.spec))
			var got []string
			for _, problem := range problems {
				got = append(got, problem.String())
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got  %s\nwant %s", strings.Join(got, "\n     "), strings.Join(tt.want, "\n     "))
			}
			if p != nil {
				t.Error("got a policy beside the problems, want none")
			}
		})
	}
}

func TestCompileDryRunAnnotation(t *testing.T) {
	p := spec(t, `{}`)
	p.Annotations = map[string]string{"istio.io/dry-run": "maybe"}
	_, problems := authz.Compile(p)
	if want := `metadata.annotations[istio.io/dry-run]: must be "true" or "false", got "maybe"`; len(problems) != 1 || problems[0].String() != want {
		t.Errorf("got %v, want %s", problems, want)
	}
	p.Annotations["istio.io/dry-run"] = "true"
	if got := compile(t, p); !got.DryRun() || got.Name() != "bank/p" || got.Action() != "ALLOW" {
		t.Errorf("got dry run %v, name %s, action %s", got.DryRun(), got.Name(), got.Action())
	}
}

func TestUnknownFieldsAreRefused(t *testing.T) {
	for _, s := range []string{
		`{spec: {rule: []}}`, `{spec: {rules: [{from: [{source: {actor: [a]}}]}]}}`, `{spec: {rules: [{to: [{operation: {tool: [a]}}]}]}}`,
		`{spec: {rules: [{to: [{operation: {riskTiers: [a]}}]}]}}`, `{spec: {rules: [{to: [{operation: {arguments: [{pointer: /a, maximum: 1}]}}]}]}}`,
		`{spec: {rules: [{to: [{operation: {arguments: [{pointer: /a, max: 0.5}]}}]}]}}`,
	} {
		if _, err := parse(s); err == nil {
			t.Errorf("%s: got no error", s)
		}
	}
}

// nested maps a list inside itself, once per variable.
func nested(list, variables string) string {
	if variables == "" {
		return "1"
	}
	return list + ".map(" + variables[:1] + ", " + nested(list, variables[1:]) + ")"
}
