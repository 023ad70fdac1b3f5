package main

import (
	"context"
	"crypto/tls"
	"encoding/json/v2"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/dynamic"

	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/identity/certs"
	"waymark.dev/waypoint/pkg/kube"
	"waymark.dev/waypoint/pkg/ruleset"
	"waymark.dev/waypoint/pkg/sts"
)

const stsHelp = `usage: waypoint sts [--config DIR] --certs DIR --issuer URL --subjects NAMESPACE/NAME [flags]

Runs the token service (RFC 8693): POST /token, GET /jwks, GET /.well-known/oauth-authorization-server (docs/tokens.md).

--config names a directory of YAML: the grants of its TokenExchange objects say who may trade what, and the issuers of the
AgentAuthentication that --subjects names are those whose tokens are taken. Edits are picked up while it runs; a change with a
mistake in it changes nothing and is reported.

Without --config the objects are those of a cluster, in the namespace of the subjects alone: whoever may write TokenExchanges
there says who gets which tokens. An object with a mistake in it permits nothing; without a good AgentAuthentication no token is
taken.

--certs names a directory with cert-chain.pem, key.pem and root-cert.pem. Workloads authenticate themselves by a certificate
of the same roots.

--keys names a directory of signing keys, NAME.pem in PKCS #8 (ECDSA P-256 or Ed25519): all replicas have the same. Without it
keys are made in memory, for one replica. A new key is published for --overlap before it signs.

`

type stsFlags struct {
	config, certs, issuer, subjects, listen, plain, keys, copy, clients, kubeconfig, trustDomain, audit, level string
	byAccount, accounts                                                                                        bool
	overlap, rotate                                                                                            time.Duration
}

func runSTS(ctx context.Context, args []string, _ io.Reader, stdout, stderr io.Writer) int {
	var f stsFlags
	fs := flag.NewFlagSet("sts", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() { fmt.Fprint(stderr, stsHelp); fs.PrintDefaults() }
	fs.StringVar(&f.config, "config", "", "`directory` of TokenExchange and AgentAuthentication objects; without it, those of the API server")
	fs.StringVar(&f.certs, "certs", "", "`directory` of our certificate, its key and the roots that clients are verified with")
	fs.StringVar(&f.issuer, "issuer", "", "`URL` that new tokens are issued by")
	fs.StringVar(&f.subjects, "subjects", "", "`namespace/name` of the AgentAuthentication whose issuers are believed")
	fs.StringVar(&f.listen, "listen", "127.0.0.1:8443", "`address` to listen on, with TLS")
	fs.StringVar(&f.plain, "listen-plain", "", "`address` to listen on in plain HTTP, for what a ztunnel carries; empty for none")
	fs.StringVar(&f.clients, "clients", "", "`file` of clients that have no identity of the mesh (JSON)")
	fs.BoolVar(&f.accounts, "service-accounts", false, "let clients show tokens of Kubernetes service accounts, which the API server reviews")
	fs.StringVar(&f.kubeconfig, "kubeconfig", "", "`file` that says where the API server is; without it, as in a pod")
	fs.StringVar(&f.trustDomain, "trust-domain", "cluster.local", "`name` of the mesh's trust domain, for service accounts")
	fs.StringVar(&f.keys, "keys", "", "`directory` of signing keys; without it they are made in memory")
	fs.DurationVar(&f.overlap, "overlap", 10*time.Minute, "how `long` a key is published before it signs")
	fs.DurationVar(&f.rotate, "rotate", 24*time.Hour, "how `long` a key that was made in memory signs")
	fs.BoolVar(&f.byAccount, "actor-by-account", false, "name actors by their service account, and not by their SPIFFE identity")
	fs.StringVar(&f.copy, "copy-claims", "", "comma-separated `claims` of the user that new tokens have too")
	fs.StringVar(&f.audit, "audit", "-", "`file` that exchanges are appended to; - is standard output")
	fs.StringVar(&f.level, "log-level", "info", "`level`: debug, info, warn or error")
	if code, done := parse(fs, args); done {
		return code
	}
	if f.certs == "" || f.issuer == "" || f.subjects == "" {
		fmt.Fprintln(stderr, "waypoint sts: --certs, --issuer and --subjects are required\nhint: waypoint sts -h")
		return 2
	}
	if err := f.run(ctx, stdout, stderr); err != nil {
		fmt.Fprintf(stderr, "waypoint sts: %v\n", err)
		return 1
	}
	return 0
}

// run is one straight line: what fails before the listener is open fails the start.
func (f *stsFlags) run(ctx context.Context, stdout, stderr io.Writer) error {
	var level slog.Level
	if err := level.UnmarshalText([]byte(f.level)); err != nil {
		return fmt.Errorf("--log-level: %w", err)
	}
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level}))
	out, done, err := openAudit(f.audit, stdout)
	if err != nil {
		return fmt.Errorf("--audit: %w", err)
	}
	defer done()
	source, err := certs.NewDirectory(f.certs)
	if err != nil {
		return fmt.Errorf("--certs: %w", err)
	}
	defer following(source)()
	keys, err := f.signing()
	if err != nil {
		return fmt.Errorf("--keys: %w", err)
	}
	authorities := &ruleset.Authorities{Dial: dialDirectly, Loopback: true, Log: log}
	defer authorities.Close()
	var rules stsInForce
	var running sync.WaitGroup
	defer running.Wait()
	ctx, end := context.WithCancel(ctx)
	defer end()
	look, err := f.follow(ctx, &running, &rules, authorities, log)
	if err != nil {
		return err
	}
	o := sts.Options{
		Issuer: f.issuer, Keys: keys, Grants: rules.grants, Subjects: &rules, ByAccount: f.byAccount,
		Audit: recorder(out, log),
	}
	if err := f.admit(&o); err != nil {
		return err
	}
	if f.copy != "" {
		o.Copy = strings.Split(f.copy, ",")
	}
	server, err := sts.New(o)
	if err != nil {
		return err
	}
	return f.serve(ctx, server, source, log, func() {
		if err := keys.Refresh(); err != nil {
			log.Error("the signing keys stay as they are", "cause", err)
		}
		look()
	})
}

