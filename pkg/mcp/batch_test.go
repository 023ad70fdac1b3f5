package mcp_test

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/mcp"
)

// batched is a batch of the one revision that has them.
func batched(texts ...string) *request {
	r := legacy().set("Mcp-Protocol-Version", "2025-03-26")
	r.body = "[" + strings.Join(texts, ",") + "]"
	return r
}

const (
	partRead  = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","arguments":{"path":"a"}}}`
	partList  = `{"jsonrpc":"2.0","id":2,"method":"tools/list"}`
	partNote  = `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}}`
	partReply = `{"jsonrpc":"2.0","id":1,"result":{"roots":[]}}`
)

// What is refused in a batch is refused whole, under one form: nobody can tell which of its errors a client would look at.
func TestBatchRefused(t *testing.T) {
	many := slices.Repeat([]string{partNote}, 65)
	for _, tt := range []struct {
		name string
		r    *request
		rpc  int
		code call.Code
	}{
		{"013_70_2025-06-18", batched(partRead).set("Mcp-Protocol-Version", "2025-06-18"), -32600, call.Malformed},
		{"013_70_2024-11-05", batched(partRead).set("Mcp-Protocol-Version", "2024-11-05"), -32600, call.Malformed},
		{"013_90_modern", modern().with(modernBody, "["+modernBody+"]"), -32600, call.Malformed},
		{"013_89_unknown_revision", batched(partRead).set("Mcp-Protocol-Version", "zzz"), -32022, call.UnsupportedVersion},
		{"013_70_one_malformed", batched(partRead, `{"jsonrpc":"1.0","id":2,"method":"ping"}`), -32600, call.Malformed},
		{"013_70_one_unknown_method", batched(partRead, `{"jsonrpc":"2.0","id":2,"method":"x/y"}`), -32600, call.EntitlementDenied},
		{"013_70_one_without_a_name", batched(partNote, `{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{}}`), -32600, call.Malformed},
		{"013_70_one_unknown_notification", batched(partRead, `{"jsonrpc":"2.0","method":"notifications/x"}`), -32600, call.EntitlementDenied},
		{"013_70_one_twin", batched(strings.Replace(partRead, `"name"`, `"Name":"x","name"`, 1)), -32600, call.Ambiguous},
		{"013_70_one_modern", batched(modernBody), -32600, call.Ambiguous},
		{"013_70_nested", batched(partRead, "["+partList+"]"), -32600, call.Malformed},
		{"013_70_no_object", batched(partRead, "1"), -32600, call.Malformed},
		{"013_70_ids_twice", batched(partRead, strings.Replace(partList, `"id":2`, `"id":1`, 1)), -32600, call.Ambiguous},
		{"013_70_ids_twice_spelled_differently", batched(`{"jsonrpc":"2.0","id":"a","method":"ping"}`, `{"jsonrpc":"2.0","id":"\u0061","method":"ping"}`), -32600, call.Ambiguous},
		{"013_70_answers_twice", batched(partReply, partReply), -32600, call.Ambiguous},
		{"013_70_65_messages", batched(many...), -32600, call.TooLarge},
		{"013_70_bytes_after", batched(partRead).with(`}]`, `}]}`), -32700, call.Malformed},
		{"013_70_truncated", batched(partRead).with(`}]`, `}`), -32700, call.Malformed},
		{"013_70_duplicate_member", batched(strings.Replace(partRead, `"id":1`, `"id":1,"id":2`, 1)), -32600, call.Ambiguous},
		{"013_70_mirror_of_one_only", batched(partRead, partList).set("Mcp-Method", "tools/call"), -32600, call.Ambiguous},
		{"013_68_subscription_to_several", batched(`{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{"notifications":{"taskIds":["a","b"]}}}`), -32600, call.Malformed},
		{"013_71_empty", batched(), -32600, call.Malformed},
		{"013_72_initialize", batched(partRead, `{"jsonrpc":"2.0","id":2,"method":"initialize","params":{}}`), -32600, call.Malformed},
	} {
		m, r := tt.r.decode(mcp.Options{Batches: true})
		if m != nil {
			t.Errorf("%s: accepted", tt.name)
			continue
		}
		id, rpc, _, _ := errorOf(t, r.Body)
		if r.Status != 400 || rpc != tt.rpc || r.Code != tt.code || id != "" {
			t.Errorf("%s: %d %s (%s), want 400, %d without id, %s", tt.name, r.Status, r.Body, r.Code, tt.rpc, tt.code)
		}
	}
	if _, r := batched(partRead, partList).decode(mcp.Options{}); r == nil {
		t.Error("013_70: a batch passes although nobody opted in")
	}
}

