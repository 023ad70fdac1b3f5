package mcp_test

import (
	"bytes"
	"encoding/json" // v1, on purpose: what the most lenient Go peer would execute
	"net/http"
	"slices"
	"strings"
	"testing"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/mcp"
)

// lenient is a request as a server reads it that folds case and takes the last of two names.
type lenient struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params struct {
		Name      string          `json:"name"`
		URI       string          `json:"uri"`
		TaskID    string          `json:"taskId"`
		Arguments json.RawMessage `json:"arguments"`
		Ref       struct {
			Type string `json:"type"`
			Name string `json:"name"`
			URI  string `json:"uri"`
		} `json:"ref"`
	} `json:"params"`
}

// target is what such a server would act on.
func (l *lenient) target() call.Target {
	switch l.Method {
	case "tools/call":
		return call.Target{Kind: call.Tool, Name: l.Params.Name}
	case "prompts/get":
		return call.Target{Kind: call.Prompt, Name: l.Params.Name}
	case "resources/read", "resources/subscribe", "resources/unsubscribe", "resources/directory/read":
		return call.Target{Kind: call.Resource, Name: l.Params.URI}
	case "skills/get":
		return call.Target{Kind: call.Skill, Name: l.Params.URI}
	case "tasks/get", "tasks/result", "tasks/cancel", "tasks/update":
		return call.Target{Kind: call.Task, Name: l.Params.TaskID}
	case "completion/complete":
		if l.Params.Ref.Type == "ref/prompt" {
			return call.Target{Kind: call.Prompt, Name: l.Params.Ref.Name}
		}
		return call.Target{Kind: call.Resource, Name: l.Params.Ref.URI}
	}
	return call.Target{}
}

// lastWins extracts the same with maps, in which the last of two names stays; name is that of the params member for kind.
func lastWins(t *testing.T, body []byte, kind call.Kind) (method, id, name string) {
	last, params := map[string]json.RawMessage{}, map[string]json.RawMessage{}
	if err := json.Unmarshal(body, &last); err != nil {
		t.Fatal(err)
	}
	_ = json.Unmarshal(last["params"], &params)
	_ = json.Unmarshal(last["method"], &method)
	member := map[call.Kind]string{call.Tool: "name", call.Prompt: "name", call.Resource: "uri", call.Skill: "uri", call.Task: "taskId"}[kind]
	_ = json.Unmarshal(params[member], &name)
	return method, string(last["id"]), name
}

// FuzzDecode holds that whoever executes what Decode accepts executes what a policy judged.
func FuzzDecode(f *testing.F) {
	for _, r := range []*request{
		legacy(), modern(), legacy().asks("resources/read", `{"uri":"a:b"}`), legacy().asks("completion/complete", `{"ref":{"type":"ref/prompt","name":"x"}}`),
		modern().asks("tasks/get", `{"taskId":"t"}`).set("Mcp-Name", "t"), modern().asks("subscriptions/listen", `{"notifications":{"taskIds":["t"]}}`),
		legacy().with(`"name"`, `"Name":"x","name"`), legacy().with(`"name"`, `"n\u0061me"`), legacy().with(`"params"`, `"paramſ"`),
		modern().set("Mcp-Name", sentinel("read")), legacy().with("tools/call", "notifications/progress").with(`"id":1,`, ""),
		legacy().with(legacyBody, emptyResult), legacy().with(`"id":1`, `"id":"\u0031"`),
		batched(partRead, partNote, partReply, partList), batched(partRead, partRead), batched(`{"jsonrpc":"2.0","id":1,"method":"initialize"}`), batched(),
		batched(partRead, `{"jsonrpc":"2.0","id":"\u0031","Method":"ping","method":"tools/call","params":{"name":"x"}}`),
		listen(`{"resourceSubscriptions":[ "a:b" ,"c:\u0064"],"taskIds":["t"],"x":true}`), listen(`{"taskIds":["a","a"],"TaskIds":["b"]}`),
	} {
		f.Add([]byte(r.body), r.Header.Get("Mcp-Protocol-Version"), r.Header.Get("Mcp-Method"), r.Header.Get("Mcp-Name"), r.Header.Get("Content-Type"), uint16(5))
	}
	f.Fuzz(func(t *testing.T, body []byte, version, method, name, contentType string, keep uint16) {
		h := &call.Request{Method: "POST", Path: "/mcp", Header: http.Header{}}
		for field, v := range map[string]string{"Mcp-Protocol-Version": version, "Mcp-Method": method, "Mcp-Name": name, "Content-Type": contentType} {
			if v != "" {
				h.Header[field] = []string{v}
			}
		}
		before := bytes.Clone(body)
		m, refusal := mcp.Decode(h, body, mcp.Options{Batches: true})
		if (m == nil) == (refusal == nil) {
			t.Fatalf("Decode = %v, %v; want exactly one", m, refusal)
		}
		if m == nil {
			if refusal.Code == "" || refusal.Status < 200 {
				t.Fatalf("a refusal without a reason: %+v", refusal)
			}
			return
		}
		if !bytes.Equal(m.Encode(nil), before) {
			t.Fatalf("Encode(nil) = %q, want %q", m.Encode(nil), before)
		}
		if m.Parts() != nil {
			agreeOnBatch(t, m, h, before)
			return
		}
		agreeOn(t, m, before)
		agreeOnSubscription(t, m, before, keep)
	})
}

