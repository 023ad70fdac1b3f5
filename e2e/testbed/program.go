package testbed

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Program is something that runs, and may be killed and started again with the same command line.
type Program struct {
	Quiet bool // what it said is not shown if the test fails: it is not what is tested

	name string
	path string
	args []string
	env  []string
	log  string

	mu    sync.Mutex
	cmd   *exec.Cmd
	ended chan struct{}
	err   error
}

// Run starts a program until the test ends. What it prints goes to a file, which is shown if the test fails.
func Run(tb testing.TB, name, path string, env []string, args ...string) *Program {
	tb.Helper()
	p := &Program{name: name, path: path, args: args, env: env, log: filepath.Join(tb.TempDir(), name+".log")}
	tb.Cleanup(func() {
		p.Kill()
		if tb.Failed() && !p.Quiet {
			tb.Logf("the end of what %s said:\n%s", name, p.tail(4000))
		}
	})
	p.Start(tb)
	return p
}

// Start starts it, again if it has ended.
func (p *Program) Start(tb testing.TB) {
	tb.Helper()
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		tb.Fatal(err)
	}
	cmd := exec.Command(p.path, p.args...)
	cmd.Env = append(os.Environ(), p.env...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	ended, started := make(chan struct{}), make(chan error)
	go func() {
		// A process with a death signal dies with the thread that started it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(ended)
		defer out.Close()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		err = cmd.Wait()
		p.mu.Lock()
		p.err = err
		p.mu.Unlock()
	}()
	if err := <-started; err != nil {
		tb.Fatalf("%s: %v", p.name, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cmd, p.ended = cmd, ended
}

// Signal sends a signal, if it still runs.
func (p *Program) Signal(s syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil && p.running() {
		_ = p.cmd.Process.Signal(s)
	}
}

func (p *Program) running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// Kill ends it at once and waits until it is gone.
func (p *Program) Kill() {
	p.Signal(syscall.SIGKILL)
	p.Wait()
}

// Wait waits until it has ended, and returns why.
func (p *Program) Wait() error {
	p.mu.Lock()
	ended := p.ended
	p.mu.Unlock()
	if ended == nil {
		return nil
	}
	<-ended
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// Output is what it has printed so far.
func (p *Program) Output() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func (p *Program) tail(n int) string {
	b := []byte(p.Output())
	b = b[max(0, len(b)-n):]
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		b = b[i+1:]
	}
	return string(b)
}

// Await asks until it is answered without an error, or the program has ended, or it took too long.
func (p *Program) Await(tb testing.TB, patience time.Duration, ask func() error) {
	tb.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := ask()
		if err == nil {
			return
		}
		p.mu.Lock()
		running := p.running()
		p.mu.Unlock()
		if !running || time.Now().After(deadline) {
			tb.Fatalf("%s is not ready (running: %v): %v\n%s", p.name, running, err, p.tail(4000))
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// FreeAddr returns a loopback address that nobody listens on at this moment.
func FreeAddr(tb testing.TB) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func port(tb testing.TB, addr string) string {
	tb.Helper()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		tb.Fatal(err)
	}
	return port
}
