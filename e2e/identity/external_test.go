package identity_test

import (
	"encoding/json/v2"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"waymark.dev/waypoint/internal/testmesh"
)

// istioAuthorizer is Istio's sample of an external authorization service, which its own documentation of CUSTOM uses: it allows what has
// the header x-ext-authz: allow, and what a service account named "a" calls.
type istioAuthorizer struct {
	addr netip.AddrPort
	kill func()

	mu  sync.Mutex
	log strings.Builder
}

const sample = "istio.io/istio/samples/extauthz/cmd/extauthz"

// startIstioAuthorizer builds the sample from the module cache and runs it. It would listen on every address of the machine; so what is
// built is its source with another address, in a package that only the build sees.
func startIstioAuthorizer(t *testing.T) *istioAuthorizer {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-f", "{{.Dir}}", sample).Output()
	if err != nil {
		t.Fatalf("go list %s: %v", sample, err)
	}
	dir, source := t.TempDir(), filepath.Join(strings.TrimSpace(string(out)), "main.go")
	text, err := os.ReadFile(source)
	if err != nil || strings.Count(string(text), `Sprintf(":%s"`) != 2 {
		t.Fatalf("the sample does not listen as expected: %v", err)
	}
	here := filepath.Join(dir, "main.go")
	if err := os.WriteFile(here, []byte(strings.ReplaceAll(string(text), `Sprintf(":%s"`, `Sprintf("127.0.0.1:%s"`)), 0o600); err != nil {
		t.Fatal(err)
	}
	where, err := filepath.Abs("istioauthorizer")
	if err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(where, "main.go"): here}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "extauthz")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-overlay", filepath.Join(dir, "overlay.json"), "-o", program, "./istioauthorizer").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	a := &istioAuthorizer{}
	cmd := exec.CommandContext(t.Context(), program, "-http", "0", "-grpc", "0", "-allow_service_account", "trusted")
	cmd.Stdout, cmd.Stderr = a, a
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	a.kill = sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	t.Cleanup(a.kill)
	listening := regexp.MustCompile(`Starting gRPC server at (\S+)`)
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if m := listening.FindStringSubmatch(a.said()); m != nil {
			a.addr = netip.MustParseAddrPort(m[1])
			return a
		}
		if time.Now().After(deadline) {
			t.Fatalf("the sample does not listen:\n%s", a.said())
		}
	}
}

func (a *istioAuthorizer) Write(b []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.log.Write(b)
}

func (a *istioAuthorizer) said() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.log.String()
}

// questions counts what it was asked, and checks that it was not told what it must not be.
func (a *istioAuthorizer) questions(t *testing.T) int {
	t.Helper()
	if strings.Contains(a.said(), "s3cret") {
		t.Errorf("it was told a secret:\n%s", a.said())
	}
	return strings.Count(a.said(), "[gRPCv3]")
}

// authorizerEntry is the service that is asked, in the mesh.
const authorizerEntry = `---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: authorizer, namespace: identity}
spec:
  hosts: [authorizer.identity.svc.cluster.local]
  addresses: [10.96.1.9]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 9000, name: grpc, protocol: GRPC}]
  workloadSelector: {labels: {app: authorizer}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata:
  name: authorizer
  namespace: identity
  labels: {app: authorizer, networking.istio.io/tunnel: http}
spec: {address: 10.244.1.9, serviceAccount: authorizer, ports: {grpc: 9000}}
`

// authorizedWorld runs examples/operators with more policies, and a service that is asked.
func authorizedWorld(t *testing.T, policies string, authorizer netip.AddrPort) (*world, *backend, *issuer) {
	t.Helper()
	w, tools := newWorld(t), &backend{}
	idp, agw := newIssuer(t, "https://idp.example.com"), newIssuer(t, "https://agw-sts.example.com")
	keys := http.NewServeMux()
	keys.Handle("/realms/company/keys", idp)
	keys.Handle("/sts/keys", agw)
	for _, name := range []string{"github-mcp", "advisors-mcp", "company-mcp"} {
		w.place("tools", name, tools)
	}
	w.place("identity", "keys", keys)
	in, err := w.mesh.Inbound(testmesh.InboundConfig{Workload: w.mesh.ID("identity", "authorizer"), App: authorizer})
	if err != nil {
		t.Fatal(err)
	}
	w.at["authorizer"] = testmesh.Placement{App: authorizer, Tunnel: in.Addr()}
	w.startWith("operators", policies+authorizerEntry)
	return w, tools, idp
}

