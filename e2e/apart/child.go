package apart

import (
	"bufio"
	"context"
	"encoding/json/v2"
	"fmt"
	"io"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strings"
	"time"

	"waymark.dev/waypoint/pkg/app"
	"waymark.dev/waypoint/pkg/identity/certs"
)

// Role is what a process does: it listens, reports where, and serves until ctx ends.
type Role func(ctx context.Context, args []string, ready func(netip.AddrPort)) error

// Roles are the roles of a program, by name.
type Roles map[string]Role

// roleVariable names the role of a process that was started by Start.
const roleVariable = "WAYMARK_E2E_ROLE"

// Main returns if the process has no role; otherwise it plays it and exits.
func Main(roles Roles) {
	name := os.Getenv(roleVariable)
	if name == "" {
		return
	}
	if err := play(roles[name]); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// play serves until standard input ends: the parent has gone, or closed the process.
func play(role Role) error {
	if role == nil {
		return fmt.Errorf("no such role")
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		defer cancel()
		for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
			json.MarshalWrite(os.Stdout, answer(lines.Text()))
			fmt.Println()
		}
	}()
	return role(ctx, os.Args[1:], func(a netip.AddrPort) { fmt.Println(a) })
}

// The questions that a process answers; profiling is followed by the name of a file.
const (
	askStats      = "stats"
	startProfile  = "profile "
	finishProfile = "profiled"
)

// reply is the answer to one question.
type reply struct {
	Stats Stats
	Error string
}

func answer(question string) (r reply) {
	file, profile := strings.CutPrefix(question, startProfile)
	switch {
	case profile:
		f, err := os.Create(file)
		if err == nil {
			err = pprof.StartCPUProfile(f)
		}
		if err != nil {
			r.Error = err.Error()
		}
	case question == finishProfile:
		pprof.StopCPUProfile()
	default:
		r.Stats = stats()
	}
	return r
}

// Stats is what a process holds after a garbage collection, and what it has allocated since it began.
type Stats struct {
	Goroutines int
	Heap       uint64 // bytes in use
	Stacks     uint64 // bytes in use
	Mallocs    uint64 // objects allocated so far
}

func stats() Stats {
	// What lingers in pools goes with the second collection.
	debug.FreeOSMemory()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return Stats{Goroutines: runtime.NumGoroutine(), Heap: m.HeapAlloc, Stacks: m.StackInuse, Mallocs: m.Mallocs}
}

// Waypoint is the product as its binary runs it. Its arguments are the configuration directory and the directory of the
// certificate; its audit records go nowhere, but are written.
func Waypoint(ctx context.Context, args []string, ready func(netip.AddrPort)) error {
	if len(args) != 2 {
		return fmt.Errorf("want a configuration directory and a certificate directory, got %q", args)
	}
	source, err := certs.NewDirectory(args[1])
	if err != nil {
		return err
	}
	a, err := app.New(app.Options{ConfigDir: args[0], Listen: "127.0.0.1:0", Certificates: source, Audit: io.Discard})
	if err != nil {
		return err
	}
	if err := a.Start(ctx); err != nil {
		return err
	}
	ready(a.Addr())
	<-ctx.Done()
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return a.Stop(stop)
}
