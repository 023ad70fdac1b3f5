package main

import (
	"context"
	"encoding/json/v2"
	"flag"
	"fmt"
	"io"
	"path/filepath"

	"waymark.dev/waypoint/pkg/config"
	"waymark.dev/waypoint/pkg/ruleset"
)

const checkHelp = `usage: waypoint check [-o json] DIR

Validates a directory of configuration with the code that waypoint serve loads it with, and prints every problem as
file:line:column: object: field: text. Exit status 0 if there is none, 1 if there are some, 2 for a mistake in the command.

`

// checked is the answer of the command.
type checked struct {
	Directory  string          `json:"directory"`
	Valid      bool            `json:"valid"`
	Waypoint   string          `json:"waypoint,omitempty"` // namespace/name of the Gateway
	Generation string          `json:"generation,omitempty"`
	Objects    []config.Source `json:"objects,omitempty"`
	Problems   config.Problems `json:"problems,omitempty"`
}

func runCheck(_ context.Context, args []string, _ io.Reader, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("check", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() { fmt.Fprint(stderr, checkHelp); fs.PrintDefaults() }
	format := fs.String("o", "text", "output `format`: text or json")
	dir, code, done := parseDir(fs, args)
	if done {
		return code
	}
	if !knownFormat("check", *format, stderr) {
		return 2
	}
	answer := check(dir)
	if *format == "json" {
		printJSON(stdout, answer)
	} else {
		answer.print(stdout)
	}
	if !answer.Valid {
		return 1
	}
	return 0
}

func check(dir string) checked {
	c, problems := config.Load(dir)
	if len(problems) > 0 {
		return checked{Directory: dir, Problems: inside(dir, problems)}
	}
	if problems := ruleset.Check(c); len(problems) > 0 {
		return checked{Directory: dir, Problems: inside(dir, problems)}
	}
	return checked{
		Directory: dir, Valid: true, Waypoint: c.Gateway.Namespace + "/" + c.Gateway.Name,
		Generation: c.Generation(), Objects: c.Objects,
	}
}

// inside names files as whoever reads the output can open them.
func inside(dir string, problems config.Problems) config.Problems {
	out := make(config.Problems, len(problems))
	for i, p := range problems {
		p.File = filepath.Join(dir, p.File)
		out[i] = p
	}
	return out
}

func (c checked) print(w io.Writer) {
	for _, p := range c.Problems {
		fmt.Fprintln(w, p)
	}
	if !c.Valid {
		fmt.Fprintf(w, "%s: %s\n", c.Directory, counted(len(c.Problems), "problem"))
		return
	}
	kinds := map[string]int{}
	for _, o := range c.Objects {
		kinds[o.Kind]++
	}
	policies := kinds["AgentAuthorizationPolicy"] + kinds["AgentAuthentication"] + kinds["TokenExchange"] + kinds["RequestAuthentication"]
	fmt.Fprintf(w, "%s: valid: waypoint %s, %s, %s, %s, generation %s\n", c.Directory, c.Waypoint,
		counted(kinds["ServiceEntry"], "service"), counted(kinds["WorkloadEntry"], "workload"),
		counted(policies, "policy"), c.Generation)
}

func counted(n int, noun string) string {
	switch {
	case n == 1:
		return "1 " + noun
	case noun == "policy":
		return fmt.Sprintf("%d policies", n)
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// parseDir parses flags before and after the one argument, a directory. done means that the command is over.
func parseDir(fs *flag.FlagSet, args []string) (dir string, code int, done bool) {
	for range 2 {
		switch err := fs.Parse(args); {
		case err == flag.ErrHelp:
			return "", 0, true
		case err != nil:
			return "", 2, true
		}
		if fs.NArg() == 0 || dir != "" {
			break
		}
		dir, args = fs.Arg(0), fs.Args()[1:]
	}
	switch {
	case dir == "":
		fmt.Fprintf(fs.Output(), "waypoint %s: which directory?\nhint: waypoint %s -h\n", fs.Name(), fs.Name())
		return "", 2, true
	case fs.NArg() > 0:
		fmt.Fprintf(fs.Output(), "waypoint %s: unexpected argument %q\n", fs.Name(), fs.Arg(0))
		return "", 2, true
	}
	return dir, 0, false
}

func knownFormat(name, format string, stderr io.Writer) bool {
	if format == "text" || format == "json" {
		return true
	}
	fmt.Fprintf(stderr, "waypoint %s: -o %q is not text or json\n", name, format)
	return false
}

// printJSON writes v in one line. The answers of our commands always marshal.
func printJSON(w io.Writer, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic("waypoint: internal error: " + err.Error())
	}
	fmt.Fprintf(w, "%s\n", b)
}
