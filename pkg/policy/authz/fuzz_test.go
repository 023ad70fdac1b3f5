package authz_test

import (
	"context"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"math/big"
	"net/url"
	"path"
	"strconv"
	"strings"
	"testing"

	"waymark.dev/waypoint/pkg/api/v1alpha1"
	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/policy"
	"waymark.dev/waypoint/pkg/policy/authz"
)

func operationPolicy(action v1alpha1.Action, o v1alpha1.Operation) *v1alpha1.AgentAuthorizationPolicy {
	p := &v1alpha1.AgentAuthorizationPolicy{}
	p.Spec.Action = action
	p.Spec.Rules = []v1alpha1.Rule{{To: []v1alpha1.To{{Operation: o}}}}
	return p
}

// An argument that satisfies an ALLOW rule is what a second decoder finds at that place, and what a decoder that folds case
// finds there too.
func FuzzArgument(f *testing.F) {
	for _, seed := range []string{`{"path":"/tmp"}`, `{"a":{"b":[{"c":1}]}}`, `{"Path":1,"path":2}`, `{"p\u0061th":"x"}`, `{"a":1,"a":2}`, `["x"]`, `{"":{"":0}}`, "{\"a\":\"\xff\"}"} {
		f.Add([]byte(seed), "/path")
		f.Add([]byte(seed), "/a/b/0/c")
		f.Add([]byte(seed), "/")
	}
	f.Fuzz(func(t *testing.T, arguments []byte, pointer string) {
		there := true
		p, problems := authz.Compile(operationPolicy(v1alpha1.Allow, v1alpha1.Operation{Arguments: []v1alpha1.Argument{{Pointer: pointer, Present: &there}}}))
		if problems != nil {
			return
		}
		v := inspect(t, authz.New([]*authz.Policy{p}), toolWith("x", string(arguments)))
		if v.Action != policy.Pass || !jsontext.Value(arguments).IsValid() {
			return // bytes after the value never get this far: the strict reader refuses them
		}
		var tree any
		err := json.Unmarshal(arguments, &tree)
		if errors.Is(err, strconv.ErrRange) {
			return // a number that only this decoder is too small for
		}
		if err != nil {
			t.Fatalf("passed what a second decoder refuses: %v", err)
		}
		for _, token := range strings.Split(pointer[1:], "/") {
			token = strings.NewReplacer("~1", "/", "~0", "~").Replace(token)
			switch node := tree.(type) {
			case map[string]any:
				var exact bool
				if tree, exact = node[token]; !exact {
					t.Fatalf("passed, but a second decoder finds no %q", token)
				}
				for name := range node {
					if name != token && strings.EqualFold(name, token) {
						t.Fatalf("passed beside the twin %q of %q", name, token)
					}
				}
			case []any:
				i, err := strconv.Atoi(token)
				if err != nil || i < 0 || i >= len(node) {
					t.Fatalf("passed, but a second decoder finds no element %q", token)
				}
				tree = node[i]
			default:
				t.Fatalf("passed, but a second decoder finds %T at %q", node, token)
			}
		}
	})
}

// Bounds compare exactly: with min = max = bound, the number passes if and only if it is that number.
func FuzzNumber(f *testing.F) {
	for _, seed := range [][2]string{{"500", "500.0"}, {"0.1", "1e-1"}, {"9007199254740993", "9007199254740992"}, {"-0", "0"}, {"1", "1e0"}, {"5", "1e999999999"}, {"9223372036854775808", "9223372036854775807"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, bound, number string) {
		if v := jsontext.Value(number); !v.IsValid() || v.Kind() != jsontext.KindNumber || strings.TrimSpace(number) != number {
			return
		}
		d := v1alpha1.Decimal(bound)
		p, problems := authz.Compile(operationPolicy(v1alpha1.Allow, v1alpha1.Operation{Arguments: []v1alpha1.Argument{{Pointer: "/n", Min: &d, Max: &d}}}))
		if problems != nil {
			return
		}
		got := inspect(t, authz.New([]*authz.Policy{p}), toolWith("x", `{"n":`+number+`}`)).Action == policy.Pass
		if _, exponent, ok := strings.Cut(strings.ToLower(number), "e"); len(number) > 64 || ok && len(strings.TrimLeft(exponent, "+-0")) > 3 {
			return // beyond what is compared; a number there never passes unless it is zero or the like
		}
		a, _ := new(big.Rat).SetString(bound)
		b, _ := new(big.Rat).SetString(number)
		if want := a.Cmp(b) == 0; got != want {
			t.Errorf("%s = %s: got %v, want %v", number, bound, got, want)
		}
	})
}

