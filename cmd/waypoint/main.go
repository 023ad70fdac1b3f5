// Command waypoint is the Waymark waypoint proxy and its tools. Each subcommand is one file.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"syscall"
)

const usage = `waypoint: the Istio Ambient waypoint that understands agents

usage: waypoint <command> [flags]

  serve     run the waypoint from a directory of configuration
  sts       run the token service (RFC 8693)
  check     validate a directory of configuration
  explain   say why a call would be allowed or refused
  tunnel    open a local port into an HBONE tunnel
  version   print the version and the Go it was built with

Every command explains itself with -h. Exit status: 0 yes, 1 no, 2 usage.
`

type command func(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int

func main() {
	log.SetOutput(io.Discard) // net/http quotes there what an upstream sends out of turn; payloads are not for logs
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal does not wait for the drain
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the whole program; tests call it.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		fmt.Fprint(stderr, usage)
		return 2
	}
	commands := map[string]command{
		"serve": runServe, "sts": runSTS, "check": runCheck, "explain": runExplain, "tunnel": runTunnel, "version": runVersion,
	}
	switch args[0] {
	case "-h", "--help", "help":
		fmt.Fprint(stdout, usage)
		return 0
	}
	c, ok := commands[args[0]]
	if !ok {
		fmt.Fprintf(stderr, "waypoint: unknown command %q\nhint: waypoint help lists the commands\n", args[0])
		return 2
	}
	return c(ctx, args[1:], stdin, stdout, stderr)
}
