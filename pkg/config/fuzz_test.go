package config_test

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"go.yaml.in/yaml/v3"

	"waymark.dev/waypoint/pkg/config"
)

// Whatever one more file holds: there is either a configuration or a list of problems, each with a place and a text; what is
// accepted means the same when it is read again, and when another YAML reader has read and rewritten it.
func FuzzLoad(f *testing.F) {
	for _, pattern := range []string{"testdata/bad/*.txtar", "testdata/good/*.txtar"} {
		fixtures, err := filepath.Glob(pattern)
		if err != nil || len(fixtures) == 0 {
			f.Fatal("no fixtures", err)
		}
		for _, name := range fixtures {
			a, err := txtar.ParseFile(name)
			if err != nil {
				f.Fatal(err)
			}
			for _, file := range a.Files[:len(a.Files)-1] {
				f.Add(file.Data)
			}
		}
	}
	base := map[string][]byte{}
	for _, name := range []string{"10-gateway.yaml", "20-mesh.yaml"} {
		text, err := os.ReadFile(filepath.Join("testdata/base", name))
		if err != nil {
			f.Fatal(err)
		}
		base[name] = text
	}
	with := func(text []byte) (*config.Config, config.Problems) {
		files := maps.Clone(base)
		files["90-fuzz.yaml"] = text
		return config.LoadText(files)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, problems := with(text)
		if (c == nil) != (len(problems) > 0) {
			t.Fatalf("got the configuration %v with %d problems", c, len(problems))
		}
		for _, p := range problems {
			if p.Text == "" || p.File == "" && !strings.Contains(p.Text, "Gateway") || strings.ContainsAny(p.String(), "\n\r\x1b") {
				t.Fatalf("a problem without a place, or with control characters: %q", p.String())
			}
		}
		if c == nil {
			return
		}
		again, problems := with(text)
		if len(problems) > 0 || again.Generation() != c.Generation() || rendered(t, again) != rendered(t, c) {
			t.Fatalf("read again, it means something else: %v", problems)
		}
		other, problems := with(rewritten(t, text))
		if len(problems) > 0 || other.Generation() != c.Generation() {
			t.Fatalf("another reader understands something else: %v", problems)
		}
	})
}

// rewritten is the text as a reader that knows nothing of ours understands it: decoded into plain values and written again.
func rewritten(t *testing.T, text []byte) []byte {
	t.Helper()
	var out strings.Builder
	enc := yaml.NewEncoder(&out)
	dec := yaml.NewDecoder(strings.NewReader(string(text)))
	for {
		var v any
		if err := dec.Decode(&v); err != nil {
			break
		}
		if v == nil {
			continue
		}
		if err := enc.Encode(v); err != nil {
			t.Fatal(err)
		}
	}
	if err := enc.Close(); err != nil {
		t.Fatal(err)
	}
	return []byte(out.String())
}
