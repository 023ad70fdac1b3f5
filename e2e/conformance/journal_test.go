//lint:file-ignore SA1019 roots, sampling and logging are deprecated in the newest revision, and all the others have them

package conformance_test

import (
	"context"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// journal is what happened in a session: what came of each step, in order, and what the server sent or asked of its own
// accord, in no order: the SDK hands those over beside the answers.
type journal struct {
	strays bool // the server also tells whichever request it is answering that a list has changed
	steps  []string

	mu     sync.Mutex
	events []string
}

// note writes down what came of a step.
func (j *journal) note(what string, v any, err error) {
	line := what + ": "
	if err != nil {
		line += failure(err)
	} else {
		line += text(v)
	}
	j.steps = append(j.steps, steadyText(line))
}

// event writes down what the server sent.
func (j *journal) event(what string, v any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.events = append(j.events, steadyText(what+": "+text(v)))
}

// once writes down what the server repeats at its own pace.
func (j *journal) once(what string, v any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if line := steadyText(what + ": " + text(v)); !slices.Contains(j.events, line) {
		j.events = append(j.events, line)
	}
}

// changed writes down that a list has. What belongs to a subscription says so.
func (j *journal) changed(what string, params any) {
	if j.strays && !strings.Contains(text(params), "subscriptionId") {
		return
	}
	j.once(what, params)
}

// await waits for an event.
func (j *journal) await(t *testing.T, prefix string) {
	t.Helper()
	eventually(t, func() string { return prefix + "…\n" + strings.Join(j.seen(), "\n") }, func() bool {
		return slices.ContainsFunc(j.seen(), func(s string) bool { return strings.HasPrefix(s, prefix) })
	})
}

func (j *journal) seen() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Sorted(slices.Values(j.events))
}

// options are a client that can do everything, and writes everything down.
func (j *journal) options() *mcp.ClientOptions {
	return &mcp.ClientOptions{
		Capabilities: &mcp.ClientCapabilities{
			RootsV2:     &mcp.RootCapabilities{ListChanged: true},
			Elicitation: &mcp.ElicitationCapabilities{Form: &mcp.FormElicitationCapabilities{}, URL: &mcp.URLElicitationCapabilities{}},
		},
		CreateMessageHandler: func(_ context.Context, r *mcp.CreateMessageRequest) (*mcp.CreateMessageResult, error) {
			j.event("asked to sample", r.Params)
			return &mcp.CreateMessageResult{Content: &mcp.TextContent{Text: "forty-two"}, Model: "none", Role: "assistant"}, nil
		},
		ElicitationHandler: func(_ context.Context, r *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			j.event("asked to elicit", r.Params)
			return &mcp.ElicitResult{Action: "accept", Content: content(r.Params.RequestedSchema)}, nil
		},
		ElicitationCompleteHandler: func(_ context.Context, r *mcp.ElicitationCompleteNotificationRequest) {
			j.event("elicitation complete", r.Params)
		},
		ToolListChangedHandler:     func(_ context.Context, r *mcp.ToolListChangedRequest) { j.changed("tools changed", r.Params) },
		PromptListChangedHandler:   func(_ context.Context, r *mcp.PromptListChangedRequest) { j.changed("prompts changed", r.Params) },
		ResourceListChangedHandler: func(_ context.Context, r *mcp.ResourceListChangedRequest) { j.changed("resources changed", r.Params) },
		ResourceUpdatedHandler:     func(_ context.Context, r *mcp.ResourceUpdatedNotificationRequest) { j.once("updated", r.Params) },
		LoggingMessageHandler:      func(_ context.Context, r *mcp.LoggingMessageRequest) { j.event("log", r.Params) },
		ProgressNotificationHandler: func(_ context.Context, r *mcp.ProgressNotificationClientRequest) {
			if r.Params.ProgressToken == canceled {
				j.once("progress of what will be cancelled", nil)
				return
			}
			j.event("progress", r.Params)
		},
	}
}

// content answers a form with whatever it requires.
func content(schema any) map[string]any {
	form, _ := schema.(map[string]any)
	properties, _ := form["properties"].(map[string]any)
	required, _ := form["required"].([]any)
	answers := map[string]any{}
	for _, name := range required {
		property, _ := properties[fmt.Sprint(name)].(map[string]any)
		switch property["type"] {
		case "string":
			answers[fmt.Sprint(name)] = "Ada"
		case "boolean":
			answers[fmt.Sprint(name)] = true
		default:
			answers[fmt.Sprint(name)] = 42
		}
	}
	return answers
}

// failure is a JSON-RPC error in a line. Any other error is one that a client may not survive.
func failure(err error) string {
	var rpc *jsonrpc.Error
	if !errors.As(err, &rpc) {
		return "failed: " + err.Error()
	}
	return fmt.Sprintf("error %d %s %s", rpc.Code, reworded(rpc.Message), rpc.Data)
}

func text(v any) string {
	b, err := json.Marshal(v, json.Deterministic(true), jsontext.AllowInvalidUTF8(true))
	if err != nil {
		return err.Error()
	}
	return string(b)
}