// A URI that passes a prefix rule lies under that prefix for a reader that decodes and cleans it.
func FuzzResourcePrefix(f *testing.F) {
	for _, seed := range []string{"file:///logs/a", "file:///logs/../etc", "file:///logs/%2e%2e/etc", "file:///logs/a%2fb", "file://u@h/logs/a", "FILE:///logs/a", "file:////logs/a", `file:///logs/..\..`, "file:///logs/a?b=../#c"} {
		f.Add(seed)
	}
	s := stage(f, `rules: [{to: [{operation: {resources: ["file:///logs/*"]}}]}]`)
	f.Fuzz(func(t *testing.T, uri string) {
		if inspect(t, s, resource(uri)).Action != policy.Pass {
			return
		}
		u, err := url.Parse(uri)
		if err != nil {
			return // a server that parses URIs refuses it
		}
		if clean := path.Clean(u.Path); u.Scheme != "file" || u.Host != "" || u.User != nil || clean != "/logs" && !strings.HasPrefix(clean, "/logs/") {
			t.Errorf("%q passes, but is read as scheme %q, host %q, path %q", uri, u.Scheme, u.Host, clean)
		}
	})
}

// Whatever compiles can be evaluated, and what an ALLOW rule matches a DENY rule matches too.
func FuzzCEL(f *testing.F) {
	for _, seed := range []string{
		`mcp.tool.name == "x"`, `!(mcp.tool.name in ["x"])`, `mcp.tool.arguments.a.b[0] > 1.5`, `has(mcp.tool) && has(mcp.tool.arguments.a)`,
		`request.headers["x-team"].matches("^b")`, `mcp.tool.arguments.l.exists(i, i == 1)`, `jwt.sub == "a" || true`, `[1, 2].map(x, x * 2) == [2, 4]`,
		`source.namespace + "x" == "bankx"`, `duration("1s") < duration("2s")`, `mcp.tool.arguments == {"a": 1}`, `1 / 0 == 1`, `string(mcp.tool.arguments.n) == "1"`,
		`jwt.scope.contains("openid") && "x" in jwt.scope`, `chain.actors.exists(a, a == "agent-coach") && chain.depth < 3`, `!authorized("a") || jwt.authorization_details.permits("a")`,
	} {
		f.Add(seed)
	}
	calls := []*call.Call{toolWith("x", `{"a":{"b":[2]},"l":[1],"n":1,"A":0}`), tool("y"), resource("file:///x"), initialize(), listTools(), web("GET", "/"), raw(), delegated()}
	f.Fuzz(func(t *testing.T, expression string) {
		p := &v1alpha1.AgentAuthorizationPolicy{}
		p.Spec.Rules = []v1alpha1.Rule{{When: []v1alpha1.Condition{{CEL: expression}}}}
		allow, problems := authz.Compile(p)
		if problems != nil {
			if allow != nil {
				t.Fatal("got a policy beside problems")
			}
			return
		}
		p.Spec.Action = v1alpha1.Deny
		deny, problems := authz.Compile(p)
		if problems != nil {
			t.Fatalf("compiles as ALLOW and not as DENY: %v", problems)
		}
		a, d := authz.New([]*authz.Policy{allow}), authz.New([]*authz.Policy{deny})
		for _, c := range calls {
			allowed, denied := inspect(t, a, c), inspect(t, d, c)
			if c.Intent == call.Use && c.Protocol == call.MCP && allowed.Action == policy.Pass && denied.Action != policy.Deny {
				t.Errorf("%s of %s: an ALLOW rule matches, a DENY rule does not", c.Method, c.Target.Name)
			}
		}
		if _, err := a.InspectReply(context.Background(), listTools(), list(call.Tool, "x", "y")); err != nil {
			t.Fatal(err)
		}
	})
}
