package config_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"waymark.dev/waypoint/pkg/config"
)

var update = flag.Bool("update", false, "write what is seen into the fixtures")

// Each fixture adds to testdata/base, or replaces, files with the one defect it is named for; its section "want" is
// everything that has to be said about it.
func TestBad(t *testing.T) {
	fixtures, err := filepath.Glob("testdata/bad/*.txtar")
	if err != nil || len(fixtures) == 0 {
		t.Fatal("no fixtures", err)
	}
	for _, name := range fixtures {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			dir := baseDir(t)
			want := &a.Files[len(a.Files)-1]
			for _, f := range a.Files[:len(a.Files)-1] {
				write(t, filepath.Join(dir, f.Name), f.Data)
			}
			c, problems := config.Load(dir)
			if c != nil || len(problems) == 0 {
				t.Fatalf("got a configuration, want problems")
			}
			got := problems.Error() + "\n"
			if *update {
				want.Data = []byte(got)
				write(t, name, txtar.Format(a))
			}
			if got != string(want.Data) {
				t.Errorf("got\n%swant\n%s", got, want.Data)
			}
		})
	}
}

// baseDir is a directory with a good configuration.
func baseDir(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/base")); err != nil {
		t.Fatal(err)
	}
	return dir
}

func write(t testing.TB, name string, text []byte) {
	t.Helper()
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
}
