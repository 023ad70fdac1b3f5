package crds_test

import (
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the tables of docs/kinds.md anew")

// page is the reference of the kinds.
var page = filepath.Join(root, "docs", "kinds.md")

// shapes are parts that several kinds have. The page has each of them once, from the place that is named here.
var shapes = []struct{ name, kind, path string }{
	{"targetRefs", "AgentGuard", "spec.targetRefs"},
	{"match", "AgentGuard", "spec.rules[].match"},
	{"endpoint", "AgentGuard", "spec.rules[].webhook.endpoint"},
	{"backendRef", "AgentGuard", "spec.rules[].webhook.endpoint.backendRef"},
	{"clientAuthentication", "TokenExchange", "spec.exchange.clientAuthentication"},
	{"secretRef", "TokenExchange", "spec.exchange.clientAuthentication.secretRef"},
	{"requiredClaims", "AgentAuthentication", "spec.chain.user.requiredClaims"},
}

// testReference compares the tables of the page with the schemas that the server serves.
func (s *server) testReference(t *testing.T) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	got := string(text)
	want := got
	for _, k := range kinds {
		all := s.schemaOf(t, k)
		want = replace(t, want, k.name, table(all.Properties["spec"], "spec"))
		for _, shape := range shapes {
			if shape.kind == k.name {
				want = replace(t, want, shape.name, table(find(t, all, shape.path), shape.path))
			}
		}
		if k.name == "ApprovalRequest" {
			want = replace(t, want, "ApprovalRequest status", table(all.Properties["status"], "status"))
		}
	}
	switch {
	case got == want:
	case *update:
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Error("the tables of docs/kinds.md are not those of the definitions: go test ./crds -update writes them")
	}
}

// replace puts a table between its two marks.
func replace(t *testing.T, page, name, table string) string {
	t.Helper()
	begin, end := "<!-- fields: "+name+" -->\n", "<!-- end -->"
	before, rest, ok := strings.Cut(page, begin)
	_, after, there := strings.Cut(rest, end)
	if !ok || !there {
		t.Fatalf("docs/kinds.md has no place for the fields of %s: %s%s", name, begin, end)
	}
	return before + begin + "\n" + table + "\n" + end + after
}

func find(t *testing.T, f *schema, path string) *schema {
	t.Helper()
	for name := range strings.SplitSeq(path, ".") {
		name, list := strings.CutSuffix(name, "[]")
		if f = f.Properties[name]; f == nil {
			t.Fatalf("%s leads nowhere at %s", path, name)
		}
		if list {
			f = f.Items
		}
	}
	return f
}

// table lists the fields below a path. Paths are written from there; a shape that several kinds have is not opened again.
func table(f *schema, from string) string {
	var b strings.Builder
	b.WriteString("| field | type | what it is |\n| --- | --- | --- |\n")
	rows(&b, f, strings.Count(from, ".")+1, from)
	return b.String()
}

func rows(b *strings.Builder, f *schema, depth int, path string) {
	if f.Items != nil {
		f, path = f.Items, path+"[]"
	}
	for _, name := range slices.Sorted(maps.Keys(f.Properties)) {
		field, at := f.Properties[name], path+"."+name
		required := ""
		if slices.Contains(f.Required, name) {
			required = ", required"
		}
		what := strings.Join(strings.Fields(field.Description), " ")
		open := true
		for _, shape := range shapes {
			if name == shape.name {
				open = false
				what += " See [" + shape.name + "](#" + strings.ToLower(shape.name) + ")."
			}
		}
		written := strings.Join(strings.Split(at, ".")[depth:], ".")
		fmt.Fprintf(b, "| `%s` | %s%s | %s |\n", written, field.word(), required, strings.ReplaceAll(what, "|", "\\|"))
		if open {
			rows(b, field, depth, at)
		}
	}
}

// word says what a field holds.
func (f *schema) word() string {
	switch f.Type {
	case "array":
		if f.Items.Type == "string" {
			return "list of text"
		}
		return "list"
	case "string":
		if f.Format == "date-time" {
			return "time"
		}
		return "text"
	case "integer":
		return "number"
	case "boolean":
		return "true or false"
	case "object":
		return "map"
	}
	return "number or text"
}

// How objects of our kinds are found in a page, and in a text of several documents.
var (
	fence = regexp.MustCompile("(?ms)^```yaml[^\n]*\n(.*?)^```")
	ours  = regexp.MustCompile(`(?m)^apiVersion: waymark\.dev/v1alpha1$`)
	cut   = regexp.MustCompile(`(?m)^---.*\n`)
)

// faulty are the examples that show what is refused.
var faulty = map[string]bool{"clerks": true}

// testExamples creates every object of our kinds that a page of docs/ or a file of examples/ shows.
func (s *server) testExamples(t *testing.T) {
	var objects []string
	sources := map[string]int{}
	collect := func(name, text string) {
		for _, document := range cut.Split(text, -1) {
			if ours.MatchString(document) {
				objects = append(objects, document)
				sources[name]++
			}
		}
	}
	for _, dir := range []string{"docs", "examples", "."} {
		if err := filepath.WalkDir(filepath.Join(root, dir), func(name string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir() && dir == "." && name != filepath.Join(root, dir):
				return fs.SkipDir
			case d.IsDir():
				return nil
			}
			text, err := os.ReadFile(name)
			switch filepath.Ext(name) {
			case ".md":
				for _, m := range fence.FindAllStringSubmatch(string(text), -1) {
					collect(name, m[1])
				}
			case ".yaml":
				collect(name, string(text))
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	if len(objects) < 20 || sources[page] < len(kinds) {
		t.Fatalf("there are %d examples, in %v: some have gone", len(objects), sources)
	}
	file := filepath.Join(t.TempDir(), "examples.yaml")
	write(t, file, strings.Join(objects, "\n---\n"))
	out := s.show(t, "create", "--dry-run=client", "--validate=false", "-o", "json", "-f", file)
	shown := map[string]int{}
	for d := jsontext.NewDecoder(strings.NewReader(out)); ; {
		var o map[string]any
		if err := json.UnmarshalDecode(d, &o); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		k := kindOf(t, o["kind"].(string))
		shown[k.name]++
		meta := o["metadata"].(map[string]any)
		meta["namespace"] = "bank" // what a schema says does not depend on it, and the others are not there
		_, r := s.put(t, http.MethodPost, k.path()+"?dryRun=All&fieldValidation=Strict", asJSON, o)
		switch faulty := faulty[meta["name"].(string)]; {
		case r != nil && !faulty:
			t.Errorf("an example that is shown is refused: %s", r.Message)
		case r == nil && faulty:
			t.Errorf("an example that is shown as faulty is accepted: %v", o)
		}
	}
	t.Logf("%d examples: %v", len(objects), shown)
	for _, k := range kinds {
		if shown[k.name] == 0 {
			t.Errorf("there is no example of %s", k.name)
		}
	}
}
