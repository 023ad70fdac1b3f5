package apart

import (
	"bufio"
	"context"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Options say where a process runs.
type Options struct {
	Cores []int // it may use; none: all
	Procs int   // GOMAXPROCS; 0: as Go chooses
}

// Process is a running role.
type Process struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	addr  netip.AddrPort

	mu    sync.Mutex // one question at a time
	lines *bufio.Scanner
}

// Start runs this program again in the named role, and returns when it is ready. ctx bounds its life.
func Start(ctx context.Context, role string, o Options, args ...string) (*Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	if o.Procs > 0 {
		cmd.Env = append(cmd.Env, fmt.Sprintf("GOMAXPROCS=%d", o.Procs))
	}
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := On(o.Cores, cmd.Start); err != nil {
		return nil, err
	}
	p := &Process{cmd: cmd, stdin: stdin, lines: bufio.NewScanner(stdout)}
	line, err := p.read()
	if err != nil {
		return nil, fmt.Errorf("%s did not start: %w", role, err)
	}
	if p.addr, err = netip.ParseAddrPort(line); err != nil {
		p.Close()
		return nil, fmt.Errorf("%s: %w", role, err)
	}
	return p, nil
}

// On calls f on a thread that may use only these cores; processes and threads started from it inherit that.
func On(cores []int, f func() error) error {
	if len(cores) == 0 {
		return f()
	}
	var was, want unix.CPUSet
	for _, c := range cores {
		want.Set(c)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.SchedGetaffinity(0, &was); err != nil {
		return err
	}
	if err := unix.SchedSetaffinity(0, &want); err != nil {
		return fmt.Errorf("cores %v: %w", cores, err)
	}
	defer unix.SchedSetaffinity(0, &was)
	return f()
}

// Addr is where the role listens.
func (p *Process) Addr() netip.AddrPort { return p.addr }

// Stats asks the process what it holds.
func (p *Process) Stats() (Stats, error) {
	r, err := p.ask(askStats)
	return r.Stats, err
}

// Profile lets the process write a profile of its processor time to a file, until the returned function is called.
func (p *Process) Profile(file string) (finish func() error, err error) {
	_, err = p.ask(startProfile + file)
	return func() error {
		_, err := p.ask(finishProfile)
		return err
	}, err
}

func (p *Process) ask(question string) (r reply, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := fmt.Fprintln(p.stdin, question); err != nil {
		return r, err
	}
	line, err := p.read()
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal([]byte(line), &r); err != nil {
		return r, err
	}
	if r.Error != "" {
		return r, errors.New(r.Error)
	}
	return r, nil
}

func (p *Process) read() (string, error) {
	if p.lines.Scan() {
		return p.lines.Text(), nil
	}
	if err := p.lines.Err(); err != nil {
		return "", err
	}
	return "", io.ErrUnexpectedEOF
}

// CPU is the processor time of the process so far, to the nanosecond.
func (p *Process) CPU() (time.Duration, error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	var total time.Duration
	for _, f := range files {
		content, err := os.ReadFile(f)
		if err != nil {
			continue // the thread has ended; Go's threads hardly ever do
		}
		ns, err := strconv.ParseInt(strings.Fields(string(content))[0], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", f, err)
		}
		total += time.Duration(ns)
	}
	if total == 0 {
		return 0, fmt.Errorf("no processor time of process %d can be read", p.cmd.Process.Pid)
	}
	return total, nil
}

// Close ends the process and waits for it.
func (p *Process) Close() error {
	p.stdin.Close()
	return p.cmd.Wait()
}
