package mcp_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/mcp"
)

// request is an exchange under construction: a legacy or modern tools/call that a test spoils in one place.
type request struct {
	call.Request
	body string
}

const (
	legacyBody = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","arguments":{"path":"a"}}}`
	modernMeta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}`
	modernBody = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{` + modernMeta + `,"name":"read","arguments":{"path":"a"}}}`
)

func legacy() *request {
	return &request{
		Request: call.Request{Method: "POST", Host: "company-mcp:3000", Path: "/mcp", Header: http.Header{
			"Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"}, "Mcp-Protocol-Version": {"2025-06-18"},
		}},
		body: legacyBody,
	}
}

func modern() *request {
	r := legacy()
	r.body = modernBody
	r.Header["Mcp-Protocol-Version"] = []string{"2026-07-28"}
	r.Header["Mcp-Method"] = []string{"tools/call"}
	r.Header["Mcp-Name"] = []string{"read"}
	return r
}

// asks makes it a request of another method; a modern one with its metadata and mirrors.
func (r *request) asks(method, params string) *request {
	if r.Header.Get("Mcp-Method") != "" {
		r.set("Mcp-Method", method).unset("Mcp-Name")
		if rest := strings.TrimPrefix(params, "{"); rest == "}" {
			params = "{" + modernMeta + "}"
		} else {
			params = "{" + modernMeta + "," + rest
		}
	}
	r.body = fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":%q,"params":%s}`, method, params)
	return r
}

func (r *request) with(old, text string) *request {
	if !strings.Contains(r.body, old) {
		panic("nothing to replace: " + old)
	}
	r.body = strings.Replace(r.body, old, text, 1)
	return r
}

func (r *request) set(name string, lines ...string) *request {
	r.Header[name] = lines
	return r
}

func (r *request) unset(name string) *request {
	delete(r.Header, name)
	return r
}

func (r *request) as(method string) *request {
	r.Method, r.body = method, ""
	r.unset("Content-Type")
	return r
}

func (r *request) decode(o mcp.Options) (*mcp.Message, *mcp.Response) {
	return mcp.Decode(&r.Request, []byte(r.body), o)
}

func (r *request) message(t *testing.T, o mcp.Options) *mcp.Message {
	t.Helper()
	m, refusal := r.decode(o)
	if refusal != nil {
		t.Fatalf("refused: %d %s %s (%s)", refusal.Status, refusal.Body, refusal.Code, refusal.Reason)
	}
	return m
}

func filled(m *mcp.Message) *call.Call {
	c := &call.Call{}
	m.Fill(c)
	return c
}

// reply is an upstream's answer.
type reply struct {
	status int
	header http.Header
	body   string
}

func jsonReply(body string) reply {
	return reply{200, http.Header{"Content-Type": {"application/json"}}, body}
}

func sseReply(body string) reply {
	return reply{200, http.Header{"Content-Type": {"text/event-stream"}}, body}
}

func (r reply) to(m *mcp.Message) *mcp.Replies {
	return m.Replies(r.status, r.header, strings.NewReader(r.body))
}

// collect reads an answer to its end.
func collect(r *mcp.Replies) (items []*mcp.Item, err error) {
	for it, err := range r.All() {
		if err != nil {
			return items, err
		}
		items = append(items, it)
	}
	return items, nil
}

// relayed is what a client would see if every item were written as it is, or cut of the names in hidden.
func relayed(items []*mcp.Item, hidden ...string) string {
	var b strings.Builder
	for _, it := range items {
		b.Write(cut(it, hidden))
	}
	return b.String()
}

func cut(it *mcp.Item, hidden []string) []byte {
	if it.Batch() != nil {
		var texts [][]byte
		for _, element := range it.Batch() {
			texts = append(texts, cut(element, hidden))
		}
		return it.Join(texts)
	}
	if it.Reply == nil || it.Reply.Items == nil {
		return it.Bytes()
	}
	body, n := it.Reply.Without(func(i call.Item) bool {
		for _, name := range hidden {
			if i.Target.Name == name {
				return true
			}
		}
		return false
	})
	if n == 0 {
		return it.Bytes()
	}
	return it.With(body)
}
