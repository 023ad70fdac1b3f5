package mcp_test

import (
	"bytes"
	"encoding/json" // v1, on purpose: what the most lenient Go peer would execute
	"net/http"
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
	} {
		f.Add([]byte(r.body), r.Header.Get("Mcp-Protocol-Version"), r.Header.Get("Mcp-Method"), r.Header.Get("Mcp-Name"), r.Header.Get("Content-Type"))
	}
	f.Fuzz(func(t *testing.T, body []byte, version, method, name, contentType string) {
		h := &call.Request{Method: "POST", Path: "/mcp", Header: http.Header{}}
		for field, v := range map[string]string{"Mcp-Protocol-Version": version, "Mcp-Method": method, "Mcp-Name": name, "Content-Type": contentType} {
			if v != "" {
				h.Header[field] = []string{v}
			}
		}
		before := bytes.Clone(body)
		m, refusal := mcp.Decode(h, body, mcp.Options{})
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
		agreeOn(t, m, before)
	})
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

// seenBy returns the names of the tools that a client finds which folds case, takes the last of two names and reads events
// the simplest way there is.
func seenBy(text []byte, stream bool) []string {
	messages := [][]byte{text}
	if stream {
		messages = nil
		for event := range strings.SplitSeq(string(text), "\n\n") {
			var data []string
			for line := range strings.SplitSeq(event, "\n") {
				if rest, ok := strings.CutPrefix(line, "data:"); ok {
					data = append(data, strings.TrimPrefix(rest, " "))
				}
			}
			messages = append(messages, []byte(strings.Join(data, "\n")))
		}
	}
	var names []string
	for _, message := range messages {
		var m struct {
			Result struct {
				Tools []struct {
					Name string `json:"name"`
				} `json:"tools"`
			} `json:"result"`
		}
		_ = json.NewDecoder(bytes.NewReader(bytes.TrimPrefix(message, []byte("\xef\xbb\xbf")))).Decode(&m) // takes bytes after the value
		for _, tool := range m.Result.Tools {
			names = append(names, tool.Name)
		}
	}
	return names
}

// FuzzReplies holds that a tool which a policy hides is seen by no client, whatever the server answers.
func FuzzReplies(f *testing.F) {
	for i, in := range []reply{
		jsonReply(toolsResult), sseReply("data: " + toolsResult + "\n\n"), sseReply("\xef\xbb\xbfid: 1\rdata: " + toolsResult + "\r\r"),
		{404, http.Header{"Content-Type": {"text/plain"}}, toolsResult}, jsonReply("[" + toolsResult + "]"),
		jsonReply(strings.Replace(toolsResult, "tools", "Tools", 1)), jsonReply(strings.Replace(toolsResult, `"name":"wire"`, `"name":"read","Name":"wire"`, 1)),
		{400, http.Header{}, `{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"x"}}`}, sseReply("data: " + toolsResult),
		jsonReply(toolsResult + toolsResult), sseReply("event: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":1,\ndata: \"result\":{\"tools\":[{\"name\":\"wire\"}]}}\n\n"),
		sseReply("event: close\nretry: 5\n\n: x\n\n"), jsonReply(asking(`{"method":"roots/list"}`)),
	} {
		f.Add(uint8(i), in.status, in.header.Get("Content-Type"), []byte(in.body))
	}
	f.Fuzz(func(t *testing.T, kind uint8, status int, contentType string, body []byte) {
		m := []*request{listing(), modernListing(), get("text/event-stream", ""), listing().with(`"id":1`, `"id":"1"`)}[kind%4].message(t, mcp.Options{})
		h := http.Header{}
		if contentType != "" {
			h["Content-Type"] = []string{contentType}
		}
		replies := m.Replies(status, h, bytes.NewReader(body))
		if replies.Mode() == mcp.Passthrough {
			return
		}
		items, _ := collect(replies)
		var shown []byte
		hide := map[string]bool{}
		for _, it := range items {
			if it.Reply != nil {
				for _, i := range it.Reply.Items {
					hide[i.Target.Name] = hide[i.Target.Name] || i.Target.Name != "read"
				}
			}
		}
		var hidden []string
		for name, yes := range hide {
			if yes {
				hidden = append(hidden, name)
			}
		}
		shown = []byte(relayed(items, hidden...))
		for _, name := range seenBy(shown, replies.Stream()) {
			if name != "read" {
				t.Fatalf("a client sees %q in %q, of %q", name, shown, body)
			}
		}
		for _, it := range items {
			if it.Reply != nil && it.Reply.Final && it.Reply.Body != nil && it.Reply.Items == nil && !bytes.Equal(it.With(it.Reply.Body), it.Bytes()) {
				t.Fatalf("replacing a body by itself: %q, want %q", it.With(it.Reply.Body), it.Bytes())
			}
		}
	})
}

func FuzzMatches(f *testing.F) {
	for _, s := range []string{legacyBody, modernBody, `[` + legacyBody + `]`, `{"jsonrpc`, "\xef\xbb\xbf{}", `{"jsonrpc":"2.0","method":"tools\/call"`, `"\`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r := legacy().unset("Mcp-Protocol-Version")
		m, _ := mcp.Decode(&r.Request, body, mcp.Options{})
		if m == nil {
			_ = mcp.Matches(&r.Request, body) // must not panic
			return
		}
		// What the table knows and nobody else has is recognised without headers.
		if c := filled(m); strings.HasPrefix(c.Method, "tools/") && !mcp.Matches(&r.Request, body) {
			t.Fatalf("%q passes as plain HTTP", body)
		}
	})
}
