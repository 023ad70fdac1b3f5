package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

const usage = `Usage: demo [--config DIR] [--serve] [--verbose]

Runs a mesh in one process, makes real calls through the waypoint and prints what became of them.
Exits 0 if every call came out as it should, 1 if one did not, 2 on wrong usage.

  --config DIR   the configuration to start from (default: examples/company-mcp, looked for upwards
                 from the current directory); it is copied, with the real ports, and never changed
  --serve        stay up until interrupted and print an address per agent for any MCP client
  --verbose      print what the waypoint and the ztunnels log
`

// callTimeout bounds one call of the script, its audit record included.
const callTimeout = 20 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

type flags struct {
	config  string
	example bool // nobody named another configuration: the demo tells its stories
	serve   bool
	verbose bool
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	f, code, done := parse(args, stderr)
	if done {
		return code
	}
	wrong, err := demo(ctx, f, stdout, stderr)
	if err != nil {
		fmt.Fprintf(stderr, "demo: %v\n", err)
		return 1
	}
	if wrong > 0 {
		return 1
	}
	return 0
}

func parse(args []string, stderr io.Writer) (f flags, code int, done bool) {
	set := flag.NewFlagSet("demo", flag.ContinueOnError)
	set.SetOutput(stderr)
	set.Usage = func() { fmt.Fprint(stderr, usage) }
	set.StringVar(&f.config, "config", "", "")
	set.BoolVar(&f.serve, "serve", false, "")
	set.BoolVar(&f.verbose, "verbose", false, "")
	switch err := set.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return f, 0, true
	case err != nil:
		return f, 2, true
	case set.NArg() > 0:
		fmt.Fprintf(stderr, "demo: unexpected argument %q\n%s", set.Arg(0), usage)
		return f, 2, true
	}
	return f, 0, false
}

// log is where the waypoint and the ztunnels write: nowhere, unless somebody stays to read it.
func (f flags) log(stdout, stderr io.Writer) *slog.Logger {
	switch {
	case f.verbose:
		return slog.New(slog.NewTextHandler(stderr, nil))
	case f.serve:
		return slog.New(newReports(stdout))
	}
	return slog.New(slog.DiscardHandler)
}

// demo runs the script and says how many calls came out wrong.
func demo(ctx context.Context, f flags, stdout, stderr io.Writer) (wrong int, err error) {
	if f.example = f.config == ""; f.example {
		if f.config, err = find(filepath.Join("examples", "company-mcp")); err != nil {
			return 0, err
		}
	}
	w, err := newWorld(ctx, f.config, f.log(stdout, stderr))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	if wrong, err = w.play(ctx, stdout); err != nil {
		return wrong, err
	}
	if f.example {
		more, err := tell(ctx, stdout, f.log(stdout, stderr))
		if wrong += more; err != nil {
			return wrong, err
		}
	}
	if !f.serve {
		return wrong, nil
	}
	return wrong, w.serve(ctx, stdout)
}

// find looks for a directory in the current one and its parents, so that the demo runs from anywhere in the repository.
func find(name string) (string, error) {
	here, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := here; ; dir = filepath.Dir(dir) {
		if info, err := os.Stat(filepath.Join(dir, name)); err == nil && info.IsDir() {
			return filepath.Join(dir, name), nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("there is no %s in %s or above it; name the directory with --config", name, here)
		}
	}
}
