package mcp_test

import (
	"testing"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/mcp"
)

// Rows of contract 13 that a policy decides: the codec has to show it all that is there, and to forward it unchanged.
func TestRowsForPolicy(t *testing.T) {
	for _, tt := range []struct {
		name string
		r    *request
		want call.Call
	}{
		{"013_37_argument_in_two_cases", legacy().with(`"path":"a"`, `"path":"a","Path":"b"`),
			call.Call{Target: tool("read"), Arguments: []byte(`{"path":"a","Path":"b"}`)}},
		{"013_67_completion_for_a_prompt", legacy().asks("completion/complete", `{"ref":{"type":"ref/prompt","name":"p"},"argument":{"name":"a"}}`),
			call.Call{Target: call.Target{Kind: call.Prompt, Name: "p"}, Arguments: []byte(`{"name":"a"}`)}},
		{"013_67_completion_for_a_template", legacy().asks("completion/complete", `{"ref":{"type":"ref/resource","uri":"a:{b}"}}`),
			call.Call{Target: call.Target{Kind: call.Resource, Name: "a:{b}"}}},
	} {
		for range 2 { // 013_50: one id twice is the server's business
			m := tt.r.message(t, mcp.Options{})
			c := filled(m)
			if c.Target != tt.want.Target || string(c.Arguments) != string(tt.want.Arguments) || c.Intent != call.Use {
				t.Errorf("%s: %v %s %s, want %v %s", tt.name, c.Target, c.Arguments, c.Intent, tt.want.Target, tt.want.Arguments)
			}
			if got := string(m.Encode(nil)); got != tt.r.body {
				t.Errorf("%s: forwarded %s", tt.name, got)
			}
		}
	}
}

// 013_50: two exchanges with one id do not know of each other; each takes the answer that came on it.
func TestRowSameIDTwice(t *testing.T) {
	first, second := listing().message(t, mcp.Options{}), legacy().message(t, mcp.Options{})
	for _, tt := range []struct {
		m     *mcp.Message
		items int
	}{{first, 2}, {second, 0}} {
		items, err := collect(jsonReply(toolsResult).to(tt.m))
		if err != nil || len(items) != 1 || len(items[0].Reply.Items) != tt.items {
			t.Errorf("%d items, %v; want one with %d entries", len(items), err, tt.items)
		}
	}
}

// 013_112: nothing compares the URLs of a -32042 error yet, but a stage sees them and can refuse the answer.
func TestRowURLsInAnError(t *testing.T) {
	const e = `{"code":-32042,"message":"x","data":{"elicitations":[{"mode":"url","url":"https://evil","elicitationId":"1","message":"m"}]}}`
	m := legacy().message(t, mcp.Options{})
	items, err := collect(jsonReply(`{"jsonrpc":"2.0","id":1,"error":` + e + `}`).to(m))
	if err != nil || len(items) != 1 || !items[0].Reply.Final || string(items[0].Reply.Err) != e {
		t.Fatalf("%d items, %v; want the error object", len(items), err)
	}
	if got, want := string(items[0].With([]byte(`{"code":1,"message":"y"}`))), `{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"y"}}`; got != want {
		t.Errorf("replaced: %s, want %s", got, want)
	}
}
