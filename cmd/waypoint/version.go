package main

import (
	"cmp"
	"context"
	"encoding/json/v2"
	"flag"
	"fmt"
	"io"
	"runtime/debug"
)

const versionHelp = `usage: waypoint version [-o json]

Prints the version of this binary, the revision it was built from and the Go toolchain that built it.
`

// version is set by the linker (see the Makefile); without it the module's own version counts.
var version string

func runVersion(_ context.Context, args []string, _ io.Reader, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("version", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() { fmt.Fprint(stderr, versionHelp) }
	format := fs.String("o", "text", "output `format`: text or json")
	if code, done := parse(fs, args); done {
		return code
	}
	v := struct {
		Version  string `json:"version"`
		Revision string `json:"revision"`
		Go       string `json:"go"`
	}{"unknown", "unknown", "unknown"}
	if info, ok := debug.ReadBuildInfo(); ok {
		v.Version, v.Go = cmp.Or(version, info.Main.Version), info.GoVersion
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				v.Revision = s.Value
			}
		}
	}
	switch *format {
	case "text":
	case "json":
		b, _ := json.Marshal(v) // strings only: cannot fail
		fmt.Fprintf(stdout, "%s\n", b)
		return 0
	default:
		fmt.Fprintf(stderr, "waypoint version: -o %q: it is text or json\n", *format)
		return 2
	}
	fmt.Fprintf(stdout, "waypoint %s revision %s built with %s\n", v.Version, v.Revision, v.Go)
	return 0
}

// parse parses flags. done means that the command is over, with the given exit status: 0 after -h, 2 after a mistake or a
// stray argument.
func parse(fs *flag.FlagSet, args []string) (code int, done bool) {
	switch err := fs.Parse(args); {
	case err == flag.ErrHelp:
		return 0, true
	case err != nil:
		return 2, true
	case fs.NArg() > 0:
		fmt.Fprintf(fs.Output(), "waypoint %s: unexpected argument %q\n", fs.Name(), fs.Arg(0))
		return 2, true
	}
	return 0, false
}
