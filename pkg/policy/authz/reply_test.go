package authz_test

import (
	"context"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/policy"
	"waymark.dev/waypoint/pkg/policy/authz"
)

// list builds the reply to a list request, as a codec does.
func list(kind call.Kind, names ...string) *call.Reply {
	r := &call.Reply{Final: true, Items: []call.Item{}}
	body := []byte(`{"list":[`)
	for i, name := range names {
		if i > 0 {
			body = append(body, ',')
		}
		entry, _ := json.Marshal(map[string]any{"name": name})
		r.Items = append(r.Items, call.Item{Target: call.Target{Kind: kind, Name: name}, Start: len(body), End: len(body) + len(entry)})
		body = append(body, entry...)
	}
	r.Body = append(body, `],"nextCursor":"x"}`...)
	return r
}

// shown returns the names that are left of a list.
func shown(t testing.TB, s *authz.Stage, c *call.Call, r *call.Reply) []string {
	t.Helper()
	v, err := s.InspectReply(context.Background(), c, r)
	if err != nil {
		t.Fatalf("InspectReply: %v", err)
	}
	body := r.Body
	if v.Action == policy.Rewrite {
		body = v.Body
	}
	var out struct {
		List []struct {
			Name string `json:"name"`
		} `json:"list"`
	}
	if err := json.Unmarshal(body, &out); err != nil {
		t.Fatalf("the rewritten body is not JSON: %v\n%s", err, body)
	}
	names := make([]string, len(out.List))
	for i, e := range out.List {
		names[i] = e.Name
	}
	if cut := len(r.Items) - len(names); v.Hidden != cut {
		t.Errorf("hidden: got %d, want %d", v.Hidden, cut)
	}
	return names
}

