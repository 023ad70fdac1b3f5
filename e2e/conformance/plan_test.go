//lint:file-ignore SA1019 roots, sampling and logging are deprecated in the newest revision, and all the others have them

package conformance_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// plan is what to ask of a server.
type plan struct {
	ready       string // the event that ends the server's own preparations; empty: it has none
	calls       []toolCall
	prompts     []mcp.GetPromptParams
	reads       []string // beside the first few that are listed
	completions []mcp.CompleteParams
	watch       string    // a resource to subscribe to
	silent      bool      // the server has no way to say that it has changed
	strays      bool      // journal.strays
	touch       *toolCall // lets the server say that it has changed; nil: it does so in time
	cancel      *toolCall // takes longer than anyone waits; nil: there is none
}

type toolCall struct {
	name string
	args map[string]any
}

// canceled is the progress token of the call that is cancelled.
const canceled = "cancelled"

func (p plan) follow(ctx context.Context, t *testing.T, s *mcp.ClientSession, j *journal) {
	t.Helper()
	if p.ready != "" {
		j.await(t, p.ready)
	}
	j.note("ping", nil, s.Ping(ctx, nil))
	j.note("level", nil, s.SetLoggingLevel(ctx, &mcp.SetLoggingLevelParams{Level: "debug"}))
	p.list(ctx, s, j)
	p.read(ctx, s, j)
	for _, params := range p.prompts {
		got, err := s.GetPrompt(ctx, &params)
		j.note("prompt "+params.Name, got, err)
	}
	for _, params := range p.completions {
		got, err := s.Complete(ctx, &params)
		j.note("complete "+params.Argument.Name, got, err)
	}
	for i, c := range p.calls {
		got, err := c.call(ctx, s, fmt.Sprint("token-", i))
		j.note("call "+c.name, got, err)
	}
	p.subscribe(ctx, t, s, j)
	p.giveUp(ctx, t, s, j)
	j.note("ping", nil, s.Ping(ctx, nil))
}

// list turns every page of every list.
func (p plan) list(ctx context.Context, s *mcp.ClientSession, j *journal) {
	for v, err := range s.Tools(ctx, nil) {
		j.note("tool", v, err)
	}
	for v, err := range s.Resources(ctx, nil) {
		j.note("resource", v, err)
	}
	for v, err := range s.ResourceTemplates(ctx, nil) {
		j.note("template", v, err)
	}
	for v, err := range s.Prompts(ctx, nil) {
		j.note("prompt", v, err)
	}
}

func (p plan) read(ctx context.Context, s *mcp.ClientSession, j *journal) {
	uris := slices.Clone(p.reads)
	for v, err := range s.Resources(ctx, nil) {
		if err != nil || len(uris) == len(p.reads)+3 {
			break
		}
		uris = append(uris, v.URI)
	}
	for _, uri := range uris {
		got, err := s.ReadResource(ctx, &mcp.ReadResourceParams{URI: uri})
		j.note("read "+uri, got, err)
	}
}

func (c toolCall) call(ctx context.Context, s *mcp.ClientSession, token string) (*mcp.CallToolResult, error) {
	args := c.args
	if args == nil {
		args = map[string]any{}
	}
	params := &mcp.CallToolParams{Name: c.name, Arguments: args}
	params.SetProgressToken(token)
	return s.CallTool(ctx, params)
}

func (p plan) subscribe(ctx context.Context, t *testing.T, s *mcp.ClientSession, j *journal) {
	t.Helper()
	err := s.Subscribe(ctx, &mcp.SubscribeParams{URI: p.watch})
	j.note("subscribe", nil, err)
	if err != nil {
		return
	}
	if p.touch != nil {
		got, err := p.touch.call(ctx, s, "on")
		j.note("touch", got, err)
	}
	if !p.silent {
		j.await(t, "updated")
	}
	if p.touch != nil {
		got, err := p.touch.call(ctx, s, "off")
		j.note("touch", got, err)
	}
	j.note("unsubscribe", nil, s.Unsubscribe(ctx, &mcp.UnsubscribeParams{URI: p.watch}))
}

// giveUp cancels a call once it is known to run.
func (p plan) giveUp(ctx context.Context, t *testing.T, s *mcp.ClientSession, j *journal) {
	t.Helper()
	if p.cancel == nil {
		return
	}
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, err := p.cancel.call(waiting, s, canceled)
		done <- err
	}()
	j.await(t, "progress of what will be cancelled")
	cancel()
	j.note("cancel", nil, <-done)
}

