package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"

	"waymark.dev/waypoint/pkg/hbone"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/identity/certs"
)

const tunnelHelp = `usage: waypoint tunnel --certs DIR --waypoint ADDR --to HOST:PORT [flags]

Opens a local port into HBONE: what connects to it travels through a tunnel to --to, as the workload whose certificate is in
--certs. It does what a source ztunnel does for one destination, for debugging. The waypoint's identity is checked against
--expect if given, else its trust domain only.

  waypoint tunnel --certs agents/teller --waypoint 127.0.0.1:15008 --to 10.96.0.10:3000 --listen 127.0.0.1:3000

`

type tunnelFlags struct{ certs, waypoint, to, listen, expect string }

func runTunnel(ctx context.Context, args []string, _ io.Reader, stdout, stderr io.Writer) int {
	var f tunnelFlags
	fs := flag.NewFlagSet("tunnel", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() { fmt.Fprint(stderr, tunnelHelp); fs.PrintDefaults() }
	fs.StringVar(&f.certs, "certs", "", "`directory` with cert-chain.pem, key.pem and root-cert.pem of the caller")
	fs.StringVar(&f.waypoint, "waypoint", "", "`ip:port` of the waypoint, or of any HBONE server")
	fs.StringVar(&f.to, "to", "", "`host:port` to ask for: a service's address or hostname and its port")
	fs.StringVar(&f.listen, "listen", "127.0.0.1:0", "local `address` to listen on")
	fs.StringVar(&f.expect, "expect", "", "SPIFFE `ID` the waypoint must prove")
	if code, done := parse(fs, args); done {
		return code
	}
	if f.certs == "" || f.waypoint == "" || f.to == "" {
		fmt.Fprintln(stderr, "waypoint tunnel: --certs, --waypoint and --to are required\nhint: waypoint tunnel -h")
		return 2
	}
	if err := tunnel(ctx, &f, stdout, stderr); err != nil {
		fmt.Fprintf(stderr, "waypoint tunnel: %v\n", err)
		return 1
	}
	return 0
}

func tunnel(ctx context.Context, f *tunnelFlags, stdout, stderr io.Writer) error {
	log := slog.New(slog.NewTextHandler(stderr, nil))
	target, err := tunnelTarget(f)
	if err != nil {
		return err
	}
	files, err := certs.NewDirectory(f.certs)
	if err != nil {
		return fmt.Errorf("--certs: %w", err)
	}
	own, err := files.Current()
	if err != nil {
		return fmt.Errorf("--certs: %w", err)
	}
	pool := hbone.NewPool(hbone.PoolConfig{
		Certificates: files, Trust: identity.MatchTrustDomains(own.ID.TrustDomain()), Log: log,
	})
	defer pool.Close()
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", f.listen)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	fmt.Fprintf(stdout, "listening on %s: %s through %s to %s\n", l.Addr(), own.ID, f.waypoint, f.to)
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	var running sync.WaitGroup
	defer running.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	running.Go(func() { _ = files.Run(ctx) }) // certificates may rotate; Run only ends with ctx
	for {
		conn, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			return err
		}
		running.Go(func() { carry(ctx, pool, target, conn.(*net.TCPConn), log) })
	}
}

func tunnelTarget(f *tunnelFlags) (hbone.Target, error) {
	addr, err := netip.ParseAddrPort(f.waypoint)
	if err != nil {
		return hbone.Target{}, fmt.Errorf("--waypoint: %w", err)
	}
	t := hbone.Target{Addr: addr, Authority: f.to, TrustDomainOnly: f.expect == ""}
	if f.expect != "" {
		id, err := identity.ParseID(f.expect)
		if err != nil {
			return hbone.Target{}, fmt.Errorf("--expect: %w", err)
		}
		t.Expect = []identity.ID{id}
	}
	return t, nil
}

// carry takes one local connection through a tunnel of its own.
func carry(ctx context.Context, pool *hbone.Pool, target hbone.Target, local *net.TCPConn, log *slog.Logger) {
	defer local.Close()
	remote, err := pool.Dial(ctx, target)
	if err != nil {
		log.Error("tunnel failed", "cause", err)
		_ = local.SetLinger(0) // the caller sees a reset, as behind a ztunnel
		return
	}
	defer remote.Close()
	stop := context.AfterFunc(ctx, func() { _ = local.Close(); _ = remote.Close() })
	defer stop()
	if up, down, err := hbone.Splice(local, remote); err != nil && ctx.Err() == nil {
		log.Info("tunnel ended early", "sent", up, "received", down, "cause", err)
	}
}
