package authz_test

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"waymark.dev/waypoint/pkg/api/v1alpha1"
	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/policy/authz"
)

func document(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../../../docs/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// block is a fenced block of the page: what stands behind the fence, and its text.
type block struct{ info, text string }

func blocks(page string) []block {
	var out []block
	for _, m := range regexp.MustCompile("(?ms)^```([^\n]+)\n(.*?)^```$").FindAllStringSubmatch(page, -1) {
		out = append(out, block{m[1], m[2]})
	}
	return out
}

// Every policy on the page does what the table under it says.
func TestDocumentedPolicies(t *testing.T) {
	var s *authz.Stage
	policies, calls := 0, 0
	for _, b := range blocks(document(t)) {
		switch b.info {
		case "yaml policy":
			p, err := parse(b.text)
			if err != nil {
				t.Fatalf("%v in\n%s", err, b.text)
			}
			s = authz.New([]*authz.Policy{compile(t, p)})
			policies++
		case "text calls":
			for line := range strings.Lines(b.text) {
				fields := strings.Split(strings.TrimSpace(line), "|")
				if len(fields) != 3 {
					t.Fatalf("not caller | call | result: %s", line)
				}
				want := call.Code(strings.TrimSpace(fields[2]))
				if want == "pass" {
					want = pass
				}
				t.Run(line, func(t *testing.T) { wantCode(t, inspect(t, s, documentedCall(t, fields[0], fields[1])), want) })
				calls++
			}
		}
	}
	if policies < 8 || calls < 40 {
		t.Errorf("found %d policies and %d calls: is the page still read?", policies, calls)
	}
}

// documentedCall reads "bank/teller" and "tools/call transfer {…}", "GET /path", "tcp", "server: method" or a method alone.
func documentedCall(t *testing.T, caller, text string) *call.Call {
	t.Helper()
	ns, sa, _ := strings.Cut(strings.TrimSpace(caller), "/")
	id, err := identity.ForServiceAccount(identity.RequireTrustDomain("cluster.local"), ns, sa)
	if err != nil {
		t.Fatal(err)
	}
	text = strings.TrimSpace(text)
	asked, isAsked := strings.CutPrefix(text, "server: ")
	method, rest, named := strings.Cut(text, " ")
	name, arguments, _ := strings.Cut(rest, " ")
	kinds := map[string]call.Kind{"tools/call": call.Tool, "resources/read": call.Resource, "prompts/get": call.Prompt, "tasks/get": call.Task}
	switch {
	case text == "tcp":
		return by(id, raw())
	case isAsked:
		return by(id, asks(asked))
	case named && strings.HasPrefix(name, "/"):
		return by(id, web(method, name))
	case named && kinds[method] != call.None:
		return by(id, mcp(method, kinds[method], name, arguments))
	case strings.HasSuffix(method, "/list"):
		return by(id, lifecycle(method, call.List))
	case !named:
		return by(id, lifecycle(method, call.Plumbing))
	}
	t.Fatalf("what call is %q?", text)
	return nil
}

// Every line of CEL on the page compiles.
func TestDocumentedExpressions(t *testing.T) {
	n := 0
	for _, b := range blocks(document(t)) {
		if b.info != "cel" {
			continue
		}
		for line := range strings.Lines(b.text) {
			expression(t, strings.TrimSpace(line))
			n++
		}
	}
	if n == 0 {
		t.Error("no expression found: is the page still read?")
	}
}

func expression(t *testing.T, text string) []authz.Problem {
	t.Helper()
	p := &v1alpha1.AgentAuthorizationPolicy{}
	p.Spec.Rules = []v1alpha1.Rule{{When: []v1alpha1.Condition{{CEL: text}}}}
	_, problems := authz.Compile(p)
	for _, problem := range problems {
		if !strings.Contains(problem.Text, "undeclared reference") {
			t.Errorf("%s: %v", text, problem)
		}
	}
	return problems
}

// The page lists every field of a rule, and every variable and key there is.
func TestDocumentedNames(t *testing.T) {
	page := document(t)
	for _, kind := range []any{v1alpha1.Source{}, v1alpha1.Operation{}, v1alpha1.Argument{}, v1alpha1.Condition{}} {
		for field := range reflect.TypeOf(kind).Fields() {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			if !strings.Contains(page, "`"+name+"`") {
				t.Errorf("field %s of %T is not on the page", name, kind)
			}
		}
	}
	for _, root := range []string{"request", "source", "destination", "chain", "mcp"} { // the complaint about an unknown one lists them
		problems := expression(t, root+".nothing == 1")
		_, list, ok := strings.Cut(problems[0].Text, "; "+root+" has ")
		if !ok {
			t.Fatalf("got %v", problems)
		}
		for name := range strings.SplitSeq(list, ", ") {
			if !strings.Contains(page, "`"+root+"."+name+"`") {
				t.Errorf("variable %s.%s is not on the page", root, name)
			}
		}
	}
	p := &v1alpha1.AgentAuthorizationPolicy{}
	p.Spec.Rules = []v1alpha1.Rule{{When: []v1alpha1.Condition{{Key: "nothing", Values: []string{"x"}}}}}
	_, problems := authz.Compile(p)
	_, list, _ := strings.Cut(problems[0].Text, "the keys are ")
	for key := range strings.SplitSeq(list, ", ") {
		if !strings.Contains(page, "`"+key+"`") {
			t.Errorf("key %s is not on the page", key)
		}
	}
}

// The authorization detail on the page does what the page says.
func TestDocumentedDetail(t *testing.T) {
	detail := ""
	for _, b := range blocks(document(t)) {
		if b.info == "json" {
			detail = b.text
		}
	}
	transfer := func(arguments string) *call.Call {
		return with(toolWith("transfer", arguments), func(c *call.Call) {
			c.Claims = &identity.Claims{Raw: []byte(`{"authorization_details":[` + detail + `]}`)}
		})
	}
	for arguments, want := range map[string]said{
		`{"amount":500,"currency":"EUR"}`: holds, `{"amount":500.01,"currency":"EUR"}`: holdsNot, `{"amount":5,"currency":"USD"}`: holdsNot,
		`{"amount":5}`: holdsNot, `{"amount":"5","currency":"EUR"}`: holdsNot, `{"amount":5,"currency":"EUR","Amount":900}`: holdsNot,
	} {
		if got := judge(t, `authorized("payment")`, transfer(arguments)); got != want {
			t.Errorf("%s: got %v, want %v", arguments, got, want)
		}
	}
}