// npmPlan leaves out get-env, whose answer is the machine's, and toggle-simulated-logging, whose messages are drawn by lot.
var npmPlan = plan{
	ready: `log: {"data":"Roots updated`,
	calls: []toolCall{
		{"echo", map[string]any{"message": "wie geht's, 世界?"}},
		{"echo", map[string]any{"massage": "misspelt"}},
		{"no-such-tool", nil},
		{"get-annotated-message", map[string]any{"messageType": "error", "includeImage": true}},
		{"get-resource-links", map[string]any{"count": 3}},
		{"get-resource-reference", map[string]any{"resourceType": "Text", "resourceId": 1}},
		{"get-structured-content", map[string]any{"location": "Chicago"}},
		{"get-sum", map[string]any{"a": 2, "b": 40}},
		{"get-tiny-image", nil},
		{"gzip-file-as-resource", map[string]any{"name": "a.gz", "data": "data:text/plain,hello", "outputType": "resourceLink"}},
		{"trigger-long-running-operation", map[string]any{"duration": 0.2, "steps": 4}},
		{"get-roots-list", nil},
		{"trigger-elicitation-request", nil},
		{"trigger-url-elicitation", map[string]any{
			"url": "https://example.com/consent", "message": "please", "elicitationId": "consent-1",
		}},
		{"trigger-url-elicitation", map[string]any{
			"url": "https://example.com/other", "message": "please", "elicitationId": "consent-2", "errorPath": true,
		}},
		{"trigger-sampling-request", map[string]any{"prompt": "what is the answer?", "maxTokens": 10}},
		{"simulate-research-query", map[string]any{"topic": "gateways"}},
	},
	prompts: []mcp.GetPromptParams{
		{Name: "simple-prompt"},
		{Name: "args-prompt", Arguments: map[string]string{"city": "Bern", "state": "BE"}},
		{Name: "args-prompt"},
		{Name: "resource-prompt", Arguments: map[string]string{"resourceType": "Text", "resourceId": "2"}},
		{Name: "no-such-prompt"},
	},
	reads: []string{"demo://resource/dynamic/text/1", "demo://resource/dynamic/blob/2", "demo://none"},
	completions: []mcp.CompleteParams{
		{Ref: &mcp.CompleteReference{Type: "ref/prompt", Name: "completable-prompt"}, Argument: mcp.CompleteParamsArgument{Name: "department", Value: "E"}},
		{Ref: &mcp.CompleteReference{Type: "ref/resource", URI: "demo://resource/dynamic/text/{resourceId}"}, Argument: mcp.CompleteParamsArgument{Name: "resourceId", Value: "1"}},
	},
	watch:  "demo://resource/dynamic/text/1",
	touch:  &toolCall{"toggle-subscriber-updates", nil},
	cancel: &toolCall{"trigger-long-running-operation", map[string]any{"duration": 60, "steps": 600}},
}

var goPlan = plan{
	calls: []toolCall{
		{"test_simple_text", nil},
		{"test_image_content", nil},
		{"test_audio_content", nil},
		{"test_embedded_resource", nil},
		{"test_multiple_content_types", nil},
		{"test_tool_with_logging", nil},
		{"test_tool_with_progress", nil},
		{"test_error_handling", nil},
		{"test_sampling", map[string]any{"prompt": "what is the answer?"}},
		{"test_elicitation", map[string]any{"message": "who are you?"}},
		{"test_elicitation_sep1034_defaults", nil},
		{"test_elicitation_sep1330_enums", nil},
		{"json_schema_2020_12_tool", map[string]any{"name": "Ada"}},
		{"test_reconnection", nil},
		{"test_x_mcp_header", map[string]any{"region": "eu-west"}},
		{"test_missing_capability", nil},
		{"test_streaming_elicitation", nil},
		{"test_logging_tool", nil},
		{"test_input_required_result_elicitation", nil},
		{"test_input_required_result_sampling", nil},
		{"test_input_required_result_list_roots", nil},
		{"test_input_required_result_request_state", nil},
		{"test_input_required_result_multiple_inputs", nil},
		{"test_input_required_result_multi_round", nil},
		{"test_trigger_tool_change", nil},
		{"test_trigger_prompt_change", nil},
		{"no_such_tool", nil},
	},
	prompts: []mcp.GetPromptParams{
		{Name: "test_simple_prompt"},
		{Name: "test_prompt_with_arguments", Arguments: map[string]string{"arg1": "a", "arg2": "ß"}},
		{Name: "test_prompt_with_embedded_resource", Arguments: map[string]string{"resourceUri": "test://static-text"}},
		{Name: "test_prompt_with_image"},
		{Name: "test_input_required_result_prompt"},
		{Name: "no_such_prompt"},
	},
	reads: []string{"test://template/7/data", "test://none"},
	completions: []mcp.CompleteParams{
		{Ref: &mcp.CompleteReference{Type: "ref/prompt", Name: "test_prompt_with_arguments"}, Argument: mcp.CompleteParamsArgument{Name: "arg1", Value: "p"}},
	},
	watch: "test://watched-resource",
}
