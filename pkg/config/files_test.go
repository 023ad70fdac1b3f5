package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"waymark.dev/waypoint/pkg/config"
)

// A ConfigMap volume is a directory of links into ..data, which is a link itself.
func TestMountedConfigMap(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "..2026"), os.DirFS("testdata/base")); err != nil {
		t.Fatal(err)
	}
	link(t, "..2026", filepath.Join(dir, "..data"))
	for _, name := range []string{"10-gateway.yaml", "20-mesh.yaml"} {
		link(t, filepath.Join("..data", name), filepath.Join(dir, name))
	}
	if got, want := load(t, dir).Generation(), load(t, "testdata/base").Generation(); got != want {
		t.Errorf("got generation %s, want %s", got, want)
	}
}

func link(t *testing.T, to, name string) {
	t.Helper()
	if err := os.Symlink(to, name); err != nil {
		t.Fatal(err)
	}
}

func TestUnreadableFiles(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "secret.yaml")
	write(t, outside, []byte("a: secret\n"))
	for _, tt := range []struct {
		name string
		make func(t *testing.T, dir string)
		want string
	}{
		{"link out of the directory", func(t *testing.T, dir string) { link(t, outside, filepath.Join(dir, "a.yaml")) },
			"a.yaml: cannot read: path escapes from parent"},
		{"link to nowhere", func(t *testing.T, dir string) { link(t, "nowhere", filepath.Join(dir, "a.yaml")) },
			"a.yaml: cannot read: no such file or directory"},
		{"link to a directory", func(t *testing.T, dir string) {
			if err := os.Mkdir(filepath.Join(dir, "sub"), 0o700); err != nil {
				t.Fatal(err)
			}
			link(t, "sub", filepath.Join(dir, "a.yaml"))
		}, "a.yaml: is not a regular file: d---------"},
		{"too large", func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "a.yaml"), []byte(strings.Repeat("# filler\n", 1<<19)))
		}, "a.yaml: is larger than 4194304 bytes"},
		{"object too large", func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "a.yaml"), []byte("kind: X\nspec: "+strings.Repeat("a", 1<<20)+"\n"))
		}, "a.yaml:1:1: X: the object has 1048598 bytes as JSON, over the limit of 1048576"},
		{"name of two lines", func(t *testing.T, dir string) { write(t, filepath.Join(dir, "a\nb.yaml"), []byte("[]")) },
			`"a\nb.yaml":1:1: a document has to be one object`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := baseDir(t)
			tt.make(t, dir)
			c, problems := config.Load(dir)
			if got := problems.Error(); c != nil || got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestUnreadableDirectories(t *testing.T) {
	empty := t.TempDir()
	if err := os.Mkdir(filepath.Join(empty, "sub.yaml"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(empty, "sub.yaml", "a.yaml"), []byte("a: subdirectories are not read\n"))
	file := filepath.Join(empty, "file")
	write(t, file, nil)
	for dir, want := range map[string]string{
		empty: "the directory has no *.yaml and no *.yml file",
		file:  "cannot open the directory: open " + file + ": not a directory",
	} {
		c, problems := config.Load(dir)
		if got := problems.Error(); c != nil || got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
