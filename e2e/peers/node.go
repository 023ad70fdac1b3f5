package peers

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// exitMissing is what tools/node returns if the machine lacks something that no network would give it.
const exitMissing = 3

// Node is an installed set of npm packages, with a Node that runs them.
type Node struct {
	dir     string
	preload string // e2e/node/mesh.cjs
}

// NeedNode returns the packages of e2e/node/package.json and installs them outside the checkout if nobody has yet. Where
// that cannot be done the test is skipped; where peers are required (CI, or WAYMARK_REQUIRE_PEERS=1) and npm is there but
// does not install, it fails.
func NeedNode(tb testing.TB) Node {
	tb.Helper()
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		tb.Fatal(err)
	}
	var said bytes.Buffer
	cmd := exec.CommandContext(tb.Context(), filepath.Join(root, "tools", "node"))
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		unavailable(tb, err, strings.TrimSpace(said.String()))
	}
	return Node{dir: strings.TrimSpace(string(out)), preload: filepath.Join(root, "e2e", "node", "mesh.cjs")}
}

func unavailable(tb testing.TB, err error, why string) {
	tb.Helper()
	var exit *exec.ExitError
	missing := errors.As(err, &exit) && exit.ExitCode() == exitMissing
	if !missing && required() {
		tb.Fatalf("tools/node: %v: %s", err, why)
	}
	tb.Skipf("needs packages from npm: %s", why)
}

// required reports whether a peer that could be installed and was not is a failure.
func required() bool {
	return os.Getenv("CI") != "" || os.Getenv("WAYMARK_REQUIRE_PEERS") == "1"
}

// Path is where a file of the packages is, for example Path("@modelcontextprotocol", "sdk", "package.json").
func (n Node) Path(elements ...string) string {
	return filepath.Join(append([]string{n.dir, "node_modules"}, elements...)...)
}

// Program prepares to run a program that the packages bring, for example "conformance" or "mcp-inspector".
func (n Node) Program(ctx context.Context, name string, args ...string) *exec.Cmd {
	return n.Script(ctx, n.Path(".bin", name), args...)
}

// Script prepares to run a JavaScript file. One that lies elsewhere finds the packages by NODE_PATH if it is CommonJS; a
// module has to be given paths: imports of modules do not heed NODE_PATH. Its servers listen on 127.0.0.1 unless they name
// an address, and it connects where a mesh would have it connect if WAYMARK_REDIRECT says so: e2e/node/mesh.cjs.
func (n Node) Script(ctx context.Context, file string, args ...string) *exec.Cmd {
	path := filepath.Join(n.dir, "bin") + string(os.PathListSeparator) + os.Getenv("PATH")
	cmd := exec.CommandContext(ctx, n.node(), append([]string{file}, args...)...)
	cmd.Env = append(os.Environ(), "PATH="+path, "NODE_PATH="+n.Path(), "NODE_OPTIONS=--require="+n.preload)
	return cmd
}

// node is the Node of the packages, or the machine's where the packages have none for it: tools/node has seen that one
// of them will do.
func (n Node) node() string {
	own := filepath.Join(n.dir, "bin", "node")
	if _, err := os.Stat(own); err != nil {
		return "node"
	}
	return own
}
