package mcp_test

import (
	"slices"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"waymark.dev/waypoint/cmd/demo/company"
)

// What is listed is what may be used, for every kind of thing a server lists.
func TestListsShowWhatMayBeUsed(t *testing.T) {
	forms(t, func(t *testing.T, version string) {
		f := start(t, options{})
		teller, intern := f.session(t, "teller", version, nil), f.session(t, "intern", version, nil)
		for _, tc := range []struct {
			kind string
			list func(*testing.T, *mcp.ClientSession) []string
			use  func(*testing.T, *mcp.ClientSession) error
			want []string
		}{
			{"resources", resources, readRates, []string{company.RatesURI}},
			{"templates", templates, readAccount, []string{"bank://accounts/{id}"}},
			{"prompts", prompts, getReview, []string{company.ReviewPrompt}},
		} {
			if got := tc.list(t, teller); !slices.Equal(got, tc.want) {
				t.Errorf("%s: the teller sees %q, want %q", tc.kind, got, tc.want)
			}
			if err := tc.use(t, teller); err != nil {
				t.Errorf("%s: the teller is refused: %v", tc.kind, err)
			}
			if got := tc.list(t, intern); len(got) != 0 {
				t.Errorf("%s: the intern sees %q, want none", tc.kind, got)
			}
			if err := tc.use(t, intern); err == nil {
				t.Errorf("%s: the intern is not refused", tc.kind)
			}
		}
		alive(t, intern)
	})
}

func resources(t *testing.T, s *mcp.ClientSession) (uris []string) {
	t.Helper()
	for r, err := range s.Resources(t.Context(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		uris = append(uris, r.URI)
	}
	return uris
}

func templates(t *testing.T, s *mcp.ClientSession) (uris []string) {
	t.Helper()
	for r, err := range s.ResourceTemplates(t.Context(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		uris = append(uris, r.URITemplate)
	}
	return uris
}

func prompts(t *testing.T, s *mcp.ClientSession) (names []string) {
	t.Helper()
	for p, err := range s.Prompts(t.Context(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, p.Name)
	}
	return names
}

func readRates(t *testing.T, s *mcp.ClientSession) error {
	_, err := s.ReadResource(t.Context(), &mcp.ReadResourceParams{URI: company.RatesURI})
	return err
}

func readAccount(t *testing.T, s *mcp.ClientSession) error {
	_, err := s.ReadResource(t.Context(), &mcp.ReadResourceParams{URI: "bank://accounts/A-100"})
	return err
}

func getReview(t *testing.T, s *mcp.ClientSession) error {
	_, err := s.GetPrompt(t.Context(), &mcp.GetPromptParams{Name: company.ReviewPrompt, Arguments: map[string]string{"account": "A-100"}})
	return err
}
