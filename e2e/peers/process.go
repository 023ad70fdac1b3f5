package peers

import (
	"bytes"
	"os/exec"
	"regexp"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Process is a running program and all that it has printed.
type Process struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed once the program has ended and err is set
	err   error

	mu  sync.Mutex
	out bytes.Buffer
}

// Start runs a program until the test ends. It gets a process group of its own, so that what it has started in turn ends
// with it.
func Start(tb testing.TB, cmd *exec.Cmd) *Process {
	tb.Helper()
	p := &Process{cmd: cmd, ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p, p
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if cmd.Cancel != nil { // the command has a context, which would kill the program alone
		cmd.Cancel = p.kill
	}
	// A grandchild that holds our pipe open must not hold us.
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		p.err = cmd.Wait()
	}()
	tb.Cleanup(p.Stop)
	return p
}

// Stop kills the program, with what it has started, and waits until it is gone. Of one that has ended nothing is killed: its
// number may be another's by now.
func (p *Process) Stop() {
	select {
	case <-p.ended:
	default:
		p.kill()
		<-p.ended
	}
}

func (p *Process) kill() error { return syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) }

// Wait waits until the program ends by itself, or the context of its command does.
func (p *Process) Wait() error {
	<-p.ended
	return p.err
}

// Write keeps what the program prints.
func (p *Process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.Write(b)
}

// String is what the program has printed so far, on either output.
func (p *Process) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.String()
}

// Await waits until the program has printed what matches, and returns the first group, or else the match.
func (p *Process) Await(tb testing.TB, pattern string, patience time.Duration) string {
	tb.Helper()
	re := regexp.MustCompile(pattern)
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if m := re.FindStringSubmatch(p.String()); m != nil {
			return m[len(m)-1]
		}
		select {
		case <-p.ended:
			tb.Fatalf("%s ended (%v) before it printed %q:\n%s", p.cmd.Path, p.err, pattern, p)
		default:
		}
		if time.Now().After(deadline) {
			tb.Fatalf("%s has not printed %q:\n%s", p.cmd.Path, pattern, p)
		}
	}
}
