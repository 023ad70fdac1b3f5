package istio_test

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"waymark.dev/waypoint/cmd/demo/company"
	"waymark.dev/waypoint/e2e/testbed"
	"waymark.dev/waypoint/pkg/hbone"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/identity/certs"
)

// patience is how long anything may take that should happen at once.
const patience = 20 * time.Second

var (
	trustDomain = identity.RequireTrustDomain("cluster.local")
	trust       = identity.MatchTrustDomains(trustDomain)
)

// world is a control plane and the waypoint's binary.
type world struct {
	k   *testbed.Kubernetes
	i   *testbed.Istiod
	bin string

	root    *root // the CA that is plugged into istiod, and where; nil if it made one itself
	plugged string
}

// octets hands out the third octet of addresses in 127.0.0.0/8: each namespace has its own.
var octets atomic.Int32

func init() { octets.Store(100) }

// newWorld starts a control plane with everything of ours installed.
func newWorld(t *testing.T, o testbed.IstiodOptions) *world {
	t.Helper()
	if os.Getenv("E2E_KUBECONFIG") != "" {
		t.Skip("plays nodes, and kills parts of the control plane or changes its CA: loopback only; TestAnywhere runs in the cluster of E2E_KUBECONFIG")
	}
	w := &world{k: testbed.StartKubernetes(t), bin: binary(t)}
	w.i = testbed.StartIstiod(t, w.k, o)
	w.k.Kubectl(t, "apply", "-k", filepath.Join(testbed.Root, "manifests"))
	return w
}

// binary builds the waypoint once.
var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "waypoint-e2e-")
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "waypoint")
	build := exec.Command("go", "build", "-o", bin, "./cmd/waypoint")
	build.Dir = testbed.Root
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return bin, nil
})

func binary(t *testing.T) string {
	t.Helper()
	bin, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

// place is a namespace whose services are behind a waypoint.
type place struct {
	*world
	ns    string
	net   string // 127.0.x.
	trafo string // istio.io/waypoint-for
	next  int
	// probed is for cases in which readiness is what a probe found: pods of waypoints are not ready until the case says so.
	probed bool
}

// newPlace makes a namespace with the Gateway "agents" and the service accounts of everybody in it. Its waypoints are started
// by startWaypoint.
func (w *world) newPlace(t *testing.T, ns, trafficType string) *place {
	t.Helper()
	p := &place{world: w, ns: ns, net: fmt.Sprintf("127.0.%d.", octets.Add(1)), trafo: trafficType, next: 10}
	w.k.ApplyText(t, testbed.Namespace(ns, map[string]string{"istio.io/dataplane-mode": "ambient", "istio.io/use-waypoint": "agents"}))
	w.k.ApplyText(t, testbed.Waypoint(ns, "agents", trafficType))
	for _, account := range []string{"agents", "mcp", "web", "teller", "intern"} {
		w.k.ApplyText(t, testbed.ServiceAccount(ns, account))
	}
	w.k.Kubectl(t, "create", "clusterrolebinding", ns+"-agents", "--clusterrole=waymark-waypoint", "--serviceaccount="+ns+":agents")
	return p
}

func (p *place) address() string {
	p.next++
	return fmt.Sprintf("%s%d", p.net, p.next)
}

// waypoint is one replica.
type waypoint struct {
	*testbed.Program
	name, ip string
	dir      string
	audit    string
}

func (w *waypoint) addr() netip.AddrPort { return netip.MustParseAddrPort(w.ip + ":15008") }

func (w *waypoint) ready() error {
	c := http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := c.Get("http://" + w.ip + ":15021/healthz/ready")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("readiness: %s", resp.Status)
	}
	return nil
}

// startWaypoint starts a replica and waits until it is ready.
func (p *place) startWaypoint(t *testing.T, name string, args ...string) *waypoint {
	t.Helper()
	w := p.prepareWaypoint(t, name, args...)
	w.Await(t, patience, w.ready)
	return w
}