func TestBatchParts(t *testing.T) {
	r := batched(" "+partRead+" ", partNote, partReply, partList).set("Mcp-Session-Id", "s")
	m := r.message(t, mcp.Options{Batches: true})
	whole := filled(m)
	if whole.Method != "batch" || whole.Intent != call.Plumbing || whole.Target != (call.Target{}) || whole.Version != "2025-03-26" || whole.Session != "s" {
		t.Errorf("the whole is %+v", *whole)
	}
	if m.Opens() || m.Ends() || m.Listens() || m.Wants() != nil {
		t.Error("a batch is taken for something else")
	}
	var got []string
	for _, part := range m.Parts() {
		c := filled(part)
		got = append(got, fmt.Sprint(c.Method, " ", c.Target.Name, " ", c.Session, " ", part.Parts() == nil))
	}
	want := []string{"tools/call read s true", "notifications/progress  s true", "response  s true", "tools/list  s true"}
	if !slices.Equal(got, want) {
		t.Errorf("parts %q, want %q", got, want)
	}
	if string(m.Encode(nil)) != r.body {
		t.Errorf("forwarded %s, want the bytes as they came", m.Encode(nil))
	}
	m.Parts()[0].Rewrite([]byte(`{"path":"b"}`))
	if want := strings.Replace(r.body, `{"path":"a"}`, `{"path":"b"}`, 1); string(m.Encode(nil)) != want {
		t.Errorf("forwarded %s, want %s", m.Encode(nil), want)
	}
	if legacy().message(t, mcp.Options{Batches: true}).Parts() != nil {
		t.Error("a message alone has parts")
	}
}

// A refusal of any kind answers each request of a batch with its own id, and nothing else of it.
func TestBatchAnswered(t *testing.T) {
	both := func(code int, first, second string) string {
		return fmt.Sprintf(`[{"jsonrpc":"2.0","id":1,"error":{"code":%d,"message":%q}},{"jsonrpc":"2.0","id":2,"error":{"code":%d,"message":%q}}]`, code, first, code, second)
	}
	m := batched(partRead, partNote, partReply, partList).message(t, mcp.Options{Batches: true})
	mixed := `[{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"Unknown tool: read"}},{"jsonrpc":"2.0","id":2,"error":{"code":-32601,"message":"Method not found"}}]`
	for _, tt := range []struct {
		name   string
		got    *mcp.Response
		status int
		body   string
	}{
		{"denied", m.Deny(mcp.Denial{Code: call.EntitlementDenied}), 200, mixed},
		{"unauthenticated", m.Deny(mcp.Denial{Code: call.TokenInvalid}), 401, ""},
		{"unavailable", m.Unavailable(504), 504, both(-32603, "The server is not available", "The server is not available")},
		{"faulty", m.Faulty(), 200, both(-32603, "The server's answer could not be read", "The server's answer could not be read")},
	} {
		if tt.got.Status != tt.status || tt.body != "" && string(tt.got.Body) != tt.body {
			t.Errorf("%s: %d %s, want %d %s", tt.name, tt.got.Status, tt.got.Body, tt.status, tt.body)
		}
	}
	silent := batched(partNote, partReply).message(t, mcp.Options{Batches: true})
	if r := silent.Deny(mcp.Denial{Code: call.EntitlementDenied}); r.Status != 202 || len(r.Body) > 0 {
		t.Errorf("nobody waits: %d %s, want 202", r.Status, r.Body)
	}
	events := batched(partRead, partList).set("Accept", "text/event-stream").message(t, mcp.Options{Batches: true})
	if r := events.Deny(mcp.Denial{Code: call.EntitlementDenied}); string(r.Body) != "data: "+mixed+"\n\n" {
		t.Errorf("as an event: %q", r.Body)
	}
}