// admit says which clients there are besides the workloads that show a certificate.
func (f *stsFlags) admit(o *sts.Options) (err error) {
	if f.clients != "" {
		if o.Clients, err = readClients(f.clients); err != nil {
			return fmt.Errorf("--clients: %w", err)
		}
	}
	if !f.accounts {
		return nil
	}
	r := &reviewer{audiences: []string{f.issuer}}
	if r.domain, err = identity.ParseTrustDomain(f.trustDomain); err != nil {
		return fmt.Errorf("--trust-domain: %w", err)
	}
	rc, err := kube.ConfigFrom(f.kubeconfig)
	if err != nil {
		return fmt.Errorf("--kubeconfig: %w", err)
	}
	if r.api, err = dynamic.NewForConfig(rc); err != nil {
		return fmt.Errorf("--kubeconfig: %w", err)
	}
	o.Reviewer = r
	return nil
}

// following re-reads certificates until the function that it returns is called.
func following(source *certs.Files) func() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = source.Run(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

// dialDirectly reaches a service by its name: it is the ztunnel of this pod that carries it through the mesh.
func dialDirectly(ctx context.Context, host string, port uint16) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", net.JoinHostPort(host, fmt.Sprint(port)))
}

func (f *stsFlags) signing() (*sts.Keys, error) {
	if f.keys == "" {
		return sts.GenerateKeys(f.rotate, f.overlap, time.Now)
	}
	return sts.LoadKeys(f.keys, f.overlap, time.Now)
}

// recorder appends records, one JSON line each.
func recorder(out io.Writer, log *slog.Logger) func(sts.Record) {
	var mu sync.Mutex
	return func(r sts.Record) {
		b, err := json.Marshal(r)
		if err == nil {
			mu.Lock()
			_, err = out.Write(append(b, '\n'))
			mu.Unlock()
		}
		if err != nil {
			log.Error("an exchange is not on record", "cause", err)
		}
	}
}

const stsPoll = 2 * time.Second

// serve runs the listeners until ctx ends or one of them fails, and looks for changes meanwhile.
func (f *stsFlags) serve(ctx context.Context, h http.Handler, source certs.Source, log *slog.Logger, look func()) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", f.listen)
	if err != nil {
		return err
	}
	servers := []*http.Server{stsServer(h, log)}
	failed := make(chan error, 2)
	go func() { failed <- servers[0].Serve(tls.NewListener(l, stsTLS(source))) }()
	if f.plain != "" {
		p, err := lc.Listen(ctx, "tcp", f.plain)
		if err != nil {
			return errors.Join(err, servers[0].Close(), ignoreClosed(<-failed))
		}
		plain := stsServer(h, log)
		servers = append(servers, plain)
		go func() { failed <- plain.Serve(p) }()
		log.Info("serving what the mesh carries", "address", p.Addr())
	}
	log.Info("serving", "issuer", f.issuer, "address", l.Addr(), "version", version)
	tick := time.NewTicker(stsPoll)
	defer tick.Stop()
	running := len(servers)
	for ended := false; !ended; {
		select {
		case <-tick.C:
			look()
		case err = <-failed:
			ended, running = true, running-1
		case <-ctx.Done():
			ended = true
		}
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	for _, server := range servers {
		err = errors.Join(err, server.Shutdown(stop))
	}
	for range running {
		err = errors.Join(err, ignoreClosed(<-failed))
	}
	return err
}

func stsServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute,
		MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

func ignoreClosed(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// stsTLS asks for a certificate and verifies one that comes; clients with a secret or an assertion need none.
func stsTLS(source certs.Source) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		m, err := source.Current()
		if err != nil {
			return nil, err
		}
		return &tls.Config{
			MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{m.Certificate}, ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: m.Roots,
			NextProtos: []string{"http/1.1"}, SessionTicketsDisabled: true,
		}, nil
	}}
}
