package mcp_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"waymark.dev/waypoint/cmd/demo/company"
)

// What is allowed comes out the same with the waypoint as without it: results, the tool's own errors, protocol errors,
// progress.
func TestThroughIsLikeDirect(t *testing.T) {
	for name, o := range map[string]company.Options{"event streams": {}, "JSON": {JSON: true}} {
		t.Run(name, func(t *testing.T) {
			forms(t, func(t *testing.T, version string) {
				f := start(t, options{company: o, policy: everything})
				var before, after steps
				direct := script(t, f.direct(t, version, before.options()))
				through := script(t, f.session(t, "teller", version, after.options()))
				if !o.JSON { // an answer that is one JSON object has no room for progress
					direct = append(direct, before.await(t, 3)...)
					through = append(through, after.await(t, 3)...)
				}
				for i := range direct {
					want := direct[i]
					if version == modern && isList(want) { // where rules judge, every page of a list is for its caller only
						want = strings.Replace(want, `"cacheScope":"public"`, `"cacheScope":"private"`, 1)
					}
					if got := through[i]; got != want {
						t.Errorf("step %d through the waypoint:\n got  %s\n want %s", i, got, want)
					}
				}
			})
		})
	}
}

func isList(step string) bool {
	what, _, _ := strings.Cut(step, ":")
	return slices.Contains([]string{"tools", "resources", "templates", "prompts"}, what)
}

// script does one of everything on a session and returns what came of each.
func script(t *testing.T, s *mcp.ClientSession) []string {
	t.Helper()
	var out []string
	note := func(what string, v any, err error) {
		if err != nil {
			out = append(out, what+": "+failure(err))
			return
		}
		out = append(out, what+": "+toJSON(t, v))
	}
	note("server", s.InitializeResult(), nil)
	list, err := s.ListTools(t.Context(), nil)
	note("tools", list, err)
	resources, err := s.ListResources(t.Context(), nil)
	note("resources", resources, err)
	templates, err := s.ListResourceTemplates(t.Context(), nil)
	note("templates", templates, err)
	prompts, err := s.ListPrompts(t.Context(), nil)
	note("prompts", prompts, err)
	rates, err := s.ReadResource(t.Context(), &mcp.ReadResourceParams{URI: company.RatesURI})
	note("rates", rates, err)
	missing, err := s.ReadResource(t.Context(), &mcp.ReadResourceParams{URI: "bank://accounts/none"})
	note("missing resource", missing, err)
	prompt, err := s.GetPrompt(t.Context(), &mcp.GetPromptParams{Name: company.ReviewPrompt, Arguments: map[string]string{"account": "A-100"}})
	note("prompt", prompt, err)
	for _, tc := range []struct {
		tool string
		args any
	}{
		{company.ReadAccount, account("A-100")},
		{company.ReadAccount, account("none")},
		{company.ReadAccount, map[string]any{"acount": "misspelt"}},
		{company.UpdateLimit, limit("A-101", 7)},
		{company.ListCustomers, nil},
		{company.ListCustomers, map[string]any{}},
		{company.ExportAll, nil},
		{"no_such_tool", nil},
	} {
		res, err := s.CallTool(t.Context(), &mcp.CallToolParams{Name: tc.tool, Arguments: tc.args})
		note(tc.tool, res, err)
	}
	params := &mcp.CallToolParams{Name: company.ExportAll}
	params.SetProgressToken("token-1")
	res, err := s.CallTool(t.Context(), params)
	note("export with progress", res, err)
	return out
}

// steps keeps progress in the order it came.
type steps struct {
	mu  sync.Mutex
	got []string
}

func (s *steps) options() *mcp.ClientOptions {
	return &mcp.ClientOptions{ProgressNotificationHandler: s.add}
}

func (s *steps) add(_ context.Context, r *mcp.ProgressNotificationClientRequest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, fmt.Sprintf("%v %v/%v %s", r.Params.ProgressToken, r.Params.Progress, r.Params.Total, r.Params.Message))
}

// await returns the steps once there are n: the SDK hands them over beside the answer, not before it.
func (s *steps) await(t *testing.T, n int) (got []string) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d steps of progress", n), func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		got = append([]string(nil), s.got...)
		return len(got) >= n
	})
	return got
}
