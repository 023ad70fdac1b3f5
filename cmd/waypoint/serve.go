package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"waymark.dev/waypoint/pkg/app"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/identity/certs"
)

const serveHelp = `usage: waypoint serve --config DIR --certs DIR [flags]

Runs the waypoint from a directory of YAML: the same objects as in a cluster (docs/configuration.md). Edits are picked up
while it runs; a change with a mistake in it changes nothing and is reported. Tunnels are accepted with mutual TLS only.

--certs names a directory with cert-chain.pem, key.pem and root-cert.pem, re-read when they change.

`

type serveFlags struct {
	config, certs, listen, health, audit, aliases, level string
	drain                                                time.Duration
}

func runServe(ctx context.Context, args []string, _ io.Reader, stdout, stderr io.Writer) int {
	var f serveFlags
	fs := flag.NewFlagSet("serve", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() { fmt.Fprint(stderr, serveHelp); fs.PrintDefaults() }
	fs.StringVar(&f.config, "config", "", "`directory` of configuration")
	fs.StringVar(&f.certs, "certs", "", "`directory` of the workload certificate, its key and the trusted roots")
	fs.StringVar(&f.listen, "listen", "127.0.0.1:15008", "`address` to accept HBONE tunnels on")
	fs.StringVar(&f.health, "health", "127.0.0.1:15021", "`address` of /healthz/ready and /healthz/live; empty for none")
	fs.StringVar(&f.audit, "audit", "-", "`file` that decisions are appended to; - is standard output")
	fs.StringVar(&f.aliases, "trust-domain-aliases", "", "comma-separated `names` accepted beside our own trust domain")
	fs.StringVar(&f.level, "log-level", "info", "`level`: debug, info, warn or error")
	fs.DurationVar(&f.drain, "drain", 25*time.Second, "how `long` calls in flight may take after a signal to stop")
	if code, done := parse(fs, args); done {
		return code
	}
	if f.config == "" || f.certs == "" {
		fmt.Fprintln(stderr, "waypoint serve: --config and --certs are required\nhint: waypoint serve -h")
		return 2
	}
	if err := serve(ctx, &f, stdout, stderr); err != nil {
		fmt.Fprintf(stderr, "waypoint serve: %v\n", err)
		return 1
	}
	return 0
}

func serve(ctx context.Context, f *serveFlags, stdout, stderr io.Writer) error {
	var level slog.Level
	if err := level.UnmarshalText([]byte(f.level)); err != nil {
		return fmt.Errorf("--log-level: %w", err)
	}
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level}))
	aliases, err := parseAliases(f.aliases)
	if err != nil {
		return fmt.Errorf("--trust-domain-aliases: %w", err)
	}
	audit, closeAudit, err := openAudit(f.audit, stdout)
	if err != nil {
		return fmt.Errorf("--audit: %w", err)
	}
	defer closeAudit()
	files, err := certs.NewDirectory(f.certs)
	if err != nil {
		return fmt.Errorf("--certs: %w", err)
	}
	a, err := app.New(app.Options{
		ConfigDir: f.config, Listen: f.listen, Health: f.health,
		Certificates: files, TrustDomainAliases: aliases, Audit: audit, Log: log,
	})
	if err != nil {
		return err
	}
	if err := a.Start(ctx); err != nil {
		return err
	}
	log.Info("serving", "hbone", a.Addr(), "health", a.HealthAddr(), "config", f.config)
	failed := a.Wait(ctx)
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), f.drain)
	defer cancel()
	return errors.Join(failed, a.Stop(stop))
}

func parseAliases(s string) ([]identity.TrustDomain, error) {
	if s == "" {
		return nil, nil
	}
	var out []identity.TrustDomain
	for name := range strings.SplitSeq(s, ",") {
		td, err := identity.ParseTrustDomain(strings.TrimSpace(name))
		if err != nil {
			return nil, err
		}
		out = append(out, td)
	}
	return out, nil
}

func openAudit(name string, stdout io.Writer) (io.Writer, func(), error) {
	if name == "-" {
		return stdout, func() {}, nil
	}
	file, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, nil, err
	}
	return file, func() { _ = file.Close() }, nil
}