func TestLists(t *testing.T) {
	tools := []string{"read", "get_a", "pay", "drop"}
	for _, tt := range []struct {
		name  string
		specs []string
		want  string
	}{
		{"no policy", nil, "read get_a pay drop"},
		{"ALLOW", []string{`rules: [{to: [{operation: {tools: [read, "get_*"]}}]}]`}, "read get_a"},
		{"ALLOW for somebody else", []string{`rules: [{from: [{source: {namespaces: [audit]}}]}]`}, ""},
		{"ALLOW of a method", []string{`rules: [{to: [{operation: {methods: [tools/call]}}]}]`}, "read get_a pay drop"},
		{"ALLOW of listing is not ALLOW of calling", []string{`rules: [{to: [{operation: {methods: [tools/list]}}]}]`}, ""},
		{"DENY", []string{`{action: DENY, rules: [{to: [{operation: {tools: [drop]}}]}]}`}, "read get_a pay"},
		{"REQUIRE_APPROVAL", []string{`{action: REQUIRE_APPROVAL, rules: [{to: [{operation: {tools: [pay]}}]}]}`}, "read get_a drop"},
		{"AUDIT", []string{`{action: AUDIT, rules: [{}]}`}, "read get_a pay drop"},
		{"ALLOW under some arguments", []string{`rules: [{to: [{operation: {tools: [pay], arguments: [{pointer: /amount, max: 5}]}}]}]`}, "pay"},
		{"DENY under some arguments", []string{`{action: DENY, rules: [{to: [{operation: {tools: [pay], arguments: [{pointer: /amount, min: 5}]}}]}]}`}, "read get_a pay drop"},
		{"ALLOW with CEL on arguments", []string{`rules: [{when: [{cel: 'mcp.tool.name == "pay" && mcp.tool.arguments.amount <= 5'}]}]`}, "pay"},
		{"DENY with CEL on arguments", []string{`{action: DENY, rules: [{when: [{cel: 'mcp.tool.name == "drop" || mcp.tool.name == "pay" && mcp.tool.arguments.amount > 5'}]}]}`}, "read get_a pay"},
		{"CEL on another kind", []string{`rules: [{when: [{cel: 'mcp.prompt.name == "pay"'}]}]`}, ""},
		{"an error in a DENY rule hides", []string{`{action: DENY, rules: [{when: [{cel: 'jwt.sub == "x"'}]}]}`}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := strings.Join(shown(t, stage(t, tt.specs...), listTools(), list(call.Tool, tools...)), " "); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestListsOfOtherKinds(t *testing.T) {
	s := stage(t, `rules: [{to: [{operation: {resources: ["file:///logs/*"]}}, {operation: {prompts: [a]}}]}]`)
	if got := fmt.Sprint(shown(t, s, lifecycle("resources/list", call.List), list(call.Resource, "file:///logs/a", "file:///logs/../etc", "file:///etc"))); got != "[file:///logs/a]" {
		t.Errorf("resources: got %s", got)
	}
	if got := fmt.Sprint(shown(t, s, lifecycle("resources/templates/list", call.List), list(call.Resource, "file:///logs/{name}", "file:///{path}"))); got != "[file:///logs/{name}]" {
		t.Errorf("templates: got %s", got)
	}
	if got := fmt.Sprint(shown(t, s, lifecycle("prompts/list", call.List), list(call.Prompt, "a", "b"))); got != "[a]" {
		t.Errorf("prompts: got %s", got)
	}
	if got := fmt.Sprint(shown(t, s, lifecycle("skills/list", call.List), list(call.Skill, "file:///logs/skill", "skill://a"))); got != "[file:///logs/skill]" {
		t.Errorf("skills: got %s", got)
	}
}

func TestFaultyEntriesAreHidden(t *testing.T) {
	r := list(call.Tool, "a", "b", "b")
	r.Items[1].Faulty, r.Items[2].Faulty = true, true
	if got := fmt.Sprint(shown(t, stage(t), listTools(), r)); got != "[a]" {
		t.Errorf("got %s, want [a]", got)
	}
}

// A list that a cache may show to others is encoded anew wherever callers may see different lists, page by page and whatever was
// cut: the pages of one listing have to agree on who may see them (contract mcp-a2a 6.1).
func TestSharedLists(t *testing.T) {
	const readers = `rules: [{to: [{operation: {tools: [read, drop]}}]}]`
	shared := func(names ...string) *call.Reply {
		r := list(call.Tool, names...)
		r.Shared = true
		return r
	}
	faulty := shared("read", "read")
	faulty.Items[1].Faulty = true
	for _, tt := range []struct {
		name  string
		specs []string
		reply *call.Reply
		want  string
	}{
		{"nothing cut", []string{readers}, shared("read", "drop"), "rewrite 0 same"},
		{"empty page", []string{readers}, shared(), "rewrite 0 same"},
		{"cut", []string{readers}, shared("read", "pay"), "rewrite 1 other"},
		{"DENY only", []string{`{action: DENY, rules: [{to: [{operation: {tools: [pay]}}]}]}`}, shared("read"), "rewrite 0 same"},
		{"REQUIRE_APPROVAL only", []string{`{action: REQUIRE_APPROVAL, rules: [{to: [{operation: {tools: [pay]}}]}]}`}, shared("read"), "rewrite 0 same"},
		{"AUDIT only", []string{`{action: AUDIT, rules: [{}]}`}, shared("read"), "pass 0 same"},
		{"no policy", nil, shared("read"), "pass 0 same"},
		{"no policy, a faulty entry", nil, faulty, "rewrite 1 other"},
		{"not shared", []string{readers}, list(call.Tool, "read", "drop"), "pass 0 same"},
		{"no list", []string{readers}, &call.Reply{Final: true, Body: jsontext.Value(`{}`), Shared: true}, "pass 0 same"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v, err := stage(t, tt.specs...).InspectReply(context.Background(), listTools(), tt.reply)
			if err != nil {
				t.Fatal(err)
			}
			body := "same"
			if v.Body != nil && string(v.Body) != string(tt.reply.Body) {
				body = "other"
			}
			if got := fmt.Sprintf("%s %d %s", v.Action, v.Hidden, body); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if v.Action == policy.Rewrite && (v.Body == nil || v.Reason == "") {
				t.Errorf("got %+v: a rewrite needs a body and a reason", v)
			}
		})
	}
}

func TestOtherRepliesPass(t *testing.T) {
	s := stage(t, `{}`)
	v, err := s.InspectReply(context.Background(), tool("x"), &call.Reply{Final: true, Body: jsontext.Value(`{}`)})
	if err != nil || v.Action != policy.Pass {
		t.Errorf("got %v, %v, want pass", v, err)
	}
}

func TestInspectReplyLeavesTheCallAlone(t *testing.T) {
	c := listTools()
	before := fmt.Sprintf("%+v", c)
	shown(t, stage(t, `rules: [{to: [{operation: {tools: [read]}}]}]`), c, list(call.Tool, "read", "drop"))
	if got := fmt.Sprintf("%+v", c); got != before {
		t.Errorf("the call changed:\n%s\n%s", before, got)
	}
}

// Whatever the policies: a tool is in the list exactly if calling it passes, as long as no rule asks for arguments.
func TestVisibleIsCallable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var policies []*authz.Policy
		for range rapid.IntRange(0, 4).Draw(t, "policies") {
			policies = append(policies, compileDrawn(t, drawPolicy(t)))
		}
		s := authz.New(policies)
		caller := rapid.SampledFrom(callers).Draw(t, "caller")
		names := []string{"read", "get_a", "pay", "drop", "Read"}
		visible := make(map[string]bool)
		listing := by(caller, listTools())
		v, err := s.InspectReply(context.Background(), listing, list(call.Tool, names...))
		if err != nil {
			t.Fatal(err)
		}
		body := list(call.Tool, names...).Body
		if v.Action == policy.Rewrite {
			body = v.Body
		}
		for _, name := range names {
			visible[name] = strings.Contains(string(body), `"`+name+`"`)
		}
		anything := false
		for _, name := range names {
			called, err := s.Inspect(context.Background(), by(caller, tool(name)))
			if err != nil {
				t.Fatal(err)
			}
			anything = anything || called.Action == policy.Pass
			if visible[name] != (called.Action == policy.Pass) {
				t.Errorf("%s: visible %v, called: %v %s", name, visible[name], called.Action, called.Reason)
			}
		}
		// Who may call something may say hello, unless a DENY rule speaks of more than targets.
		if hello, _ := s.Inspect(context.Background(), by(caller, initialize())); anything && hello.Action != policy.Pass && hello.Policy == "" {
			t.Errorf("a tool may be called, but initialize is not allowed: %s", hello.Reason)
		}
	})
}