// agreeOnBatch holds that whoever executes an array executes its parts, and that a rewritten part leaves the others alone.
func agreeOnBatch(t *testing.T, m *mcp.Message, h *call.Request, body []byte) {
	var elements []json.RawMessage
	if err := json.Unmarshal(body, &elements); err != nil || len(elements) != len(m.Parts()) {
		t.Fatalf("judged %d parts, encoding/json executes %d, %v", len(m.Parts()), len(elements), err)
	}
	ids := map[string]bool{}
	for i, part := range m.Parts() {
		agreeOn(t, part, elements[i])
		var l struct{ ID any }
		if filled(part).Method != "response" && json.Unmarshal(elements[i], &l) == nil && l.ID != nil {
			id, _ := json.Marshal(l.ID)
			if ids[string(id)] {
				t.Fatalf("two requests have the id %s", id)
			}
			ids[string(id)] = true
		}
		part.Rewrite([]byte(`{"rewritten":true}`))
	}
	again, refusal := mcp.Decode(h, m.Encode(nil), mcp.Options{Batches: true})
	if refusal != nil {
		t.Fatalf("what we wrote %q is refused: %s", m.Encode(nil), refusal.Reason)
	}
	for i, part := range again.Parts() {
		got, want := filled(part), filled(m.Parts()[i])
		if got.Target != want.Target || got.Method != want.Method || got.Intent != want.Intent {
			t.Fatalf("rewriting the arguments of %v makes it %v", want, got)
		}
	}
}

// heard is what a server hears of that folds case and takes the last of two names.
func heard(body []byte) (names []string) {
	var l struct {
		Method string
		Params struct {
			Notifications struct{ ResourceSubscriptions, TaskIDs []string }
		}
	}
	_ = json.Unmarshal(body, &l)
	if l.Method != "subscriptions/listen" {
		return nil
	}
	return append(l.Params.Notifications.ResourceSubscriptions, l.Params.Notifications.TaskIDs...)
}

// agreeOnSubscription holds that a server hears of exactly what was judged, and after Trim of exactly what was kept.
func agreeOnSubscription(t *testing.T, m *mcp.Message, body []byte, keep uint16) {
	var judged, kept []string
	verdicts := make([]bool, len(m.Wants()))
	for i, w := range m.Wants() {
		judged = append(judged, w.Name)
		if verdicts[i] = keep>>(i%16)&1 == 1; verdicts[i] {
			kept = append(kept, w.Name)
		}
	}
	if c := filled(m); c.Method == "subscriptions/listen" && c.Target.Name != "" {
		judged = append(judged, c.Target.Name)
	}
	if got := heard(body); !slices.Equal(got, judged) {
		t.Fatalf("judged %q, encoding/json listens to %q", judged, got)
	}
	if m.Wants() == nil {
		return
	}
	more := m.Trim(verdicts)
	if got := heard(m.Encode(nil)); !slices.Equal(got, kept) {
		t.Fatalf("kept %q, encoding/json listens to %q in %q", kept, got, m.Encode(nil))
	}
	if len(kept) > 0 && !more {
		t.Fatalf("%q was kept, and nothing is asked for", kept)
	}
	if slices.Contains(verdicts, false) != !bytes.Equal(m.Encode(nil), body) {
		t.Fatalf("cut %v, forwarded %q of %q", verdicts, m.Encode(nil), body)
	}
}

