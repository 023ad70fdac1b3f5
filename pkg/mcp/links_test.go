package mcp_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/mcp"
)

// Where a result points to a resource, whichever method delivers it.
func TestLinks(t *testing.T) {
	result := func(members string) reply { return jsonReply(`{"jsonrpc":"2.0","id":1,"result":{` + members + `}}`) }
	link := `{"type":"resource_link","uri":"https://a/b","name":"n"}`
	task := legacy().asks("tasks/result", `{"taskId":"t"}`)
	prompt := legacy().asks("prompts/get", `{"name":"p"}`)
	for _, tt := range []struct {
		name  string
		r     *request
		in    reply
		links []string
		fault string
	}{
		{"tool", legacy(), result(`"content":[{"type":"text","text":"x"},` + link + `,{"type":"later","uri":"no"}]`), []string{"https://a/b"}, ""},
		{"tool_error", legacy(), result(`"isError":true,"content":[` + link + `]`), []string{"https://a/b"}, ""},
		{"modern_tool", modern(), result(`"resultType":"complete","content":[` + link + `,` + link + `]`), []string{"https://a/b", "https://a/b"}, ""},
		{"prompt", prompt, result(`"messages":[{"role":"user","content":` + link + `},{"role":"user","content":{"type":"text","text":""}}]`), []string{"https://a/b"}, ""},
		{"prompt_of_several_blocks", prompt, result(`"messages":[{"role":"user","content":[` + link + `]}]`), []string{"https://a/b"}, ""},
		{"task", task, result(`"content":[` + link + `]`), []string{"https://a/b"}, ""},
		{"on_a_resumed_stream", get("text/event-stream", ""), sseReply(`data: {"jsonrpc":"2.0","id":9,"result":{"content":[` + link + `]}}` + "\n\n"), []string{"https://a/b"}, ""},
		{"spelled_with_escapes", legacy(), result(`"cont\u0065nt":[{"type":"resource\u005flink","uri":"\u0068ttps://a"}]`), []string{"https://a"}, ""},
		{"carried", legacy(), result(`"content":[{"type":"resource","resource":{"uri":"https://a"}}]`), nil, ""},
		{"uri_no_string", legacy(), result(`"content":[{"type":"resource_link","uri":1}]`), nil, ""},
		{"no_blocks", legacy(), result(`"content":"x","messages":{}`), nil, ""},
		{"content_in_another_case", legacy(), result(`"content":[],"Content":[` + link + `]`), nil, "a result member differs from a known one by case only"},
		{"messages_in_another_case", prompt, result(`"MESSAGES":[]`), nil, "a result member differs from a known one by case only"},
		{"content_of_a_message_in_another_case", prompt, result(`"messages":[{"Content":` + link + `}]`), nil, "a member of a message differs from content by case only"},
		{"type_in_another_case", legacy(), result(`"content":[{"type":"text","Type":"resource_link","uri":"a:"}]`), nil, "a member of a content block differs from a known one by case only"},
		{"uri_in_another_case", legacy(), result(`"content":[{"type":"resource_link","uri":"a:","URI":"b:"}]`), nil, "a member of a content block differs from a known one by case only"},
		{"nul_behind_the_type", legacy(), result(`"content":[{"type":"resource_link\u0000","uri":"a:"}]`), nil, "NUL in the type of a content block"},
		{"another_member_of_a_text", legacy(), result(`"content":[{"type":"text","URI":"b:"}]`), nil, ""},
		{"finished_task", modern().asks("tasks/get", `{"taskId":"t"}`).set("Mcp-Name", "t"), result(`"taskId":"t","status":"completed","result":{"content":[` + link + `]}`), []string{"https://a/b"}, ""},
		{"finished_task_in_another_case", modern().asks("tasks/get", `{"taskId":"t"}`).set("Mcp-Name", "t"), result(`"taskId":"t","Result":{}`), nil, "a task with a member that differs from a known one by case only"},
		{"result_within_a_result", modern(), result(`"result":{"content":[` + link + `]}`), nil, ""},
	} {
		items, err := collect(tt.in.to(tt.r.message(t, mcp.Options{})))
		if want := "mcp: faulty answer: " + tt.fault; tt.fault != "" || err != nil {
			if fmt.Sprint(err) != want {
				t.Errorf("%s: %v, want %s", tt.name, err, want)
			}
			continue
		}
		var got []string
		for _, l := range items[0].Reply.Links {
			got = append(got, l.URI)
		}
		if !slices.Equal(got, tt.links) {
			t.Errorf("%s: links to %q, want %q", tt.name, got, tt.links)
		}
	}
}

func sentAway(code, data string) string {
	return `{"jsonrpc":"2.0","id":1,"error":{"code":` + code + `,"message":"m"` + data + `}}`
}

