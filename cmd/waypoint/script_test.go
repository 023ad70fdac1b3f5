package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/identity/certs/certstest"
)

// Commands of the scripts, beside testscript's own:
//
//	certs DIR ID [DIR ID ...]      writes a set of certificate files for each ID, all of one CA
//	fill FILE                      replaces $NAME by the environment
//	start NAME REGEXP COMMAND ...  starts a program and waits for the line that matches; groups become $NAME1, $NAME2, ...
//	await NAME REGEXP              waits for a later line of it
//	stop NAME                      asks it to end, and wants exit status 0
//	get URL                        prints status and answer
//	post URL FILE                  posts JSON and prints the same
var commands = map[string]func(*testscript.TestScript, bool, []string){
	"certs": writeCerts, "fill": fill, "start": start, "await": await, "stop": stop, "get": get, "post": post,
}

// patience bounds every wait; nothing depends on how long one takes.
const patience = 20 * time.Second

func writeCerts(ts *testscript.TestScript, _ bool, args []string) {
	ca := certstest.NewCA(identity.RequireTrustDomain("cluster.local"))
	for i := 0; i+1 < len(args); i += 2 {
		dir := ts.MkAbs(args[i])
		ts.Check(os.MkdirAll(dir, 0o700))
		ts.Check(ca.WriteFiles(dir, identity.RequireID(args[i+1])))
	}
}

func fill(ts *testscript.TestScript, _ bool, args []string) {
	name := ts.MkAbs(args[0])
	ts.Check(os.WriteFile(name, []byte(os.Expand(ts.ReadFile(name), ts.Getenv)), 0o600))
}

// program is something that a script started.
type program struct {
	cmd   *exec.Cmd
	lines chan string // stdout and stderr, closed at the end
}

func start(ts *testscript.TestScript, _ bool, args []string) {
	out, in, err := os.Pipe()
	ts.Check(err)
	p := &program{cmd: exec.Command(args[2], args[3:]...), lines: make(chan string, 1000)}
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = ts.MkAbs("."), in, in
	ts.Check(p.cmd.Start())
	_ = in.Close()
	go p.follow(out)
	programs(ts)[args[0]] = p
	ts.Defer(func() { _ = p.cmd.Process.Kill() })
	for i, group := range p.await(ts, args[1])[1:] {
		ts.Setenv(fmt.Sprintf("%s%d", args[0], i+1), group)
	}
}

func (p *program) follow(out io.ReadCloser) {
	defer out.Close()
	defer close(p.lines)
	for s := bufio.NewScanner(out); s.Scan(); {
		p.lines <- s.Text()
	}
}

func (p *program) await(ts *testscript.TestScript, pattern string) []string {
	re := regexp.MustCompile(pattern)
	var seen []string
	for timeout := time.After(patience); ; {
		select {
		case line, ok := <-p.lines:
			if groups := re.FindStringSubmatch(line); groups != nil {
				return groups
			}
			if seen = append(seen, line); !ok {
				ts.Fatalf("it ended without %s:\n%s", pattern, strings.Join(seen, "\n"))
			}
		case <-timeout:
			ts.Fatalf("it did not say %s:\n%s", pattern, strings.Join(seen, "\n"))
		}
	}
}

func await(ts *testscript.TestScript, _ bool, args []string) {
	programs(ts)[args[0]].await(ts, args[1])
}

func stop(ts *testscript.TestScript, _ bool, args []string) {
	p := programs(ts)[args[0]]
	ts.Check(p.cmd.Process.Signal(syscall.SIGTERM))
	for line := range p.lines {
		ts.Logf("%s: %s", args[0], line)
	}
	ts.Check(p.cmd.Wait())
}

type programsKey struct{}

func programs(ts *testscript.TestScript) map[string]*program {
	return ts.Value(programsKey{}).(map[string]*program)
}

func get(ts *testscript.TestScript, _ bool, args []string) {
	request(ts, http.MethodGet, args[0], "")
}

func post(ts *testscript.TestScript, _ bool, args []string) {
	request(ts, http.MethodPost, args[0], ts.ReadFile(args[1]))
}

func request(ts *testscript.TestScript, method, url, body string) {
	r, err := http.NewRequest(method, url, strings.NewReader(body))
	ts.Check(err)
	r.Header.Set("Content-Type", "application/json")
	client := http.Client{Timeout: patience}
	defer client.CloseIdleConnections()
	resp, err := client.Do(r)
	if err != nil {
		fmt.Fprintf(ts.Stdout(), "error: %v\n", err)
		return
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	ts.Check(err)
	fmt.Fprintf(ts.Stdout(), "%s\n%s\n", resp.Status, answer)
}

// toolServer is a program for scripts: it says where it listens and answers every call alike.
func toolServer() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Printf("listening on %s\n", l.Addr().(*net.TCPAddr).AddrPort())
	_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"done"}]}}`)
	}))
}
