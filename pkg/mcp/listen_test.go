package mcp_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/mcp"
)

func listen(notifications string) *request {
	return modern().asks("subscriptions/listen", `{"notifications":`+notifications+`}`)
}

// 013_68: what a subscription names is judged one by one as soon as there is more than that one thing.
func TestWants(t *testing.T) {
	res, task := func(s string) string { return "resource " + s }, func(s string) string { return "task " + s }
	for _, tt := range []struct {
		name, notifications string
		target              string
		wants               []string
	}{
		{"013_68_nothing", `{}`, "", nil},
		{"013_68_kinds_only", `{"toolsListChanged":true}`, "", nil},
		{"013_68_one_alone", `{"resourceSubscriptions":["a:b"]}`, "a:b", nil},
		{"013_68_one_with_a_kind_not_asked", `{"resourceSubscriptions":["a:b"],"toolsListChanged":false,"x":null}`, "a:b", nil},
		{"013_68_one_with_a_kind", `{"resourceSubscriptions":["a:b"],"toolsListChanged":true}`, "", []string{res("a:b")}},
		{"013_68_one_with_the_unknown", `{"taskIds":["t"],"later":{"a":1}}`, "", []string{task("t")}},
		{"013_68_two", `{"resourceSubscriptions":["a:b","c:d"]}`, "", []string{res("a:b"), res("c:d")}},
		{"013_68_of_both_kinds", `{"taskIds":["t"],"resourceSubscriptions":["a:b"]}`, "", []string{res("a:b"), task("t")}},
		{"013_68_one_twice", `{"resourceSubscriptions":["a:b","a:b"]}`, "", []string{res("a:b"), res("a:b")}},
	} {
		m := listen(tt.notifications).message(t, mcp.Options{})
		c := filled(m)
		var wants []string
		for _, w := range m.Wants() {
			wants = append(wants, fmt.Sprint(w.Kind, " ", w.Name))
		}
		intent := call.Plumbing
		if tt.target != "" {
			intent = call.Use
		}
		if c.Target.Name != tt.target || c.Intent != intent || !slices.Equal(wants, tt.wants) {
			t.Errorf("%s: target %v, %s, wants %q; want %q, %s, %q", tt.name, c.Target, c.Intent, wants, tt.target, intent, tt.wants)
		}
	}
	many := `{"resourceSubscriptions":[` + strings.TrimSuffix(strings.Repeat(`"a:b",`, 1025), ",") + `]}`
	if _, r := listen(many).decode(mcp.Options{}); r == nil || r.Status != 400 {
		t.Errorf("1025 resources: %+v, want 400", r)
	}
}

func TestTrim(t *testing.T) {
	for _, tt := range []struct {
		name, notifications string
		keep                []bool
		left                string
		more                bool
	}{
		{"013_68_all_kept", `{"resourceSubscriptions":[ "a" ,"b" ]}`, []bool{true, true}, `{"resourceSubscriptions":[ "a" ,"b" ]}`, true},
		{"013_68_one_cut", `{"resourceSubscriptions":[ "a" ,"b" ]}`, []bool{false, true}, `{"resourceSubscriptions":["b"]}`, true},
		{"013_68_all_cut", `{"resourceSubscriptions":["a","b"]}`, []bool{false, false}, `{"resourceSubscriptions":[]}`, false},
		{"013_68_all_cut_but_a_kind", `{"x":{},"resourceSubscriptions":["a"]}`, []bool{false}, `{"x":{},"resourceSubscriptions":[]}`, true},
		{"013_68_a_kind_not_asked", `{"promptsListChanged":false,"resourceSubscriptions":["a","b"]}`, []bool{false, false}, `{"promptsListChanged":false,"resourceSubscriptions":[]}`, false},
		{"013_68_both_lists", `{"taskIds":["t","u"], "y" : 1 ,"resourceSubscriptions":["a","b"]}`, []bool{false, true, true, false}, `{"taskIds":["t"], "y" : 1 ,"resourceSubscriptions":["b"]}`, true},
		{"013_68_second_list_only", `{"resourceSubscriptions":["a"],"taskIds":["t"]}`, []bool{true, false}, `{"resourceSubscriptions":["a"],"taskIds":[]}`, true},
		{"013_68_kept_as_spelled", `{"resourceSubscriptions":["\u0061","b"]}`, []bool{true, false}, `{"resourceSubscriptions":["\u0061"]}`, true},
		{"013_68_too_few_verdicts", `{"resourceSubscriptions":["a","b"],"taskIds":["t"]}`, []bool{true}, `{"resourceSubscriptions":["a"],"taskIds":[]}`, true},
	} {
		r := listen(tt.notifications)
		m := r.message(t, mcp.Options{})
		for range 2 { // the second time does the same
			if more := m.Trim(tt.keep); more != tt.more {
				t.Errorf("%s: asks more %t, want %t", tt.name, more, tt.more)
			}
			if got, want := string(m.Encode(nil)), strings.Replace(r.body, tt.notifications, tt.left, 1); got != want {
				t.Errorf("%s: forwarded %s, want %s", tt.name, got, want)
			}
		}
		again, refusal := mcp.Decode(&r.Request, m.Encode(nil), mcp.Options{})
		if refusal != nil {
			t.Errorf("%s: what is left is refused: %s", tt.name, refusal.Reason)
		} else if left := len(again.Wants()); left > len(m.Wants()) {
			t.Errorf("%s: %d wants are left of %d", tt.name, left, len(m.Wants()))
		}
	}
}

// Where nothing is wanted there is nothing to trim.
func TestTrimOfOthers(t *testing.T) {
	for _, r := range []*request{modern(), listing(), listen(`{"toolsListChanged":true}`)} {
		m := r.message(t, mcp.Options{})
		m.Trim(nil)
		if m.Wants() != nil || string(m.Encode(nil)) != r.body {
			t.Errorf("%s is forwarded as %s", r.body, m.Encode(nil))
		}
	}
}

// A subscription of which nothing may be heard looks like one to something that is not there.
func TestListenDenied(t *testing.T) {
	m := listen(`{"taskIds":["t"],"resourceSubscriptions":["a:b"]}`).message(t, mcp.Options{})
	r := m.Deny(mcp.Denial{Code: call.EntitlementDenied})
	if want := `{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"Resource not found","data":{"uri":"a:b"}}}`; r.Status != 200 || string(r.Body) != want {
		t.Errorf("%d %s, want 200 %s", r.Status, r.Body, want)
	}
}
