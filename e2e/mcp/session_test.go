package mcp_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"waymark.dev/waypoint/cmd/demo/company"
)

// The main job: list, call, denied, and the session goes on; in both forms, over both kinds of answer, with the server
// in the mesh and outside it.
func TestSession(t *testing.T) {
	for name, o := range map[string]options{
		"event streams":    {},
		"JSON":             {company: company.Options{JSON: true}},
		"outside the mesh": {plain: true},
	} {
		t.Run(name, func(t *testing.T) {
			forms(t, func(t *testing.T, version string) {
				f := start(t, o)
				s := f.session(t, "teller", version, nil)
				shown := []string{company.ListCustomers, company.ReadAccount, company.UpdateLimit}
				if got, want := tools(t, s), shown; !slices.Equal(got, want) {
					t.Errorf("got tools %q, want %q", got, want)
				}
				if got := call(t, s, company.ReadAccount, account("A-100")); got != adas {
					t.Errorf("got %s, want %s", got, adas)
				}
				for _, tc := range []struct {
					tool string
					args map[string]any
				}{
					{company.ExportAll, nil},
					{company.UpdateLimit, limit("A-100", 5001)},
					{company.UpdateLimit, map[string]any{"account": "A-100", "amount": "5000"}},
					{"no_such_tool", nil},
				} {
					if got, want := call(t, s, tc.tool, tc.args), "-32602 "; !strings.HasPrefix(got, want) {
						t.Errorf("%s %v: got %s, want %s…", tc.tool, tc.args, got, want)
					}
				}
				const raised = `{"balance":88,"customer":"Ben Okafor","id":"A-101","limit":5000}`
				if got, want := call(t, s, company.UpdateLimit, limit("A-101", 5000)), raised; got != want {
					t.Errorf("got %s, want %s", got, want)
				}
				alive(t, s)
				if got := f.bank.Runs(company.ExportAll); got != 0 {
					t.Errorf("the denied export ran %d times", got)
				}
				if got := f.bank.Runs(company.UpdateLimit); got != 1 {
					t.Errorf("update_limit ran %d times, want the one within bounds", got)
				}
			})
		})
	}
}

// What a denied caller sees, in each of the three styles; the session survives all of them.
func TestRefusalStyles(t *testing.T) {
	for style, want := range map[string]string{
		"masked":    "-32602 ",
		"explained": "-31403 ",
		"result":    "tool error: ",
	} {
		t.Run(style, func(t *testing.T) {
			forms(t, func(t *testing.T, version string) {
				f := start(t, options{notes: map[string]string{"waymark.dev/refusals": style}})
				s := f.session(t, "intern", version, nil)
				for range 2 {
					if got := call(t, s, company.ExportAll, nil); !strings.HasPrefix(got, want) {
						t.Errorf("got %s, want %s…", got, want)
					}
					alive(t, s)
				}
				if got := f.bank.Runs(company.ExportAll); got != 0 {
					t.Errorf("the denied export ran %d times", got)
				}
			})
		})
	}
}

// A masked refusal does not tell a tool that exists from one that does not.
func TestMaskedDenialHidesWhatExists(t *testing.T) {
	forms(t, func(t *testing.T, version string) {
		s := start(t, options{}).session(t, "intern", version, nil)
		exists := call(t, s, company.ExportAll, nil)
		doesNot := strings.ReplaceAll(call(t, s, "export_xyz", nil), "export_xyz", company.ExportAll)
		if exists != doesNot {
			t.Errorf("got %q for a tool that exists and %q for one that does not", exists, doesNot)
		}
	})
}

// Each caller is judged by its certificate, not by what it says: one without any rule cannot even open a session.
func TestCallersAreToldApart(t *testing.T) {
	f := start(t, options{})
	for account, want := range map[string][]string{
		"teller": {company.ListCustomers, company.ReadAccount, company.UpdateLimit},
		"intern": {company.ReadAccount},
	} {
		if got := tools(t, f.session(t, account, modern, nil)); !slices.Equal(got, want) {
			t.Errorf("%s: got tools %q, want %q", account, got, want)
		}
	}
	forms(t, func(t *testing.T, version string) {
		client := mcp.NewClient(&mcp.Implementation{Name: "teller", Version: "1"}, nil)
		transport := &mcp.StreamableClientTransport{Endpoint: endpoint, HTTPClient: f.caller(t, "stranger")}
		s, err := client.Connect(t.Context(), transport, &mcp.ClientSessionOptions{ProtocolVersion: version})
		if err == nil {
			s.Close()
		}
		if got, want := failure(err), "-32601 "; err == nil || !strings.HasPrefix(got, want) {
			t.Errorf("the stranger gets %s, want %s…", got, want)
		}
	})
}
