package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// millis is the last column of a row, the only one that differs from run to run.
var millis = regexp.MustCompile(` +\d+\.\d$`)

// docs/demo.md shows what the demo prints, but for the time taken.
func TestDocumentationShowsWhatIsPrinted(t *testing.T) {
	page := documentation(t)
	var out, errs output
	if got := run(t.Context(), nil, &out, &errs); got != 0 {
		t.Fatalf("exit status %d: %s", got, &errs)
	}
	if got, want := timeless(page), timeless(out.String()); !strings.Contains(got, want) {
		t.Errorf("docs/demo.md does not show what the demo prints:\n%s", want)
	}
}

// What docs/demo.md says to edit is there to be edited: TestServe does it.
func TestDocumentedEdit(t *testing.T) {
	page := strings.Join(strings.Fields(documentation(t)), " ")
	for _, want := range []string{
		editFrom, editTo, "`rulez:` for `rules:`", "`configuration reloaded`", "`configuration not reloaded, the old one stays`",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("docs/demo.md does not say %q", want)
		}
	}
}

func documentation(t *testing.T) string {
	t.Helper()
	dir, err := find("docs")
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "demo.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func timeless(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = millis.ReplaceAllString(lines[i], "")
	}
	return strings.Join(lines, "\n")
}