// 013_112: each elicitation that an error names is a request of the server's.
func TestElicitationErrors(t *testing.T) {
	one := `{"mode":"url","url":"https://a/","elicitationId":"e"}`
	list := func(elements string) string { return sentAway("-32042", `,"data":{"elicitations":[`+elements+`]}`) }
	for _, tt := range []struct {
		name, in string
		asks     int
		fault    string
	}{
		{"013_112_two", list(one + "," + one), 2, ""},
		{"013_112_none", list(""), 0, ""},
		{"013_112_no_data", sentAway("-32042", ""), 0, ""},
		{"013_112_other_data", sentAway("-32042", `,"data":{"x":1}`), 0, ""},
		{"013_112_another_code", sentAway("-32041", `,"data":{"elicitations":[`+one+`]}`), 0, ""},
		{"013_112_data_no_object", sentAway("-32042", `,"data":[]`), 0, "the data of an elicitation error is not an object"},
		{"013_112_data_null", sentAway("-32042", `,"data":null`), 0, "the data of an elicitation error is not an object"},
		{"013_112_no_array", sentAway("-32042", `,"data":{"elicitations":{"0":`+one+`}}`), 0, "elicitations is not an array"},
		{"013_112_no_object", list(one + `,"https://a/"`), 0, "an elicitation that is not an object"},
		{"013_112_url_twice", list(`{"url":"https://a/","URL":"https://b/"}`), 0, "a member of an elicitation differs from a known one by case only"},
		{"013_112_list_in_another_case", sentAway("-32042", `,"data":{"Elicitations":[`+one+`]}`), 0, "a member differs from elicitations by case only"},
		{"013_112_duplicate", list(`{"url":"https://a/","url":"https://b/"}`), 0, "duplicate member name"},
	} {
		for _, in := range []reply{jsonReply(tt.in), sseReply("data: " + tt.in + "\n\n"), {400, jsonReply("").header, tt.in}} {
			for _, r := range []*request{legacy(), modern()} {
				items, err := collect(in.to(r.message(t, mcp.Options{})))
				if want := "mcp: faulty answer: " + tt.fault; tt.fault != "" || err != nil {
					if fmt.Sprint(err) != want {
						t.Errorf("%s: %v, want %s", tt.name, err, want)
					}
					continue
				}
				asks := items[0].Reply.Asks
				if len(asks) != tt.asks {
					t.Errorf("%s: %d asks, want %d", tt.name, len(asks), tt.asks)
				}
				for _, c := range asks {
					if c.Method != "elicitation/create" || c.Direction != call.ToClient || string(c.Arguments) != one || c.Intent != call.Use {
						t.Errorf("%s: asks %+v", tt.name, *c)
					}
				}
			}
		}
	}
}

// Some clients deliver an error without an id to whoever waits: it sends a person away all the same.
func TestElicitationErrorToNobody(t *testing.T) {
	data := `,"data":{"elicitations":[{"mode":"url","url":"https://a/"}]}`
	without := strings.Replace(sentAway("-32042", data), `"id":1,`, "", 1)
	items, err := collect(reply{403, jsonReply("").header, without}.to(legacy().message(t, mcp.Options{})))
	if err != nil || len(items) != 1 || items[0].Reply == nil || len(items[0].Reply.Asks) != 1 {
		t.Errorf("without an id: %v, want one ask", err)
	}
	for _, code := range []string{"-32042", "-32042.0", "-3.2042e4"} {
		text := strings.Replace(sentAway(code, data), `"id":1`, `"id":null`, 1)
		if _, err := collect(reply{403, jsonReply("").header, text}.to(legacy().message(t, mcp.Options{}))); err == nil {
			t.Errorf("%s passes unread", text)
		}
	}
}

// A list of a modern server is shared unless it says otherwise; what is cut of it is not.
func TestShared(t *testing.T) {
	directory := modern().asks("resources/directory/read", `{"uri":"a:b"}`)
	for _, tt := range []struct {
		name   string
		r      *request
		scope  string
		shared bool
		cut    string
	}{
		{"public", modernListing(), `,"cacheScope":"public"`, true, `,"cacheScope":"private"`},
		{"private", modernListing(), `,"cacheScope":"private"`, false, `,"cacheScope":"private"`},
		{"unsaid", modernListing(), ``, true, `,"cacheScope":"private"`},
		{"no_string", modernListing(), `,"cacheScope":1`, true, `,"cacheScope":"private"`},
		{"legacy", listing(), `,"cacheScope":"public"`, false, `,"cacheScope":"public"`},
		{"directory", directory, ``, false, ``},
		{"directory_with_a_scope", directory, `,"cacheScope":"public"`, true, `,"cacheScope":"private"`},
	} {
		member, name := "tools", "name"
		if tt.r == directory {
			member, name = "resources", "uri"
		}
		text := func(entries, scope string) string {
			return fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"result":{%q:[%s]%s}}`, member, entries, scope)
		}
		items, err := collect(jsonReply(text(fmt.Sprintf(`{%q:"wire"}`, name), tt.scope)).to(tt.r.message(t, mcp.Options{})))
		if err != nil {
			t.Fatal(err)
		}
		if items[0].Reply.Shared != tt.shared {
			t.Errorf("%s: shared %t, want %t", tt.name, !tt.shared, tt.shared)
		}
		if got, want := relayed(items, "wire"), text("", tt.cut); got != want {
			t.Errorf("%s: cut to %s, want %s", tt.name, got, want)
		}
	}
	if _, err := collect(jsonReply(`{"jsonrpc":"2.0","id":1,"result":{"tools":[],"CacheScope":"public"}}`).to(modernListing().message(t, mcp.Options{}))); err == nil {
		t.Error("two scopes pass")
	}
}
