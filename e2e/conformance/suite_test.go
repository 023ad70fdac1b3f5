package conformance_test

import (
	"context"
	"encoding/json/v2"
	"errors"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"waymark.dev/waypoint/e2e/peers"
)

// suiteTime bounds one run of the suite; they take a few seconds each.
const suiteTime = 2 * time.Minute

// results are what a run of the suite found, by scenario.
type results struct {
	checks         map[string][]check
	passed, failed int
	exit           int
	said           string
}

// check is what the suite writes down of each. Its time is left out.
type check struct {
	ID           string `json:"id"`
	Name         string `json:"name"`
	Description  string `json:"description"`
	Status       string `json:"status"`
	ErrorMessage string `json:"errorMessage,omitzero"`
	Details      any    `json:"details,omitzero"`
}

// runSuite runs the suite with these arguments and environment, and reads what it has written.
func runSuite(t *testing.T, n peers.Node, env []string, args ...string) results {
	t.Helper()
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), suiteTime)
	defer cancel()
	cmd := n.Program(ctx, "conformance", append(args, "--output-dir", dir)...)
	cmd.Env = append(cmd.Env, env...)
	p := peers.Start(t, cmd)
	err := p.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("conformance %q: %v\n%s", args, err, p)
	}
	r := results{checks: map[string][]check{}, exit: cmd.ProcessState.ExitCode(), said: p.String()}
	r.read(t, dir)
	return r
}

// stamp is what the suite appends to a scenario's name.
var stamp = regexp.MustCompile(`-\d{4}-\d\d-\d\dT[0-9-]+Z$`)

func (r *results) read(t *testing.T, dir string) {
	t.Helper()
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != "checks.json" {
			return err
		}
		var checks []check
		content, err := os.ReadFile(filepath.Join(dir, name))
		if err == nil {
			err = json.Unmarshal(content, &checks)
		}
		r.add(stamp.ReplaceAllString(filepath.Dir(name), ""), checks)
		return err
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, r.said)
	}
}

func (r *results) add(scenario string, checks []check) {
	r.checks[scenario] = append(r.checks[scenario], checks...)
	for _, c := range checks {
		switch c.Status {
		case "SUCCESS":
			r.passed++
		case "FAILURE":
			r.failed++
		}
	}
}

// lines are the checks of a scenario, without what may differ, in an order of their own: some scenarios do several things at
// once, and write them down as they come.
func (r results) lines(scenario string, w way) []string {
	var out []string
	for _, c := range r.checks[scenario] {
		out = append(out, c.line(w))
	}
	slices.Sort(out)
	return out
}

func (c check) line(w way) string {
	c = c.level(w)
	c.Details = steady("", c.Details)
	c.ErrorMessage, c.Description = steadyText(c.ErrorMessage), steadyText(c.Description)
	return text(c)
}

// compare fails for each check that one run has and the other has not.
func compare(t *testing.T, w way, direct, through results) {
	t.Helper()
	if got, want := through.exit, direct.exit; got != want {
		t.Errorf("exit status %d through the waypoint, %d without it\n%s", got, want, through.said)
	}
	scenarios := slices.AppendSeq(slices.Collect(maps.Keys(direct.checks)), maps.Keys(through.checks))
	slices.Sort(scenarios)
	for _, scenario := range slices.Compact(scenarios) {
		got, want := through.lines(scenario, w), direct.lines(scenario, w)
		for _, line := range less(want, got) {
			t.Errorf("%s: only without the waypoint:\n\t%s", scenario, line)
		}
		for _, line := range less(got, want) {
			t.Errorf("%s: only through the waypoint:\n\t%s", scenario, line)
		}
	}
}

// less is what a has and b has not, counting repetitions.
func less(a, b []string) []string {
	b = slices.Clone(b)
	var out []string
	for _, s := range a {
		if i := slices.Index(b, s); i >= 0 {
			b = slices.Delete(b, i, i+1)
			continue
		}
		out = append(out, s)
	}
	return out
}

// expect fails unless the direct run found what it is known to find: a suite that did not run would agree with itself.
func (r results) expect(t *testing.T, exit, passed, failed int) {
	t.Helper()
	if r.exit != exit || r.passed < passed || r.failed > failed {
		t.Fatalf("the direct run exits with %d after %d passed and %d failed; it is known to exit with %d after %d and %d:\n%s",
			r.exit, r.passed, r.failed, exit, passed, failed, strings.TrimSpace(r.said))
	}
	t.Logf("direct: %d passed, %d failed", r.passed, r.failed)
}