// prepareWaypoint starts a replica, as its Deployment would, and does not wait.
func (p *place) prepareWaypoint(t *testing.T, name string, args ...string) *waypoint {
	t.Helper()
	w := &waypoint{name: name, ip: p.address(), dir: t.TempDir()}
	w.audit = filepath.Join(w.dir, "audit.jsonl")
	p.k.Pod(t, testbed.Pod{
		Namespace: p.ns, Name: name, IP: w.ip, Account: "agents", Plain: true, NotReady: p.probed,
		Labels: map[string]string{"gateway.networking.k8s.io/gateway-name": "agents", "istio.io/dataplane-mode": "none", "istio.io/use-waypoint": "none"},
	})
	token := filepath.Join(w.dir, "token")
	if err := os.WriteFile(token, []byte(p.k.Token(t, p.ns, "agents", "istio-ca")), 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{
		"GATEWAY_NAME=agents", "POD_NAME=" + name, "POD_NAMESPACE=" + p.ns, "SERVICE_ACCOUNT=agents", "INSTANCE_IP=" + w.ip, "NODE_NAME=node-1",
		"XDS_ADDRESS=" + p.i.Secure, "ISTIOD_SAN=" + p.i.SAN, "XDS_ROOT_CA=" + p.i.RootFile, "CA_ROOT_CA=" + p.i.RootFile,
		"TOKEN_FILE=" + token, "CRL_PATH=" + w.crl(),
	}
	args = append([]string{
		"serve", "--kubeconfig", p.k.KubeconfigOf(t, p.ns, "agents"), "--listen", w.ip + ":15008", "--health", w.ip + ":15021",
		"--audit", w.audit,
	}, args...)
	w.Program = testbed.Run(t, name+"."+p.ns, p.bin, env, args...)
	return w
}

func (w *waypoint) crl() string { return filepath.Join(w.dir, "ca-crl.pem") }

// stop asks it to stop, as a kubelet does, and waits until it has.
func (w *waypoint) stop(t *testing.T) {
	t.Helper()
	w.Signal(syscall.SIGTERM)
	if err := w.Wait(); err != nil {
		t.Errorf("%s: %v\n%s", w.name, err, w.Output())
	}
}

// serve publishes the Gateway's address, which makes it a waypoint for istiod, and waits until a service is bound to it.
func (p *place) serve(t *testing.T, service string, replicas ...*waypoint) {
	t.Helper()
	var addresses []string
	for _, w := range replicas {
		addresses = append(addresses, w.ip)
	}
	p.k.PatchGateway(t, p.ns, "agents", addresses...)
	p.await(t, "the service is bound", func() error {
		got := p.k.Kubectl(t, "-n", p.ns, "get", "service", service, "-o", `jsonpath={.status.conditions[?(@.type=="istio.io/WaypointBound")].status}`)
		if got != "True" {
			return fmt.Errorf("WaypointBound is %q", got)
		}
		return nil
	})
}

// await asks until there is no error.
func (w *world) await(t *testing.T, what string, ask func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := ask()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// backend is what runs in a pod: an MCP server and a web server, and the ztunnel in front of both.
type backend struct {
	ip     string
	bank   *company.Bank
	hits   atomic.Int64
	tunnel *ztunnel
}

// Ports of a backend.
const (
	mcpPort = 3000
	webPort = 8080
)

// startBackend runs a pod of the service mcp. plain ones have no tunnel.
func (p *place) startBackend(t *testing.T, name string, plain bool) *backend {
	t.Helper()
	return p.startBackendAt(t, name, p.address(), "mcp", plain)
}

func (p *place) startBackendAt(t *testing.T, name, ip, account string, plain bool) *backend {
	t.Helper()
	b := &backend{ip: ip, bank: company.New()}
	serveHTTP(t, ip, mcpPort, b.bank.Handler(company.Options{}))
	serveHTTP(t, ip, webPort, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.hits.Add(1)
		w.Header().Set("X-Backend", name)
		fmt.Fprintf(w, "%s %s\n", name, r.URL.Path)
	}))
	if !plain {
		b.tunnel = startZtunnel(t, ip, p.i.Certificates(t, p.ns, account))
	}
	p.k.Pod(t, testbed.Pod{Namespace: p.ns, Name: name, IP: ip, Account: account, Plain: plain, Labels: map[string]string{"app": "mcp"}})
	return b
}

func serveHTTP(t *testing.T, ip string, port int, h http.Handler) {
	t.Helper()
	l, err := net.Listen("tcp", fmt.Sprintf("%s:%d", ip, port))
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: h}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
}

// service makes the Service mcp and returns its address.
func (p *place) service(t *testing.T, annotations map[string]string) string {
	t.Helper()
	p.k.ApplyText(t, testbed.Service(p.ns, "mcp", nil, annotations,
		testbed.ServicePort{Name: "tools", AppProtocol: "kgateway.dev/mcp", Port: mcpPort, Target: mcpPort},
		testbed.ServicePort{Name: "http-web", Port: 80, Target: webPort}))
	return p.k.ClusterIP(t, p.ns, "mcp")
}

// ztunnel is the stand-in next to a backend: an HBONE server that leads to its own pod only.
type ztunnel struct {
	server *hbone.Server

	mu     sync.Mutex
	peers  map[string]int
	header http.Header
}

func startZtunnel(t *testing.T, ip string, source certs.Source) *ztunnel {
	t.Helper()
	l, err := net.Listen("tcp", ip+":15008")
	if err != nil {
		t.Fatal(err)
	}
	z := &ztunnel{peers: map[string]int{}}
	z.server = hbone.NewServer(hbone.ServerConfig{Certificates: source, Trust: trust, Handler: func(r *hbone.Request) { z.connect(ip, r) }})
	go z.server.Serve(l)
	t.Cleanup(func() { z.server.Close() })
	return z
}

func (z *ztunnel) connect(ip string, r *hbone.Request) {
	z.mu.Lock()
	z.peers[r.Peer().String()]++
	z.header = r.Header().Clone()
	z.mu.Unlock()
	if !strings.HasPrefix(r.Authority(), ip+":") {
		r.Refuse(http.StatusBadRequest)
		return
	}
	app, err := net.DialTimeout("tcp", r.Authority(), time.Second)
	if err != nil {
		r.Refuse(http.StatusServiceUnavailable)
		return
	}
	defer app.Close()
	if c, err := r.Accept(nil); err == nil {
		_, _, _ = hbone.Splice(app.(*net.TCPConn), c)
	}
}

func (z *ztunnel) seen() (map[string]int, http.Header) {
	z.mu.Lock()
	defer z.mu.Unlock()
	all := map[string]int{}
	for id, n := range z.peers {
		all[id] = n
	}
	return all, z.header.Clone()
}

func id(ns, account string) identity.ID {
	return identity.RequireID("spiffe://cluster.local/ns/" + ns + "/sa/" + account)
}
