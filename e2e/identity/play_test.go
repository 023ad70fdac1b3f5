package identity_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// What the README of examples/obo-chain shows is what its script prints, with the program itself, openssl and curl.
func TestPlay(t *testing.T) {
	for _, name := range []string{"bash", "openssl", "curl"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("needs %s: %v", name, err)
		}
	}
	const example = "../../examples/obo-chain"
	program := filepath.Join(t.TempDir(), "waypoint")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./cmd/waypoint")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, filepath.Join(example, "play.sh"), program).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	page, err := os.ReadFile(filepath.Join(example, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, shown, ok := strings.Cut(string(page), "$ examples/obo-chain/play.sh bin/waypoint\n")
	shown, _, ended := strings.Cut(shown, "```")
	if !ok || !ended {
		t.Fatal("the README shows no play.sh")
	}
	if got := regexp.MustCompile(`"txn":"[^"]+"`).ReplaceAllString(string(out), `"txn":"…"`); got != shown {
		t.Errorf("play.sh prints\n%s\nand the README shows\n%s", got, shown)
	}
}
