package clients_test

import (
	"context"
	"errors"
	"testing"

	mark3labs "github.com/mark3labs/mcp-go/client"
	wire "github.com/mark3labs/mcp-go/client/transport"
	protocol "github.com/mark3labs/mcp-go/mcp"
)

// A client in Go that is not the SDK's: mark3labs/mcp-go.
func TestMCPGo(t *testing.T) {
	c := client{
		note: []string{moved, progress, unheard},
		says: mcpGoWords,
		run:  func(t *testing.T, p plan) []line { return walk(t, p, mcpGo) },
	}
	c.on(t, legacy)

	// It reads the end of a session in the status that the modern form demands for a method that is not there.
	odd := c
	odd.odd = map[string]line{"masked: list " + templates: {
		Error: "transport error: failed to send request: session terminated (404). need to re-initialize",
	}}
	odd.on(t, modern)

	// With events it does not answer anything that a server asks.
	deaf := c
	deaf.skip = func(s session, step step) bool { return s.Name == mute && step.Name != greet }
	deaf.on(t, sse)
}

// mcpGoWords puts an error into its words: it knows some codes, and shows neither the others nor data.
func mcpGoWords(l line) line {
	switch l.Code {
	case -32601:
		l.Error = protocol.ErrMethodNotFound.Error() + ": " + l.Error
	case -32602:
		l.Error = protocol.ErrInvalidParams.Error() + ": " + l.Error
	}
	l.Code, l.Data = 0, ""
	return l
}

func mcpGo(t *testing.T, tr transport, url string, h *hearing) (talker, error) {
	version := versions[tr]
	to, err := mcpGoTransport(tr, url)
	if err != nil {
		return nil, err
	}
	c := mark3labs.NewClient(to,
		mark3labs.WithElicitationHandler(mcpGoHandler{h}), mark3labs.WithSamplingHandler(mcpGoHandler{h}),
		mark3labs.WithRootsHandler(mcpGoHandler{h}), mark3labs.WithProtocolVersion(version))
	t.Cleanup(func() { c.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := c.Start(t.Context()); err != nil {
		return nil, err
	}
	_, err = c.Initialize(ctx, protocol.InitializeRequest{Params: protocol.InitializeParams{
		ProtocolVersion: version, ClientInfo: protocol.Implementation{Name: "e2e", Version: "1"},
	}})
	return mcpGoTalker{c}, err
}

func mcpGoTransport(tr transport, url string) (wire.Interface, error) {
	if tr == sse {
		return wire.NewSSE(url)
	}
	return wire.NewStreamableHTTP(url)
}

// mcpGoHandler answers what a server asks.
type mcpGoHandler struct{ h *hearing }

func (m mcpGoHandler) Elicit(context.Context, protocol.ElicitationRequest) (*protocol.ElicitationResult, error) {
	m.h.hear("elicitation/create")
	return &protocol.ElicitationResult{ElicitationResponse: protocol.ElicitationResponse{
		Action: protocol.ElicitationResponseActionAccept, Content: map[string]any{"sure": true},
	}}, nil
}

func (m mcpGoHandler) CreateMessage(context.Context, protocol.CreateMessageRequest) (*protocol.CreateMessageResult, error) {
	m.h.hear("sampling/createMessage")
	return &protocol.CreateMessageResult{Model: "m", SamplingMessage: protocol.SamplingMessage{
		Role: protocol.RoleAssistant, Content: protocol.NewTextContent("yes"),
	}}, nil
}

func (m mcpGoHandler) ListRoots(context.Context, protocol.ListRootsRequest) (*protocol.ListRootsResult, error) {
	m.h.hear("roots/list")
	return &protocol.ListRootsResult{Roots: []protocol.Root{{URI: "file:///tmp"}}}, nil
}

// mcpGoTalker is a session of this client.
type mcpGoTalker struct{ client *mark3labs.Client }

func (m mcpGoTalker) call(ctx context.Context, tool string) line {
	r, err := m.client.CallTool(ctx, protocol.CallToolRequest{Params: protocol.CallToolParams{Name: tool}})
	if err != nil {
		return mcpGoFailure(err)
	}
	return line{Text: r.Content[0].(protocol.TextContent).Text, Failed: r.IsError}
}

func (m mcpGoTalker) list(ctx context.Context, _ string) line {
	if _, err := m.client.ListResourceTemplates(ctx, protocol.ListResourceTemplatesRequest{}); err != nil {
		return mcpGoFailure(err)
	}
	return line{Text: "listed"}
}

func (m mcpGoTalker) notify(ctx context.Context, method string) line {
	n := protocol.JSONRPCNotification{JSONRPC: "2.0", Notification: protocol.Notification{Method: method}}
	if method == progress {
		n.Params.AdditionalFields = map[string]any{"progressToken": "t", "progress": 1}
	}
	if err := m.client.GetTransport().SendNotification(ctx, n); err != nil {
		return line{Broken: err.Error()}
	}
	return line{Text: "sent"}
}

func mcpGoFailure(err error) line {
	if errors.Is(err, context.DeadlineExceeded) {
		return line{Broken: err.Error()}
	}
	return line{Error: err.Error()}
}
