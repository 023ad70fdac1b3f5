package mcp_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The inputs of contract 13 are numbered 1 to 135. Those from here on are of A2A, which nothing in this repository decodes yet:
// a port that carries it passes it as plain HTTP.
const (
	lastRow     = 135
	firstA2ARow = 117
)

// ofTheTransport are the inputs that a codec alone cannot show: what becomes of them is decided between the sockets.
var ofTheTransport = []int{93, 94, 95, 96, 97, 98, 99, 100, 109, 110, 114, 115, 116}

// Every input of contract 13 is a test, by its number; those of the transport go through a real tunnel and waypoint.
func TestEveryRowIsTested(t *testing.T) {
	anywhere := rowsIn(t, "../..")
	through := rowsIn(t, "../../e2e/matrix")
	for row := 1; row < firstA2ARow; row++ {
		if !slices.Contains(anywhere, row) {
			t.Errorf("no test is named 013_%02d", row)
		}
		if slices.Contains(ofTheTransport, row) && !slices.Contains(through, row) {
			t.Errorf("013_%02d does not go through a waypoint", row)
		}
	}
	for _, row := range anywhere {
		if row < 1 || row > lastRow {
			t.Errorf("a test is named 013_%d: there is no such input", row)
		}
		if row >= firstA2ARow {
			t.Errorf("013_%d is tested: A2A has come, and firstA2ARow is out of date", row)
		}
	}
}

// rowsIn lists the numbers that the tests and fixtures below a folder are named after.
func rowsIn(t *testing.T, root string) (rows []int) {
	t.Helper()
	numbered := regexp.MustCompile(`\b013_([0-9]+)`)
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == ".git" || d.Name() == "node_modules" || d.Name() == "out"):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(file, "_test.go") && !strings.HasSuffix(file, ".txtar"):
			return nil
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		for _, m := range numbered.FindAllStringSubmatch(file+string(text), -1) {
			row, err := strconv.Atoi(m[1])
			if err != nil {
				return err
			}
			if !slices.Contains(rows, row) {
				rows = append(rows, row)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return rows
}