// Istio's own authorizer decides, through the mesh, about the calls that a CUSTOM policy names, and about those only.
func TestCustom(t *testing.T) {
	const policies = `apiVersion: waymark.dev/v1alpha1
kind: AgentAuthorizationPolicy
metadata: {name: external, namespace: tools}
spec:
  targetRefs: [{kind: Service, name: github-mcp}]
  action: CUSTOM
  externalAuthorization:
    backendRef: {name: authorizer, namespace: identity, port: 9000}
    timeout: 10s
    headers: [x-ext-authz]
  rules:
    - to: [{operation: {tools: ["list_*", drop]}}]
---
apiVersion: waymark.dev/v1alpha1
kind: AgentAuthorizationPolicy
metadata: {name: never, namespace: tools}
spec:
  targetRefs: [{kind: Service, name: github-mcp}]
  action: DENY
  rules:
    - to: [{operation: {tools: [drop]}}]
---
apiVersion: waymark.dev/v1alpha1
kind: AgentAuthorizationPolicy
metadata: {name: tried, namespace: tools, annotations: {istio.io/dry-run: "true"}}
spec:
  targetRefs: [{kind: Service, name: github-mcp}]
  action: CUSTOM
  externalAuthorization:
    backendRef: {name: authorizer, namespace: identity, port: 9000}
  rules: [{}]
`
	authorizer := startIstioAuthorizer(t)
	w, tools, idp := authorizedWorld(t, policies, authorizer.addr)

	agent, trusted := w.client("agent", "10.96.1.1:3000"), w.client("trusted", "10.96.1.1:3000")
	token := idp.token(t, map[string]any{"scope": "github-readonly", "note": "s3cret"})
	allow, deny := []string{"X-Ext-Authz", "allow"}, []string{"X-Ext-Authz", "no", "X-Other", "s3cret"}
	for _, tt := range []struct {
		name, tool, token string
		client            *http.Client
		header            []string
		code              string
		asked             int
	}{
		{"it allows", "list_issues", token, agent, allow, "", 1},
		{"it denies", "list_issues", token, agent, deny, "entitlement_denied", 1},
		{"it knows the caller by its certificate", "list_issues", token, trusted, nil, "", 1},
		{"and another one", "list_issues", token, agent, nil, "entitlement_denied", 1},
		{"it is not asked about other calls", "get_issue", token, agent, deny, "", 0},
		{"it is not asked without a token", "list_issues", "", agent, allow, "unauthenticated", 0},
		{"what it allows is judged by the others: DENY", "drop", token, agent, allow, "entitlement_denied", 1},
		{"what it allows is judged by the others: ALLOW", "list_other", token, agent, allow, "entitlement_denied", 1},
	} {
		before, hits := authorizer.questions(t), tools.count()
		got := w.call(tt.client, "github-mcp:3000", tt.tool, tt.token, tt.header...)
		if got.code != tt.code || authorizer.questions(t)-before != tt.asked {
			t.Errorf("%s: got %q (%s) after %d questions, want %q after %d", tt.name, got.code, got.reason, authorizer.questions(t)-before, tt.code, tt.asked)
		}
		if reached := tools.count() - hits; (reached == 1) != (tt.code == "") {
			t.Errorf("%s: %d calls reached the server", tt.name, reached)
		}
		if got.code == "" && tt.asked == 1 {
			h, _ := tools.seen()
			if h.Get("X-Ext-Authz-Check-Result") != "allowed" {
				t.Errorf("%s: the header that it asks for is not there: %v", tt.name, h)
			}
		}
		if strings.Contains(got.body, "ext_authz") || got.header.Get("X-Ext-Authz-Check-Result") != "" {
			t.Errorf("%s: its words reached the caller: %s %v", tt.name, got.body, got.header)
		}
	}
	for _, want := range []string{`"waymark.target"`, `"list_issues"`, `"waymark.user"`, `"alice"`, `spiffe://cluster.local/ns/agents/sa/trusted`} {
		if !strings.Contains(authorizer.said(), want) {
			t.Errorf("it was not told %s", want)
		}
	}

	authorizer.kill()
	for _, tt := range []struct{ tool, code string }{{"list_issues", "policy_error"}, {"get_issue", ""}} {
		if got := w.call(agent, "github-mcp:3000", tt.tool, token, allow...); got.code != tt.code {
			t.Errorf("killed: %s: got %q (%s), want %q", tt.tool, got.code, got.reason, tt.code)
		}
	}
}

func (b *backend) count() int {
	_, n := b.seen()
	return n
}
