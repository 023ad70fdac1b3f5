package mcp_test

import (
	"bytes"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"waymark.dev/waypoint/cmd/demo/company"
	"waymark.dev/waypoint/pkg/identity"
)

// The product as it is shipped: `waypoint serve` and `waypoint tunnel` as processes of their own, with certificates in
// files.
func TestBinary(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "waypoint")
	build := exec.Command("go", "build", "-o", bin, "./cmd/waypoint")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	f := start(t, options{})
	server := run(t, bin, "serve", "--config", f.dir, "--certs", f.certificates(t, f.waypoint.ID()), "--listen", "127.0.0.1:0",
		"--health", "")
	hbone := server.await(t, `hbone=(127\.0\.0\.1:\d+)`)
	tunnel := run(t, bin, "tunnel", "--certs", f.certificates(t, f.mesh.ID("agents", "intern")), "--waypoint", hbone,
		"--to", f.service.Authority(), "--expect", f.waypoint.ID().String())
	local := tunnel.await(t, `listening on (127\.0\.0\.1:\d+)`)
	forms(t, func(t *testing.T, version string) {
		var client http.Client
		client.Transport = &http.Transport{}
		t.Cleanup(client.CloseIdleConnections)
		s := connect(t, "http://"+local+"/mcp", &client, version, nil)
		if got := call(t, s, company.ReadAccount, account("A-100")); got != adas {
			t.Errorf("got %s, want %s", got, adas)
		}
		if got, want := call(t, s, company.ExportAll, nil), "-32602 "; !strings.HasPrefix(got, want) {
			t.Errorf("got %s, want %s…", got, want)
		}
		alive(t, s)
	})
	server.await(t, `("verdict":"deny","code":"entitlement_denied")`)
	tunnel.interrupt(t)
	server.interrupt(t)
}

func (f *fixture) certificates(t *testing.T, id identity.ID) string {
	t.Helper()
	dir := t.TempDir()
	if err := f.mesh.WriteCertificates(dir, id); err != nil {
		t.Fatal(err)
	}
	return dir
}

// process is a running program and all it has printed.
type process struct {
	cmd *exec.Cmd

	mu  sync.Mutex
	out bytes.Buffer
}

func run(t *testing.T, name string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(name, args...)}
	p.cmd.Stdout, p.cmd.Stderr = p, p
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if p.cmd.ProcessState == nil { // the test failed before it ended the process
			p.cmd.Process.Kill()
			p.cmd.Wait()
		}
	})
	return p
}

func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.Write(b)
}

func (p *process) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.String()
}

// await waits until the process prints what matches and returns the first group.
func (p *process) await(t *testing.T, pattern string) string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	var found string
	eventually(t, pattern, func() bool {
		m := re.FindStringSubmatch(p.String())
		if m != nil {
			found = m[1]
		}
		return m != nil
	})
	return found
}

// interrupt ends the process as Ctrl-C does; that is no failure.
func (p *process) interrupt(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("%s: %v\n%s", p.cmd.Args[1], err, p)
	}
}
