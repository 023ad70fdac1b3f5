package peers

import (
	"bytes"
	"context"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// Module builds a peer that is a Go module of its own, in a folder beside the test, and returns the program. Where its modules cannot
// be had the test is skipped; where peers are required it fails.
func Module(tb testing.TB, folder string) string {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 2*time.Minute)
	defer cancel()
	list := exec.CommandContext(ctx, "go", "list", "-deps", "-f", "{{.ImportPath}}", ".") // downloads what the program needs, and nothing else
	list.Dir = folder
	var words bytes.Buffer
	list.Stderr = &words
	if err := list.Run(); err != nil {
		if required() {
			tb.Fatalf("go list in %s: %v: %s", folder, err, &words)
		}
		tb.Skipf("needs modules from a Go proxy: go list in %s: %v: %s", folder, err, &words)
	}
	file := filepath.Join(tb.TempDir(), folder)
	build := exec.CommandContext(ctx, "go", "build", "-o", file, ".")
	build.Dir = folder
	if out, err := build.CombinedOutput(); err != nil {
		tb.Fatalf("%v\n%s", err, out)
	}
	return file
}
