package mcp_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/mcp"
)

func page(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// docs/refusals.md explains every code, and shows the wire form that Deny writes.
func TestDocsOfRefusals(t *testing.T) {
	text := page(t, "refusals.md")
	m := legacy().message(t, mcp.Options{Style: mcp.Explained})
	for _, code := range call.Codes() {
		if !strings.Contains(text, fmt.Sprintf("\n| `%s` | ", code)) {
			t.Errorf("no row says what %s means", code)
		}
		r := m.Deny(mcp.Denial{Code: code})
		_, rpc, message, _ := errorOf(t, r.Body)
		if row := fmt.Sprintf("\n| `%s` | %d | %d | %s |\n", code, r.Status, rpc, message); !strings.Contains(text, row) {
			t.Errorf("no row reads %s", strings.TrimSpace(row))
		}
	}
	known := map[string]bool{}
	for _, code := range call.Codes() {
		known[string(code)] = true
	}
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| ").FindAllStringSubmatch(text, -1) {
		if !known[row[1]] && row[1] != "masked" {
			t.Errorf("a row explains %s, which is no code", row[1])
		}
	}
}

// docs/protocols.md names every method of the table, from the right side, and every revision.
func TestDocsOfMethods(t *testing.T) {
	text := page(t, "protocols.md")
	sides := map[mcp.Side]string{mcp.Client: "client", mcp.Server: "server", mcp.Both: "both"}
	documented := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| (`.*`) \\| (client|server|both) \\| ").FindAllStringSubmatch(text, -1) {
		for name := range strings.SplitSeq(row[1], ", ") {
			documented[strings.Trim(name, "`")] = row[2]
		}
	}
	for _, row := range mcp.Methods() {
		if got, want := documented[row.Name], sides[row.From]; got != want {
			t.Errorf("%s is documented as from %q, want %q", row.Name, got, want)
		}
		delete(documented, row.Name)
	}
	for name := range documented {
		t.Errorf("%s is documented and not in the table", name)
	}
	for v := mcp.V2024; v <= mcp.V2607; v++ {
		era := "legacy"
		if v.Modern() {
			era = "modern"
		}
		if row := fmt.Sprintf("\n| %s | %s", v, era); !strings.Contains(text, row) {
			t.Errorf("no row reads %s", strings.TrimSpace(row))
		}
	}
}

// Every link of the two pages leads to a page that is there, and to a heading of it.
func TestDocsLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([a-z-]+\.md)?(?:#([a-z0-9-]+))?\)`)
	slug := regexp.MustCompile(`[^a-z0-9 -]`)
	for _, name := range []string{"protocols.md", "refusals.md"} {
		for _, m := range link.FindAllStringSubmatch(page(t, name), -1) {
			target := m[1]
			if target == "" {
				target = name
			}
			found := m[2] == ""
			for line := range strings.Lines(page(t, target)) {
				if heading, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " "); ok && strings.HasPrefix(line, "#") {
					text := slug.ReplaceAllString(strings.ToLower(strings.TrimSpace(heading)), "")
					found = found || strings.ReplaceAll(text, " ", "-") == m[2]
				}
			}
			if !found {
				t.Errorf("%s links to %s#%s, which has no such heading", name, target, m[2])
			}
		}
	}
}
