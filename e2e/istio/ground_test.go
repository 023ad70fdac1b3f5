package istio_test

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"waymark.dev/waypoint/e2e/testbed"
)

// ground is where the cases of TestAnywhere run: on loopback, or in a cluster.
type ground interface {
	String() string
	// site makes a namespace with the service mcp (ports 3000 and 80) behind the waypoint "agents", and callers with the accounts
	// teller and intern. Everything in it is ready when it returns.
	site(t *testing.T, ns string) *site
	restartIstiod(t *testing.T)
	proxyStatus() (string, error)
}

// site is one namespace of a ground.
type site struct {
	k  *testbed.Kubernetes
	ns string
	// run is the program e2e/kind/pod in the pod of a caller: one of its commands, to a port of the service mcp.
	run              func(account, command string, port int, path string, args ...string) *exec.Cmd
	restartWaypoints func(t *testing.T)
}

// say runs a command to its end and returns the one line it prints, or several.
func (s *site) say(t *testing.T, account, command string, port int, path string, args ...string) string {
	t.Helper()
	cmd := s.run(account, command, port, path, args...)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, said.String())
	}
	return strings.TrimSpace(out.String())
}

func (s *site) call(t *testing.T, account, tool string) string {
	t.Helper()
	return s.say(t, account, "call", mcpPort, "/mcp", tool)
}

func (s *site) get(t *testing.T, account string) string {
	t.Helper()
	return s.say(t, account, "get", 80, "/")
}

// load keeps clients busy while something happens, and for some seconds after; it returns what became of their requests.
func (s *site) load(t *testing.T, clients int, meanwhile func(*testing.T)) string {
	t.Helper()
	cmd := s.run("teller", "load", 80, "/", fmt.Sprint(clients))
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	func() {
		defer stdin.Close()
		time.Sleep(2 * time.Second)
		meanwhile(t)
		time.Sleep(3 * time.Second)
	}()
	if err := cmd.Wait(); err != nil {
		t.Fatalf("load: %v\n%s", err, said.String())
	}
	if said.Len() > 0 {
		t.Logf("load:\n%s", said.String())
	}
	return strings.TrimSpace(out.String())
}

// watched is the outcome of a tool's calls, as it changes.
type watched struct {
	lines chan string
	cmd   *exec.Cmd
}

func (s *site) watch(t *testing.T, account, tool string) *watched {
	t.Helper()
	w := &watched{lines: make(chan string, 100), cmd: s.run(account, "watch", mcpPort, "/mcp", tool)}
	w.cmd.Stderr = os.Stderr
	stdin, err := w.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := w.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			_, outcome, _ := strings.Cut(lines.Text(), " ")
			w.lines <- outcome
		}
	}()
	t.Cleanup(func() { stdin.Close(); <-done; _ = w.cmd.Wait() })
	return w
}

// until waits for an outcome.
func (w *watched) until(t *testing.T, what string, ok func(outcome string) bool) {
	t.Helper()
	limit := time.After(patience)
	for {
		select {
		case got := <-w.lines:
			if ok(got) {
				return
			}
		case <-limit:
			t.Fatalf("%s: not within %s", what, patience)
		}
	}
}

// eventually asks until there is no error.
func eventually(t *testing.T, what string, ask func() error) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		err := ask()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: %v", what, err)
		}
	}
}
