package main

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"waymark.dev/waypoint/cmd/demo/company"
)

const patience = 30 * time.Second

// The edit that docs/demo.md proposes.
const (
	editFrom = "tools: [read_account, list_customers]"
	editTo   = "tools: [read_account, list_customers, update_limit]"
)

// output is a buffer that is written and read at once.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// await waits until the output matches and returns the submatches.
func (o *output) await(t *testing.T, pattern string) []string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if m := re.FindStringSubmatch(o.String()); m != nil {
			return m
		}
		if time.Now().After(deadline) {
			t.Fatalf("never printed %s:\n%s", pattern, o)
		}
	}
}

func TestDemo(t *testing.T) {
	var out, errs output
	if got := run(t.Context(), nil, &out, &errs); got != 0 {
		t.Errorf("exit status %d, want 0: %s", got, &errs)
	}
	if want := regexp.MustCompile(`\n(\d+) calls, (\d+) as expected, 0 not\n`); !want.MatchString(out.String()) {
		t.Errorf("not every call came out as expected:\n%s", &out)
	}
	for _, l := range strings.Split(out.String(), "\n") {
		if n := len([]rune(l)); n > 100 {
			t.Errorf("%d columns: %s", n, l)
		}
	}
}

// Where the policy says something else than the script expects, the demo says so and fails.
func TestDemoNoticesWrongVerdicts(t *testing.T) {
	example, err := find(filepath.Join("examples", "company-mcp"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(example)); err != nil {
		t.Fatal(err)
	}
	const open = `apiVersion: waymark.dev/v1alpha1
kind: AgentAuthorizationPolicy
metadata: {name: everything, namespace: bank}
spec: {rules: [{}]}
`
	if err := os.WriteFile(filepath.Join(dir, "policies.yaml"), []byte(open), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errs output
	if got := run(t.Context(), []string{"--config", dir}, &out, &errs); got != 1 {
		t.Errorf("exit status %d, want 1: %s", got, &errs)
	}
	if got, want := strings.Count(out.String(), "UNEXPECTED: want denied"), 3; got != want {
		t.Errorf("%d calls are marked as not denied, want %d:\n%s", got, want, &out)
	}
	if got, want := strings.Count(out.String(), "UNEXPECTED: want filtered"), 2; got != want {
		t.Errorf("%d lists are marked as not filtered, want %d:\n%s", got, want, &out)
	}
}

func TestUsage(t *testing.T) {
	empty := t.TempDir()
	for _, tc := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--help"}, 0, usage},
		{[]string{"--nonsense"}, 2, "flag provided but not defined: -nonsense\n" + usage},
		{[]string{"extra"}, 2, "demo: unexpected argument \"extra\"\n" + usage},
		{[]string{"--config", empty}, 1, fmt.Sprintf("demo: testmesh: no *.yaml and no *.yml in %s\n", empty)},
	} {
		var out, errs output
		if got := run(t.Context(), tc.args, &out, &errs); got != tc.code {
			t.Errorf("%q: exit status %d, want %d", tc.args, got, tc.code)
		}
		if got := errs.String(); got != tc.want {
			t.Errorf("%q: got %q, want %q", tc.args, got, tc.want)
		}
	}
}

// With --serve an MCP client calls as an agent, an edited policy is taken over, a faulty one is reported and changes
// nothing, and nothing stays behind.
func TestServe(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var out, errs output
	code := make(chan int, 1)
	go func() { code <- run(ctx, []string{"--serve"}, &out, &errs) }()
	url := out.await(t, `intern-agent +(http://\S+)`)[1]
	policies := out.await(t, `(\S+policies\.yaml)`)[1]
	out.await(t, `waypoint tunnel --certs \S+intern-agent`)
	home := filepath.Dir(filepath.Dir(policies))
	privateKeys(t, home)

	client := mcp.NewClient(&mcp.Implementation{Name: "any", Version: "1"}, nil)
	s, err := client.Connect(ctx, &mcp.StreamableClientTransport{Endpoint: url}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	change := func() error {
		_, err := s.CallTool(ctx, &mcp.CallToolParams{
			Name: company.UpdateLimit, Arguments: map[string]any{"account": "A-100", "amount": 1},
		})
		return err
	}
	if change() == nil {
		t.Error("the intern may change limits before the edit")
	}
	before := edit(t, policies, editFrom, editTo)
	out.await(t, `configuration reloaded`)
	if err := change(); err != nil {
		t.Errorf("the intern may not change limits after the edit: %v", err)
	}
	edit(t, policies, "rules:", "rulez:")
	out.await(t, `(?s)configuration not reloaded.*policies\.yaml.*rulez`)
	if err := change(); err != nil {
		t.Errorf("a faulty edit changed something: %v", err)
	}
	if err := os.WriteFile(policies, []byte(before), 0o600); err != nil {
		t.Fatal(err)
	}
	out.await(t, `(?s)configuration reloaded.*configuration reloaded`)
	if change() == nil {
		t.Error("the intern may change limits after the edit was taken back")
	}
	s.Close()
	stop()
	if got := <-code; got != 0 {
		t.Errorf("exit status %d, want 0: %s", got, &errs)
	}
	if _, err := os.Stat(home); !os.IsNotExist(err) {
		t.Errorf("%s stays behind: %v", home, err)
	}
}

// edit replaces text in a file and returns what the file was.
func edit(t *testing.T, file, from, to string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(b, []byte(from)) {
		t.Fatalf("%s does not say %q", file, from)
	}
	if err := os.WriteFile(file, bytes.ReplaceAll(b, []byte(from), []byte(to)), 0o600); err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// privateKeys checks that keys were written, for nobody but their owner.
func privateKeys(t *testing.T, home string) {
	t.Helper()
	keys := 0
	err := filepath.WalkDir(home, func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Base(path) != "key.pem" {
			return err
		}
		keys++
		info, err := d.Info()
		if err == nil && info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, want 0600", path, info.Mode())
		}
		return err
	})
	if err != nil || keys != 2 {
		t.Errorf("%d keys were written, want 2: %v", keys, err)
	}
}
