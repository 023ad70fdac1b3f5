package mcp_test

import (
	"context"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// What a server says of its own accord arrives: on the stream that stands beside the calls in the legacy form, on the one a
// subscription opens in the modern one.
func TestServerSpeaksFirst(t *testing.T) {
	forms(t, func(t *testing.T, version string) {
		server := mcp.NewServer(&mcp.Implementation{Name: "growing", Version: "1"}, nil)
		nothing := func(context.Context, *mcp.CallToolRequest) (any, error) { return nil, nil }
		addTool(server, "first", nothing)
		f := start(t, options{handler: sdkHandler(server, version == modern), policy: everything})
		changed := make(chan struct{}, 16)
		s := f.session(t, "teller", version, &mcp.ClientOptions{
			ToolListChangedHandler: func(context.Context, *mcp.ToolListChangedRequest) { changed <- struct{}{} },
		})
		if got, want := len(tools(t, s)), 1; got != want {
			t.Errorf("got %d tools, want %d", got, want)
		}
		// The stream may be on its way still when the session is already open: what is said before it stands is not heard.
		added := 0
		eventually(t, "the client hears of a new tool", func() bool {
			addTool(server, "more-"+toText(added), nothing)
			added++
			select {
			case <-changed:
				return true
			default:
				return false
			}
		})
		if got, want := len(tools(t, s)), 1+added; got != want {
			t.Errorf("got %d tools, want %d", got, want)
		}
	})
}

// A server asks its caller in the middle of a call, and gets the answer.
func TestServerAsks(t *testing.T) {
	server := mcp.NewServer(&mcp.Implementation{Name: "asking", Version: "1"}, nil)
	addTool(server, "confirm", func(ctx context.Context, r *mcp.CallToolRequest) (any, error) {
		answer, err := r.Session.Elicit(ctx, &mcp.ElicitParams{Message: "Sure?", RequestedSchema: map[string]any{
			"type": "object", "properties": map[string]any{"sure": map[string]any{"type": "boolean"}},
		}})
		if err != nil {
			return nil, err
		}
		return map[string]any{"action": answer.Action, "content": answer.Content}, nil
	})
	f := start(t, options{handler: sdkHandler(server, false), policy: everything})
	s := f.session(t, "teller", legacy, &mcp.ClientOptions{
		ElicitationHandler: func(_ context.Context, r *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			return &mcp.ElicitResult{Action: "accept", Content: map[string]any{"sure": r.Params.Message == "Sure?"}}, nil
		},
	})
	if got, want := call(t, s, "confirm", nil), `{"action":"accept","content":{"sure":true}}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
