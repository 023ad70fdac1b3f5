package house_test

import (
	"bytes"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

// root is the top of the repository, seen from this folder: where `go test` runs.
const root = "../.."

// sources calls visit with every file of the repository: its path from the root, with slashes, and what it holds. Folders
// that are not part of it (.git, and what make leaves behind) are passed over.
func sources(t *testing.T, visit func(name string, content []byte)) {
	t.Helper()
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		if d.IsDir() {
			if name == ".git" || name == "bin" || name == "out" || d.Name() == "node_modules" {
				return fs.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() || strings.HasSuffix(name, ".test") || strings.HasSuffix(name, ".prof") {
			return nil
		}
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		visit(name, content)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// texts is sources without what is not text.
func texts(t *testing.T, visit func(name, content string)) {
	t.Helper()
	sources(t, func(name string, content []byte) {
		if bytes.IndexByte(content, 0) < 0 {
			visit(name, string(content))
		}
	})
}

// goFile reports whether name is Go source, and whether it is a test. What lies under testdata is data.
func goFile(name string) (source, test bool) {
	if path.Ext(name) != ".go" || strings.Contains(name, "testdata/") {
		return false, false
	}
	return true, strings.HasSuffix(name, "_test.go")
}
