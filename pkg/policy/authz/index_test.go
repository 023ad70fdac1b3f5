package authz_test

import (
	"context"
	"testing"

	"pgregory.net/rapid"

	"waymark.dev/waypoint/pkg/api/v1alpha1"
	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/policy"
	"waymark.dev/waypoint/pkg/policy/authz"
)

// Rules that are found by tool name decide as if they were tried one after the other, and the first one is named.
func TestIndexChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawPolicy(t)
		p.Spec.Action = rapid.SampledFrom([]v1alpha1.Action{v1alpha1.Allow, v1alpha1.Deny}).Draw(t, "enforced action")
		whole := authz.New([]*authz.Policy{compileDrawn(t, p)})
		c := rapid.SampledFrom([]*call.Call{tool("read"), tool("get_a"), tool("pay"), tool("drop"), resource("file:///a"), prompt("read"), initialize(), listTools(), web("GET", "/"), raw()}).Draw(t, "call")
		want := -1
		for i, s := range singles(t, p) {
			v, err := s.Inspect(context.Background(), c)
			if err != nil {
				t.Fatal(err)
			}
			if (v.Action == policy.Pass) == (p.Spec.Action == v1alpha1.Allow) {
				want = i
				break
			}
		}
		v, err := whole.Inspect(context.Background(), c)
		if err != nil {
			t.Fatal(err)
		}
		rule := ""
		if want >= 0 {
			rule = "rules[" + string(rune('0'+want)) + "]"
		}
		if v.Rule != rule {
			t.Errorf("got rule %q (%s), want %q", v.Rule, v.Reason, rule)
		}
	})
}