func agreeOn(t *testing.T, m *mcp.Message, body []byte) {
	c := filled(m)
	if c.Method == "response" {
		return
	}
	var l lenient
	if err := json.Unmarshal(body, &l); err != nil {
		if c.Target.Name == "" { // it names nothing; the oracle's types are stricter than the protocol's
			return
		}
		t.Fatalf("judged %v, which encoding/json refuses: %v", c.Target, err)
	}
	if l.Method != c.Method {
		t.Fatalf("judged %q, encoding/json executes %q", c.Method, l.Method)
	}
	if c.Method != "subscriptions/listen" && c.Target.Name != "" && l.target() != c.Target {
		t.Fatalf("judged %v, encoding/json executes %v", c.Target, l.target())
	}
	if c.Target.Name == "" && l.target().Name != "" {
		t.Fatalf("judged nothing, encoding/json executes %v", l.target())
	}
	if c.Arguments != nil && (c.Method == "tools/call" || c.Method == "prompts/get") && !bytes.Equal(c.Arguments, l.Params.Arguments) {
		t.Fatalf("judged %s, encoding/json executes %s", c.Arguments, l.Params.Arguments)
	}
	method, id, name := lastWins(t, body, c.Target.Kind)
	if c.Method != "subscriptions/listen" && c.Method != "completion/complete" && name != c.Target.Name {
		t.Fatalf("judged %v, last wins executes %q", c.Target, name)
	}
	if method != c.Method || id != string(l.ID) {
		t.Fatalf("judged %q, last wins executes %q; id %s, %s", c.Method, method, id, l.ID)
	}
	denied := m.Deny(mcp.Denial{Code: call.RateLimited})
	if denied.Status == http.StatusOK && !bytes.Contains(denied.Body, []byte(`"id":`+id+`,`)) {
		t.Fatalf("the refusal %s does not carry the id %s", denied.Body, id)
	}
	again, refusal := mcp.Decode(&call.Request{Method: "POST", Header: header(c)}, m.Encode([]byte(`{}`)), mcp.Options{})
	if refusal != nil {
		t.Fatalf("what we wrote %q is refused: %s", m.Encode([]byte(`{}`)), refusal.Reason)
	}
	if got := filled(again); got.Target != c.Target || got.Method != c.Method {
		t.Fatalf("rewriting the arguments of %v makes it %v", c.Target, got.Target)
	}
}

// header is what a client that says the same would send.
func header(c *call.Call) http.Header {
	h := http.Header{"Content-Type": {"application/json"}}
	if c.Version != "" && c.Version != "2025-03-26" {
		h["Mcp-Protocol-Version"] = []string{c.Version}
	}
	if c.Version == "2026-07-28" {
		h["Mcp-Method"] = []string{c.Method}
		h["Mcp-Name"] = []string{sentinel(c.Target.Name)}
	}
	return h
}

// FuzzMatches holds that what MCP alone has is never taken for anything else, whatever the headers and the path say.
func FuzzMatches(f *testing.F) {
	for _, s := range []string{
		legacyBody, modernBody, `[` + legacyBody + `]`, `{"jsonrpc`, "\xef\xbb\xbf{}", `{"jsonrpc":"2.0","method":"tools\/call"`, `"\`,
		`{"jsonrpc":"2.0","id":1,"method":"tasks/get","params":{"taskId":"t"}}`, `{"jsonrpc":"2.0","id":1,"method":"tasks/list"}`, `{"jsonrpc":"2.0","id":1,"method":"SendMessage"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r := legacy().unset("Mcp-Protocol-Version")
		disguised := legacy().unset("Mcp-Protocol-Version").set("A2a-Version", "1.0")
		disguised.Path = "/message:send"
		shape, other := mcp.Classify(&r.Request, body), mcp.Classify(&disguised.Request, body)
		if (shape == mcp.MCP) != (other == mcp.MCP) {
			t.Fatalf("%q is %q, and %q under another header", body, shape, other)
		}
		m, _ := mcp.Decode(&r.Request, body, mcp.Options{Batches: true})
		if m == nil {
			return
		}
		for _, part := range append(m.Parts(), m) {
			c := filled(part)
			known := strings.HasPrefix(c.Method, "tools/") || strings.HasPrefix(c.Method, "resources/") || c.Target.Kind == call.Task && c.Target.Name != ""
			if known && shape != mcp.MCP {
				t.Fatalf("%q passes as %q", body, shape)
			}
		}
	})
}