func response(id int) string { return fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"result":{}}`, id) }

// What a server answers to a batch of the requests 1 and 2.
func TestBatchReplies(t *testing.T) {
	one, two := response(1), strings.Replace(toolsResult, `"id":1`, `"id":2`, 1)
	shown := strings.Replace(two, `,{"name":"wire"}`, "", 1)
	note := `{"jsonrpc":"2.0","method":"notifications/message","params":{}}`
	for _, tt := range []struct {
		name  string
		in    reply
		out   string
		fault string
	}{
		{"array", jsonReply("[" + one + "," + two + "]"), "[" + one + "," + shown + "]", ""},
		{"other_order", jsonReply("[" + two + "," + one + "]"), "[" + shown + "," + one + "]", ""},
		{"untouched_bytes_stay", jsonReply("[ " + one + " ,\n " + response(2) + "]\n"), "[ " + one + " ,\n " + response(2) + "]\n", ""},
		{"one_as_an_object", jsonReply(two), shown, ""},
		{"one_missing", jsonReply("[" + two + "]"), "[" + shown + "]", ""},
		{"under_400", reply{400, http.Header{}, "[" + two + "]"}, "[" + shown + "]", ""},
		{"error_without_id_under_400", reply{400, http.Header{}, `{"jsonrpc":"2.0","error":{"code":-32600,"message":"x"}}`}, `{"jsonrpc":"2.0","error":{"code":-32600,"message":"x"}}`, ""},
		{"013_54_empty", jsonReply("[]"), "", "an empty array"},
		{"013_52_to_no_part", jsonReply("[" + one + "," + response(3) + "]"), "", "a response to another id"},
		{"013_52_of_another_type", jsonReply(`[{"jsonrpc":"2.0","id":"1","result":{}}]`), "", "a response to another id"},
		{"013_52_no_id", jsonReply(`[{"jsonrpc":"2.0","error":{"code":1,"message":"x"}}]`), "", "a response to another id"},
		{"twice", jsonReply("[" + one + "," + one + "]"), "", "a second response to one request"},
		{"013_54_nested", jsonReply("[[" + one + "]]"), "", "not one JSON object"},
		{"note_in_json", jsonReply("[" + note + "," + one + "]"), "", "not a response"},
		{"bytes_after", jsonReply("[" + one + "]]"), "", "invalid character ']' at start of value at byte 38"},
		{"twin", jsonReply("[" + strings.Replace(two, "tools", "Tools", 1) + "]"), "", "a result member differs from tools by case only"},

		{"events", sseReply("data: " + one + "\n\ndata: " + two + "\n\n"), "data: " + one + "\n\ndata: " + shown + "\n\n", ""},
		{"array_event", sseReply("id: 1\ndata: [" + note + "," + two + "]\n\n"), "id: 1\ndata: [" + note + "," + shown + "]\n\n", ""},
		{"array_over_lines", sseReply("data: [" + one + ",\ndata: " + two + "]\n\n"), "data: [" + one + "," + shown + "]\n\n", ""},
		{"unknown_notification_dropped", sseReply(`data: [{"jsonrpc":"2.0","method":"notifications/x"},` + one + "]\n\n"), "data: [" + one + "]\n\n", ""},
		{"nothing_left", sseReply(`data: [{"jsonrpc":"2.0","method":"notifications/x"}]` + "\n\n"), "", ""},
		{"nothing_left_but_the_id", sseReply("id: 7\nretry: 5\n" + `data: [{"jsonrpc":"2.0","method":"notifications/x"}]` + "\n\n"), "id: 7\nretry: 5\n\n", ""},
		{"twice_over_events", sseReply("data: " + one + "\n\ndata: [" + one + "]\n\n"), "data: " + one + "\n\n", "a second response to one request"},
		{"unknown_request", sseReply(`data: [{"jsonrpc":"2.0","id":1,"method":"x/y"}]` + "\n\n"), "", "a request from the server that is not in the table"},
		{"cut_off", sseReply("data: [" + one), "", ""},
		{"013_104_unterminated", sseReply("data: [" + two + "]"), "data: [" + shown + "]\n\n", ""},
	} {
		m := batched(partRead, partList).message(t, mcp.Options{Batches: true})
		items, err := collect(tt.in.to(m))
		if got := relayed(items, "wire"); got != tt.out {
			t.Errorf("%s: relayed %q, want %q", tt.name, got, tt.out)
		}
		if want := "mcp: faulty answer: " + tt.fault; (err != nil || tt.fault != "") && fmt.Sprint(err) != want {
			t.Errorf("%s: %v, want %s", tt.name, err, want)
		}
	}
}

// Each element says which of the requests it answers; what the server asks and tells answers none.
func TestBatchRequests(t *testing.T) {
	m := batched(partRead, partNote, partList).message(t, mcp.Options{Batches: true})
	text := `[{"jsonrpc":"2.0","method":"notifications/message"},{"jsonrpc":"2.0","id":2,"method":"roots/list"},` + response(2) + "," + response(1) + "]"
	items, err := collect(sseReply("data: " + text + "\n\n").to(m))
	if err != nil || len(items) != 1 || len(items[0].Batch()) != 4 || items[0].Request() != nil {
		t.Fatalf("%d items, %v; want one array of four", len(items), err)
	}
	want := []*mcp.Message{nil, nil, m.Parts()[2], m.Parts()[0]}
	for i, element := range items[0].Batch() {
		if element.Request() != want[i] || element.Batch() != nil {
			t.Errorf("element %d answers %v, want %v", i, element.Request(), want[i])
		}
	}
	asked := items[0].Batch()[1]
	if got := string(asked.Answer()); got != `{"jsonrpc":"2.0","id":2,"error":{"code":-32601,"message":"Method not found"}}` {
		t.Errorf("a refused request is answered with %s", got)
	}
	last := items[0].Batch()[3]
	if got := string(last.With([]byte(`{"m":1}`))); got != `{"jsonrpc":"2.0","id":1,"result":{"m":1}}` {
		t.Errorf("rewritten: %s", got)
	}
	joined := items[0].Join([][]byte{nil, nil, []byte(response(2)), last.With([]byte(`{"m":1}`))})
	if got := string(joined); got != "data: ["+response(2)+`,{"jsonrpc":"2.0","id":1,"result":{"m":1}}]`+"\n\n" {
		t.Errorf("joined: %q", got)
	}
	if got := items[0].Join(make([][]byte, 4)); got != nil {
		t.Errorf("nothing is left: %q", got)
	}
	alone := legacy().message(t, mcp.Options{})
	items, err = collect(jsonReply(emptyResult).to(alone))
	if err != nil || items[0].Request() != alone || items[0].Batch() != nil {
		t.Errorf("a message alone: %v, %v", items[0].Request(), err)
	}
}

// An answer that ends early ends for each request that has none yet.
func TestBatchCut(t *testing.T) {
	m := batched(partRead, partNote, partList).message(t, mcp.Options{Batches: true})
	stream := sseReply("data: " + response(1) + "\n\ndata: [" + response(3) + "]\n\n").to(m)
	if _, err := collect(stream); err == nil {
		t.Fatal("an answer to nobody is accepted")
	}
	fault := `{"jsonrpc":"2.0","id":2,"error":{"code":-32603,"message":"The server's answer could not be read"}}`
	if got, want := string(m.Cut(stream, mcp.Denial{Code: call.UpstreamUnavailable})), "data: "+fault+"\n\n"; got != want {
		t.Errorf("cut with %q, want %q", got, want)
	}
	whole := jsonReply("x").to(m)
	if got := m.Cut(whole, mcp.Denial{Code: call.EntitlementDenied}); !bytes.HasPrefix(got, []byte(`[{"jsonrpc":"2.0","id":1,`)) || bytes.Count(got, []byte("error")) != 2 {
		t.Errorf("cut with %s, want an array of two", got)
	}
	silent := batched(partNote).message(t, mcp.Options{Batches: true})
	if got := silent.Cut(jsonReply("x").to(silent), mcp.Denial{Code: call.EntitlementDenied}); got != nil {
		t.Errorf("nobody waits, but is told %s", got)
	}
}

// 013_54: nobody who sent one message reads an array, whether or not arrays are read here.
func TestArrayToOne(t *testing.T) {
	for _, in := range []reply{jsonReply("[" + emptyResult + "]"), sseReply("data: [" + emptyResult + "]\n\n")} {
		for _, r := range []*request{legacy(), legacy().set("Mcp-Protocol-Version", "2025-03-26"), get("text/event-stream", "")} {
			if in.header.Get("Content-Type") == "application/json" && r.Method == "GET" {
				continue
			}
			if _, err := collect(in.to(r.message(t, mcp.Options{Batches: true}))); err == nil {
				t.Errorf("%s %q passes", r.Method, in.body)
			}
		}
	}
}

// What no client knows is in no form of an array that we write.
func TestBatchDropped(t *testing.T) {
	m := batched(partRead).message(t, mcp.Options{Batches: true})
	items, err := collect(sseReply(`data: [{"jsonrpc":"2.0","method":"notifications/x"},` + response(1) + "]\n\n").to(m))
	if err != nil || len(items) != 1 {
		t.Fatalf("%d items, %v", len(items), err)
	}
	if got, want := string(items[0].Bytes()), "data: ["+response(1)+"]\n\n"; got != want {
		t.Errorf("written %q, want %q", got, want)
	}
}
