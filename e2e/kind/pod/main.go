// Pod is what runs in the pods of the suite e2e/istio when it runs in a cluster: the server that is called, and the callers.
//
//	pod serve                       the bank's MCP server on :3000, a web server on :8080, until SIGTERM
//	pod call URL TOOL               one MCP session and one call: prints "ok", or how it was refused
//	pod watch URL TOOL              calls in one session until standard input ends: prints the time and outcome of each change
//	pod get URL                     one request: prints its status, or why there is none
//	pod load URL CLIENTS            POST requests on connections that are kept, sent once each, until standard input ends:
//	                                prints what became of them
//
// With --via ADDRESS before the command, connections are made to ADDRESS whatever the URL says, as redirection in a pod does it.
package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "pod:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("pod", flag.ContinueOnError)
	via := fs.String("via", "", "`address` to connect to")
	if err := fs.Parse(args); err != nil {
		return err
	}
	p := peer{via: *via}
	switch args := fs.Args(); {
	case len(args) == 1 && args[0] == "serve":
		return serve(ctx)
	case len(args) == 3 && args[0] == "call":
		return p.call(ctx, args[1], args[2])
	case len(args) == 3 && args[0] == "watch":
		return p.watch(ctx, args[1], args[2])
	case len(args) == 2 && args[0] == "get":
		return p.get(ctx, args[1])
	case len(args) == 3 && args[0] == "load":
		clients, err := strconv.Atoi(args[2])
		if err != nil {
			return err
		}
		return p.load(ctx, args[1], clients)
	}
	return fmt.Errorf("unknown command %q", fs.Args())
}

// peer is a caller.
type peer struct{ via string }

// transport is one client's: its connections are nobody else's.
func (p peer) transport() *http.Transport {
	return &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		if p.via != "" {
			addr = p.via
		}
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}}
}
