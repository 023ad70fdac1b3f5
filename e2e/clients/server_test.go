package clients_test

//lint:file-ignore SA1019 roots and sampling are deprecated, and spoken for years to come

import (
	"bytes"
	"context"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// server is the Go SDK's, on all three transports, with a tool for each thing that a server can ask of its client. It keeps
// what reached it.
type server struct {
	stateful, stateless *mcp.Server

	mu   sync.Mutex
	seen []message
}

// message is one that reached the server: its method, with the tool it names, or what it answers.
type message struct {
	transport transport
	what      string
}

func newServer() *server { return &server{stateful: build(asks), stateless: build(needs)} }

// close ends the sessions whose clients went without a word.
func (s *server) close() {
	for session := range s.stateful.Sessions() {
		session.Close()
	}
}

func (s *server) handler() http.Handler {
	options := func(stateless bool) *mcp.StreamableHTTPOptions {
		return &mcp.StreamableHTTPOptions{Stateless: stateless, DisableLocalhostProtection: true}
	}
	handshake := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s.stateful }, options(false))
	perRequest := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s.stateless }, options(true))
	events := mcp.NewSSEHandler(func(*http.Request) *mcp.Server { return s.stateful }, &mcp.SSEOptions{DisableLocalhostProtection: true})
	serve := map[transport]http.Handler{legacy: handshake, modern: perRequest, sse: events}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tr := spoken(r)
		s.note(tr, r)
		serve[tr].ServeHTTP(w, r)
	})
}

func spoken(r *http.Request) transport {
	switch {
	case r.URL.Path == sse.path():
		return sse
	case r.Header.Get("Mcp-Protocol-Version") == versions[modern]:
		return modern
	}
	return legacy
}

// note keeps a message that came.
func (s *server) note(tr transport, r *http.Request) {
	if r.Method != http.MethodPost {
		return
	}
	body, err := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	what := "unreadable"
	if err == nil {
		what = gistOf(body)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = append(s.seen, message{tr, what})
}

func gistOf(body []byte) string {
	var m struct {
		Method string `json:"method"`
		Params struct {
			Name string `json:"name"`
		} `json:"params"`
		Error *struct {
			Code int `json:"code"`
		} `json:"error"`
		Result jsontext.Value `json:"result"`
	}
	switch err := json.Unmarshal(body, &m); {
	case err != nil:
		return "unreadable"
	case m.Error != nil:
		return fmt.Sprintf("error %d", m.Error.Code)
	case m.Method == "":
		return "result " + string(m.Result)
	}
	return strings.TrimSpace(m.Method + " " + m.Params.Name)
}

// messages is what reached the server.
func (s *server) messages() []message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.seen)
}

// build returns a server whose tools ask in the given way.
func build(how func(question) mcp.ToolHandler) *mcp.Server {
	m := mcp.NewServer(&mcp.Implementation{Name: "asking", Version: "1"}, &mcp.ServerOptions{
		Capabilities: &mcp.ServerCapabilities{Tools: &mcp.ToolCapabilities{}, Resources: &mcp.ResourceCapabilities{}},
	})
	add := func(name string, h mcp.ToolHandler) {
		m.AddTool(&mcp.Tool{Name: name, InputSchema: map[string]any{"type": "object"}}, h)
	}
	for _, name := range []string{greet, forbidden, spend} {
		add(name, func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) { return says("hello"), nil })
	}
	for _, q := range questions() {
		add(q.tool, how(q))
	}
	return m
}

// question is what a server can ask of its client: in a request of its own, or in the result of a call that the client then
// repeats with its answer.
type question struct {
	tool string
	ask  func(context.Context, *mcp.ServerSession) (mcp.InputResponse, error)
	need mcp.InputRequest
}

func questions() []question {
	elicitation := &mcp.ElicitParams{Message: "Sure?", RequestedSchema: map[string]any{
		"type": "object", "properties": map[string]any{"sure": map[string]any{"type": "boolean"}},
	}}
	sampling := &mcp.CreateMessageParams{MaxTokens: 10, Messages: []*mcp.SamplingMessage{
		{Role: "user", Content: &mcp.TextContent{Text: "Say yes."}},
	}}
	listing := &mcp.ListRootsParams{}
	return []question{
		{confirm, func(ctx context.Context, s *mcp.ServerSession) (mcp.InputResponse, error) {
			return s.Elicit(ctx, elicitation)
		}, elicitation},
		{think, func(ctx context.Context, s *mcp.ServerSession) (mcp.InputResponse, error) {
			return s.CreateMessage(ctx, sampling)
		}, sampling},
		{locate, func(ctx context.Context, s *mcp.ServerSession) (mcp.InputResponse, error) {
			return s.ListRoots(ctx, listing)
		}, listing},
	}
}

// asks answers with what became of the server's own request. A server that hears nothing at all says so.
func asks(q question) mcp.ToolHandler {
	return func(ctx context.Context, r *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		ctx, cancel := context.WithTimeout(ctx, patience/2)
		defer cancel()
		answer, err := q.ask(ctx, r.Session)
		var rpc *jsonrpc.Error
		switch {
		case errors.As(err, &rpc):
			return says(fmt.Sprintf("error %d %s", rpc.Code, rpc.Message)), nil
		case err != nil:
			return says(err.Error()), nil
		}
		return says(gist(answer)), nil
	}
}

// needs answers with the question first, and then with the client's answer to it.
func needs(q question) mcp.ToolHandler {
	return func(_ context.Context, r *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		if answer, ok := r.Params.InputResponses[q.tool]; ok {
			return says(gist(answer)), nil
		}
		return &mcp.CallToolResult{InputRequests: mcp.InputRequestMap{q.tool: q.need}}, nil
	}
}

// gist is an answer in a word.
func gist(answer mcp.InputResponse) string {
	switch a := answer.(type) {
	case *mcp.ElicitResult:
		return a.Action
	case *mcp.CreateMessageResult:
		return "from " + a.Model
	case *mcp.CreateMessageWithToolsResult:
		return "from " + a.Model
	case *mcp.ListRootsResult:
		return fmt.Sprintf("%d roots", len(a.Roots))
	}
	return fmt.Sprintf("%T", answer)
}

func says(text string) *mcp.CallToolResult {
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: text}}}
}
