package company_test

import (
	"context"
	"encoding/json/v2"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"waymark.dev/waypoint/cmd/demo/company"
)

func inMemory(t *testing.T, b *company.Bank, o *mcp.ClientOptions) *mcp.ClientSession {
	t.Helper()
	here, there := mcp.NewInMemoryTransports()
	served, err := b.Server().Connect(t.Context(), there, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { served.Wait() })
	s, err := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, o).Connect(t.Context(), here, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func structured(t *testing.T, s *mcp.ClientSession, tool string, args any) string {
	t.Helper()
	res, err := s.CallTool(t.Context(), &mcp.CallToolParams{Name: tool, Arguments: args})
	if err != nil {
		t.Fatalf("%s: %v", tool, err)
	}
	if res.IsError {
		return "error: " + res.Content[0].(*mcp.TextContent).Text
	}
	b, err := json.Marshal(res.StructuredContent, json.Deterministic(true))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestTools(t *testing.T) {
	bank := company.New()
	s := inMemory(t, bank, nil)
	for _, tc := range []struct{ tool, args, want string }{
		{company.ReadAccount, `{"account":"A-100"}`, `{"balance":1240,"customer":"Ada Pohl","id":"A-100","limit":500}`},
		{company.ReadAccount, `{"account":"A-999"}`, `error: there is no account "A-999"`},
		{company.ListCustomers, `{}`, `{"customers":["Ada Pohl","Ben Okafor","Chiara Neri"]}`},
		{company.UpdateLimit, `{"account":"A-101","amount":250}`, `{"balance":88,"customer":"Ben Okafor","id":"A-101","limit":250}`},
		{company.ReadAccount, `{"account":"A-101"}`, `{"balance":88,"customer":"Ben Okafor","id":"A-101","limit":250}`},
	} {
		var args any
		if err := json.Unmarshal([]byte(tc.args), &args); err != nil {
			t.Fatal(err)
		}
		if got := structured(t, s, tc.tool, args); got != tc.want {
			t.Errorf("%s %s: got %s, want %s", tc.tool, tc.args, got, tc.want)
		}
	}
	if got, want := bank.Runs(company.ReadAccount), 3; got != want {
		t.Errorf("read_account ran %d times, want %d", got, want)
	}
	if got, want := bank.Runs(company.ExportAll), 0; got != want {
		t.Errorf("export_all ran %d times, want %d", got, want)
	}
}

func TestExportReportsProgress(t *testing.T) {
	steps := make(chan string, 8)
	s := inMemory(t, company.New(), &mcp.ClientOptions{
		ProgressNotificationHandler: func(_ context.Context, r *mcp.ProgressNotificationClientRequest) { steps <- r.Params.Message },
	})
	params := &mcp.CallToolParams{Name: company.ExportAll}
	params.SetProgressToken("p1")
	if _, err := s.CallTool(t.Context(), params); err != nil {
		t.Fatal(err)
	}
	got := []string{<-steps, <-steps, <-steps}
	if want := []string{"exported A-100", "exported A-101", "exported A-102"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestResourcesAndPrompt(t *testing.T) {
	s := inMemory(t, company.New(), nil)
	for uri, want := range map[string]string{
		company.RatesURI:        "overdraft 9.5 %, savings 1.2 %",
		"bank://accounts/A-102": "A-102 Chiara Neri",
	} {
		res, err := s.ReadResource(t.Context(), &mcp.ReadResourceParams{URI: uri})
		if err != nil {
			t.Fatal(err)
		}
		if got := res.Contents[0].Text; got != want {
			t.Errorf("%s: got %q, want %q", uri, got, want)
		}
	}
	p, err := s.GetPrompt(t.Context(), &mcp.GetPromptParams{Name: company.ReviewPrompt, Arguments: map[string]string{"account": "A-100"}})
	if err != nil {
		t.Fatal(err)
	}
	got, want := p.Messages[0].Content.(*mcp.TextContent).Text, "Review account A-100 and say whether its limit is right."
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Each form of the protocol reaches the server that speaks it, and the answer is the same.
func TestErasOverHTTP(t *testing.T) {
	for _, tc := range []struct {
		name    string
		options company.Options
		ask     string
		want    string
	}{
		{"both, asked in the newest", company.Options{}, "2026-07-28", "2026-07-28"},
		{"both, asked in an older", company.Options{}, "2025-06-18", "2025-06-18"},
		{"legacy only, asked in the newest", company.Options{Era: company.Legacy}, "2026-07-28", "2025-11-25"},
		{"modern only", company.Options{Era: company.Modern, JSON: true}, "2026-07-28", "2026-07-28"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			web := httptest.NewServer(company.New().Handler(tc.options))
			t.Cleanup(web.Close)
			client := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil)
			s, err := client.Connect(t.Context(), &mcp.StreamableClientTransport{Endpoint: web.URL, MaxRetries: -1},
				&mcp.ClientSessionOptions{ProtocolVersion: tc.ask})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if got := s.InitializeResult().ProtocolVersion; got != tc.want {
				t.Errorf("got version %q, want %q", got, tc.want)
			}
			got := structured(t, s, company.ReadAccount, map[string]any{"account": "A-100"})
			if want := `{"balance":1240,"customer":"Ada Pohl","id":"A-100","limit":500}`; got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}
