package house_test

import (
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

func TestLicence(t *testing.T) {
	content, err := os.ReadFile(filepath.Join(root, "LICENSE"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Apache License", "Version 2.0, January 2004", "END OF TERMS AND CONDITIONS"} {
		if !strings.Contains(string(content), want) {
			t.Errorf("LICENSE is not the whole Apache licence: %q is missing", want)
		}
	}
}

// local matches what is true of one machine only: paths of a developer's or a builder's machine, and the hosts that one
// of them happens to download from. Each alternative is written so that it does not match itself.
var local = regexp.MustCompile(`(?:^|[\s"'=(:\x60])/(?:work|root|home/[a-z]+|Users/[A-Za-z]+|tmp/[a-z]+)/` +
	`|proxy\.golang[.]org|sum\.golang[.]org|registry\.npmjs[.]org|deb\.debian[.]org|pypi[.]org|crates[.]io`)

func TestNothingOfOneMachine(t *testing.T) {
	texts(t, func(name, content string) {
		number := 0
		for line := range strings.Lines(content) {
			number++
			if found := local.FindString(line); found != "" {
				t.Errorf("%s:%d: %q belongs to one machine, not to the repository", name, number, found)
			}
		}
	})
}

func TestLocalMatches(t *testing.T) {
	for _, s := range []string{"cd /" + "work/main", `"/` + "home/ann/x\"", "https://proxy.golang" + ".org", "/" + "root/go/"} {
		if !local.MatchString(s) {
			t.Errorf("%q is not recognised as belonging to one machine", s)
		}
	}
	for _, s := range []string{"pkg/work/main.go", "./work/", "https://go.dev/ref/mod", "/etc/waypoint/"} {
		if local.MatchString(s) {
			t.Errorf("%q is taken for something of one machine", s)
		}
	}
}

// TestHelp compares the rules of the Makefile with what `make help` prints and with what CI runs.
func TestHelp(t *testing.T) {
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := exec.LookPath("make"); err != nil {
		t.Skip("make is not here")
	}
	cmd := exec.Command("make", "help")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "MAKEFLAGS=", "MAKELEVEL=", "MFLAGS=")
	help, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var targets, explained []string
	for _, m := range regexp.MustCompile(`(?m)^([a-zA-Z0-9_-]+):(?:[^=]|$)`).FindAllStringSubmatch(string(makefile), -1) {
		targets = append(targets, m[1])
	}
	for line := range strings.Lines(string(help)) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			t.Errorf("make help prints a line without an explanation: %q", line)
			continue
		}
		explained = append(explained, fields[0])
	}
	if got, want := strings.Join(explained, " "), strings.Join(targets, " "); got != want {
		t.Errorf("make help lists\n%s, want every target of the Makefile:\n%s", got, want)
	}
	for _, want := range strings.Fields("demo build test race lint vuln fuzz generate generate-check bench e2e image") {
		if !slices.Contains(targets, want) {
			t.Errorf("the Makefile has no target %s, which others rely on", want)
		}
	}
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	code    = regexp.MustCompile("(?ms)^```.*?^```|`[^`\n]*`")
	heading = regexp.MustCompile(`(?m)^#{1,6}\s+(.*)$`)
)

func TestLinksLeadSomewhere(t *testing.T) {
	pages := map[string]string{}
	texts(t, func(name, content string) {
		if path.Ext(name) == ".md" && !strings.Contains(name, "testdata/") {
			pages[name] = content
		}
	})
	for name, content := range pages {
		for _, m := range link.FindAllStringSubmatch(code.ReplaceAllString(content, ""), -1) {
			if problem := follow(pages, name, m[1]); problem != "" {
				t.Errorf("%s: link to %s: %s", name, m[1], problem)
			}
		}
	}
}

func TestDecisionsAreListed(t *testing.T) {
	index, err := os.ReadFile(filepath.Join(root, "docs/decisions/README.md"))
	if err != nil {
		t.Fatal(err)
	}
	pages, err := filepath.Glob(filepath.Join(root, "docs/decisions/[0-9]*.md"))
	if err != nil || len(pages) == 0 {
		t.Fatalf("no decisions found: %v", err)
	}
	for _, page := range pages {
		if name := filepath.Base(page); !strings.Contains(string(index), "]("+name+")") {
			t.Errorf("docs/decisions/README.md does not list %s", name)
		}
	}
}

// follow says why a link of page does not lead anywhere. Links to other places are not followed: a test does not depend on
// a network.
func follow(pages map[string]string, page, target string) string {
	if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
		return ""
	}
	file, anchor, _ := strings.Cut(target, "#")
	destination := page
	if file != "" {
		destination = path.Join(path.Dir(page), file)
		if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(destination))); err != nil {
			return "there is no such file"
		}
	}
	if content, ok := pages[destination]; ok && anchor != "" && !slices.Contains(anchors(content), anchor) {
		return "there is no such heading"
	}
	return ""
}

// anchors returns the names that the headings of a page can be linked by, as GitHub derives them.
func anchors(content string) []string {
	fenced := regexp.MustCompile("(?ms)^```.*?^```").ReplaceAllString(content, "")
	var names []string
	for _, m := range heading.FindAllStringSubmatch(fenced, -1) {
		names = append(names, strings.Map(func(r rune) rune {
			switch {
			case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
				return unicode.ToLower(r)
			case r == ' ':
				return '-'
			}
			return -1
		}, strings.TrimSpace(m[1])))
	}
	return names
}

func TestFollow(t *testing.T) {
	pages := map[string]string{"docs/a.md": "# One `two`, three\n```\n# not a heading\n```\n", "README.md": ""}
	tests := []struct{ page, target, want string }{
		{"docs/a.md", "#one-two-three", ""},
		{"docs/a.md", "#not-a-heading", "there is no such heading"},
		{"docs/a.md", "../go.mod", ""},
		{"docs/a.md", "../nosuch.md", "there is no such file"},
		{"docs/a.md", "https://example.com/#x", ""},
	}
	for _, tt := range tests {
		if got := follow(pages, tt.page, tt.target); got != tt.want {
			t.Errorf("follow(%s, %s) = %q, want %q", tt.page, tt.target, got, tt.want)
		}
	}
}
