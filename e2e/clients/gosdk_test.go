package clients_test

//lint:file-ignore SA1019 roots and sampling are deprecated, and spoken for years to come

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// The official SDK for Go.
func TestGoSDK(t *testing.T) {
	c := client{note: []string{moved, progress}, run: func(t *testing.T, p plan) []line { return walk(t, p, goSDK) }}
	c.on(t, legacy, modern, sse)
}

func goSDK(t *testing.T, tr transport, url string, h *hearing) (talker, error) {
	web := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(web.CloseIdleConnections)
	if tr == sse {
		return goClient(t, &mcp.SSEClientTransport{Endpoint: url, HTTPClient: web}, versions[tr], h)
	}
	return goClient(t, &mcp.StreamableClientTransport{Endpoint: url, HTTPClient: web}, versions[tr], h)
}

// goTalker is a session of the SDK's client.
type goTalker struct {
	client  *mcp.Client
	session *mcp.ClientSession
}

func goClient(t *testing.T, tr mcp.Transport, version string, h *hearing) (talker, error) {
	c := mcp.NewClient(&mcp.Implementation{Name: "e2e", Version: "1"}, &mcp.ClientOptions{
		Capabilities: &mcp.ClientCapabilities{RootsV2: &mcp.RootCapabilities{ListChanged: true}},
		ElicitationHandler: func(context.Context, *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			h.hear("elicitation/create")
			return &mcp.ElicitResult{Action: "accept", Content: map[string]any{"sure": true}}, nil
		},
		CreateMessageHandler: func(context.Context, *mcp.CreateMessageRequest) (*mcp.CreateMessageResult, error) {
			h.hear("sampling/createMessage")
			return &mcp.CreateMessageResult{Model: "m", Role: "assistant", Content: &mcp.TextContent{Text: "yes"}}, nil
		},
	})
	c.AddReceivingMiddleware(func(next mcp.MethodHandler) mcp.MethodHandler {
		return func(ctx context.Context, method string, r mcp.Request) (mcp.Result, error) {
			if method == "roots/list" {
				h.hear(method)
			}
			return next(ctx, method, r)
		}
	})
	s, err := c.Connect(t.Context(), tr, &mcp.ClientSessionOptions{ProtocolVersion: version})
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { s.Close() })
	return &goTalker{c, s}, nil
}

func (g *goTalker) call(ctx context.Context, tool string) line {
	r, err := g.session.CallTool(ctx, &mcp.CallToolParams{Name: tool})
	if err != nil {
		return goFailure(err)
	}
	return line{Text: r.Content[0].(*mcp.TextContent).Text, Failed: r.IsError}
}

func (g *goTalker) list(ctx context.Context, _ string) line {
	if _, err := g.session.ListResourceTemplates(ctx, nil); err != nil {
		return goFailure(err)
	}
	return line{Text: "listed"}
}

// notify sends by the client's public methods. The one for roots does not report errors: a session that did not survive shows
// in the call that follows.
func (g *goTalker) notify(ctx context.Context, method string) line {
	if method == moved {
		g.client.AddRoots(&mcp.Root{URI: "file:///tmp"})
		return line{Text: "sent"}
	}
	if err := g.session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: "t", Progress: 1}); err != nil {
		return goFailure(err)
	}
	return line{Text: "sent"}
}

func goFailure(err error) line {
	var rpc *jsonrpc.Error
	if !errors.As(err, &rpc) {
		return line{Broken: err.Error()}
	}
	return line{Code: int(rpc.Code), Error: rpc.Message, Data: string(rpc.Data)}
}
