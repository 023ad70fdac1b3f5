package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The documentation is run: each YAML snippet that names a file is added to the directory "mesh", and each console snippet
// has to print what it shows.
func TestDocs(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"configuration.md", "explain.md", "identity.md"} {
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join(root, "docs", name))
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			if err := os.CopyFS(filepath.Join(dir, "examples"), os.DirFS(filepath.Join(root, "examples"))); err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(filepath.Join(dir, "mesh"), 0o700); err != nil {
				t.Fatal(err)
			}
			if name == "identity.md" { // adds to what there is
				if err := os.CopyFS(filepath.Join(dir, "mesh"), os.DirFS(filepath.Join(root, "examples", "company-mcp"))); err != nil {
					t.Fatal(err)
				}
			}
			t.Chdir(dir)
			ran := 0
			for _, m := range snippet.FindAllStringSubmatch(string(text), -1) {
				switch m[1] {
				case "yaml":
					writeSnippet(t, m[2])
				case "console":
					runSnippet(t, m[2])
					ran++
				}
			}
			if ran == 0 {
				t.Error("no console snippet")
			}
		})
	}
}

var (
	snippet = regexp.MustCompile("(?ms)^```([a-z]+)\n(.*?)^```$")
	word    = regexp.MustCompile(`'[^']*'|\S+`)
)

func writeSnippet(t *testing.T, text string) {
	t.Helper()
	first, rest, _ := strings.Cut(text, "\n")
	name, ok := strings.CutPrefix(first, "# file: ")
	if !ok {
		t.Fatalf("a YAML snippet names no file: %q", first)
	}
	// The first line stays, so that line numbers are those a reader counts.
	if err := os.WriteFile(filepath.Join("mesh", name), []byte(first+"\n"+rest), 0o600); err != nil {
		t.Fatal(err)
	}
}

func runSnippet(t *testing.T, text string) {
	t.Helper()
	command, want, _ := strings.Cut(text, "\n")
	line, ok := strings.CutPrefix(command, "$ waypoint ")
	if !ok {
		t.Fatalf("a console snippet runs something else: %q", command)
	}
	args := word.FindAllString(line, -1)
	for i := range args {
		args[i] = strings.Trim(args[i], "'")
	}
	var out bytes.Buffer
	run(t.Context(), args, strings.NewReader(""), &out, &out)
	if got := out.String(); got != want {
		t.Errorf("%s\nprints\n%swant\n%s", command, got, want)
	}
}
