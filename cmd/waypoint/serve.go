package main

import (
	"cmp"
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
	"waymark.dev/waypoint/pkg/identity/certs/spire"
)

const serveHelp = `usage: waypoint serve --config DIR --certs DIR [flags]
       waypoint serve --gateway NAME [--kubeconfig FILE] [flags]

Runs the waypoint. Tunnels are accepted with mutual TLS only.

With --config it runs from a directory of YAML: the same objects as in a cluster (docs/configuration.md). Edits are picked up
while it runs; a change with a mistake in it changes nothing and is reported.

With --gateway, or GATEWAY_NAME in the environment, it is a waypoint of a cluster: policies come from the API server, the
view of the mesh and the certificate from istiod. The pod's environment says who it is: POD_NAME, POD_NAMESPACE,
SERVICE_ACCOUNT, INSTANCE_IP and further ones that have defaults (docs/cluster.md).

--certs names a directory with cert-chain.pem, key.pem and root-cert.pem, re-read when they change, or the socket of a
SPIFFE Workload API as unix:///path. In a cluster it may be left out: istiod then signs the certificate.

`

type serveFlags struct {
	config, certs, listen, health, audit, aliases, level string
	gateway, kubeconfig                                  string
	trustDomainOnly                                      bool
	drain, settle                                        time.Duration
}

func runServe(ctx context.Context, args []string, _ io.Reader, stdout, stderr io.Writer) int {
	var f serveFlags
	fs := flag.NewFlagSet("serve", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() { fmt.Fprint(stderr, serveHelp); fs.PrintDefaults() }
	fs.StringVar(&f.config, "config", "", "`directory` of configuration")
	fs.StringVar(&f.gateway, "gateway", os.Getenv("GATEWAY_NAME"), "`name` of the Gateway this waypoint belongs to, in the pod's namespace")
	fs.StringVar(&f.kubeconfig, "kubeconfig", "", "`file` that says where the API server is; without it, as in a pod")
	fs.StringVar(&f.certs, "certs", "", "`directory` of the workload certificate, its key and the trusted roots, or unix:///socket")
	fs.StringVar(&f.listen, "listen", "", "`address` to accept HBONE tunnels on (default :15008 in a cluster, else 127.0.0.1:15008)")
	fs.StringVar(&f.health, "health", unset, "`address` of /healthz/ready and /healthz/live: port 15021, in a cluster on every address, else on loopback; empty for none")
	fs.StringVar(&f.audit, "audit", "-", "`file` that decisions are appended to; - is standard output")
	fs.StringVar(&f.aliases, "trust-domain-aliases", "", "comma-separated `names` accepted beside our own trust domain")
	fs.BoolVar(&f.trustDomainOnly, "trust-domain-only", false, "accept any identity of the mesh at a workload's tunnel, as Envoy does, and not exactly the workload's")
	fs.StringVar(&f.level, "log-level", "info", "`level`: debug, info, warn or error")
	fs.DurationVar(&f.drain, "drain", 25*time.Second, "how `long` calls in flight may take after a signal to stop")
	fs.DurationVar(&f.settle, "settle", -1, "how `long` new tunnels are still taken after a signal to stop, until everybody has heard (default 5s in a cluster, else 0)")
	if code, done := parse(fs, args); done {
		return code
	}
	switch {
	case f.config != "": // wins over GATEWAY_NAME
		f.gateway = ""
		if f.certs == "" {
			fmt.Fprintln(stderr, "waypoint serve: --certs is required with --config\nhint: waypoint serve -h")
			return 2
		}
	case f.gateway == "":
		fmt.Fprintln(stderr, "waypoint serve: --config and --certs are required, or in a cluster --gateway or GATEWAY_NAME\nhint: waypoint serve -h")
		return 2
	}
	if err := serve(ctx, &f, stdout, stderr); err != nil {
		fmt.Fprintf(stderr, "waypoint serve: %v\n", err)
		return 1
	}
	return 0
}

func serve(ctx context.Context, f *serveFlags, stdout, stderr io.Writer) error {
	o, done, err := f.options(stdout, stderr)
	if err != nil {
		return err
	}
	defer done()
	if f.gateway != "" {
		err = f.inCluster(&o)
	} else {
		err = f.fromFiles(&o)
	}
	if err != nil {
		return err
	}
	a, err := app.New(o)
	if err != nil {
		return err
	}
	if err := a.Start(ctx); err != nil {
		return err
	}
	o.Log.Info("serving", "hbone", a.Addr(), "health", a.HealthAddr(), "config", cmp.Or(f.config, "cluster"), "version", version)
	failed := a.Wait(ctx)
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), f.drain+o.Settle)
	defer cancel()
	return errors.Join(failed, a.Stop(stop))
}

// options are those that do not depend on where the configuration comes from. done closes what they opened.
func (f *serveFlags) options(stdout, stderr io.Writer) (o app.Options, done func(), err error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(f.level)); err != nil {
		return o, nil, fmt.Errorf("--log-level: %w", err)
	}
	o.Log = slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level}))
	if o.TrustDomainAliases, err = parseAliases(f.aliases); err != nil {
		return o, nil, fmt.Errorf("--trust-domain-aliases: %w", err)
	}
	o.TrustDomainOnly = f.trustDomainOnly
	if o.Audit, done, err = openAudit(f.audit, stdout); err != nil {
		return o, nil, fmt.Errorf("--audit: %w", err)
	}
	return o, done, nil
}

func (f *serveFlags) fromFiles(o *app.Options) (err error) {
	o.ConfigDir = f.config
	o.Listen, o.Health = cmp.Or(f.listen, "127.0.0.1:15008"), f.probes("127.0.0.1:15021")
	o.Settle = max(f.settle, 0)
	o.Certificates, err = f.certificates(o)
	return err
}

// unset is what the flag --health says where it is not given: an empty one means none.
const unset = "auto"

func (f *serveFlags) probes(otherwise string) string {
	if f.health == unset {
		return otherwise
	}
	return f.health
}

// certificates opens the source that --certs names.
func (f *serveFlags) certificates(o *app.Options) (certs.Source, error) {
	if strings.HasPrefix(f.certs, "unix:") {
		return spire.New(spire.Options{Socket: f.certs, Federated: o.TrustDomainAliases, Log: o.Log})
	}
	files, err := certs.NewDirectory(f.certs)
	if err != nil {
		return nil, fmt.Errorf("--certs: %w", err)
	}
	return files, nil
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
