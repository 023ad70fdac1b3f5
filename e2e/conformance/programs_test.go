package conformance_test

import (
	"context"
	"encoding/json/v2"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"waymark.dev/waypoint/e2e/peers"
)

// sdk is the module whose programs are run; e2e/go.mod pins it.
const sdk = "github.com/modelcontextprotocol/go-sdk"

// built are programs of the SDK, each built by the first test that needs it.
type built struct {
	dir    func() (string, error)
	source func() (string, error) // of the SDK
	server func() (string, error)
	client func() (string, error)
}

var programs = build()

func build() *built {
	b := &built{
		dir:    sync.OnceValues(func() (string, error) { return os.MkdirTemp("", "conformance") }),
		source: sync.OnceValues(func() (string, error) { return run("go", "list", "-m", "-f", "{{.Dir}}", sdk) }),
	}
	b.server = sync.OnceValues(func() (string, error) { return b.compile("server", sdk+"/conformance/everything-server") })
	b.client = sync.OnceValues(b.redirected)
	return b
}

func (b *built) compile(name, pkg string, flags ...string) (string, error) {
	dir, err := b.dir()
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, name)
	_, err = run("go", append(append([]string{"build", "-o", file}, flags...), pkg)...)
	return file, err
}

// redirected is the SDK's client with testdata/redirect.go beside its source. The two meet in a folder that exists for the
// compiler only.
func (b *built) redirected() (string, error) {
	source, err := b.source()
	if err != nil {
		return "", err
	}
	here, err := os.Getwd()
	if err != nil {
		return "", err
	}
	dir, err := b.dir()
	if err != nil {
		return "", err
	}
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{
		filepath.Join(here, "redirected", "main.go"):     filepath.Join(source, "conformance", "everything-client", "main.go"),
		filepath.Join(here, "redirected", "redirect.go"): filepath.Join(here, "testdata", "redirect.go"),
	}})
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, overlay, 0o600); err != nil {
		return "", err
	}
	return b.compile("client", "./redirected", "-overlay", file)
}

// baseline is the SDK's own list of scenarios that its client and server do not pass.
func (b *built) baseline() (string, error) {
	source, err := b.source()
	return filepath.Join(source, "conformance", "baseline.yml"), err
}

func (b *built) remove() {
	if dir, err := b.dir(); err == nil {
		os.RemoveAll(dir)
	}
}

func run(name string, args ...string) (string, error) {
	out, err := exec.Command(name, args...).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = errors.New(name + " " + strings.Join(args, " ") + ": " + string(exit.Stderr))
	}
	return strings.TrimSpace(string(out)), err
}

func need(t *testing.T, get func() (string, error)) string {
	t.Helper()
	v, err := get()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// The forms of the SDK's everything server.
const (
	sessions  = "-stateless=false" // legacy, with sessions
	stateless = "-stateless=true"  // modern, and legacy without sessions
)

// goServer runs the SDK's everything server until the test ends.
func goServer(t *testing.T, form string) (addr string) {
	t.Helper()
	addr = free(t)
	p := peers.Start(t, exec.Command(need(t, programs.server), "-http="+addr, form))
	p.Await(t, "listening at", patience)
	listening(t, p, addr)
	return addr
}

// nodeServer runs a form of the npm package's everything server until the test ends.
func nodeServer(t *testing.T, n peers.Node, form string) (addr string) {
	t.Helper()
	addr = free(t)
	_, port, _ := net.SplitHostPort(addr)
	cmd := n.Program(context.Background(), "mcp-server-everything", form)
	cmd.Env = append(cmd.Env, "PORT="+port)
	p := peers.Start(t, cmd)
	listening(t, p, addr)
	return addr
}

// listening waits until a connection is accepted: not all servers say so, and some say so before it is true.
func listening(t *testing.T, p *peers.Process, addr string) {
	t.Helper()
	eventually(t, p.String, func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

// free is an address that nobody listens on: these servers cannot be told to choose one themselves.
func free(t *testing.T) string {
	t.Helper()
	l := peers.Listen(t)
	defer l.Close()
	return l.Addr().String()
}
