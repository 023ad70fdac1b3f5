package istio_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"waymark.dev/waypoint/e2e/testbed"
)

// The cases share a control plane, and have a namespace each.
func TestMesh(t *testing.T) {
	if os.Getenv("E2E_KUBECONFIG") != "" {
		t.Skip("E2E_KUBECONFIG names a cluster: see TestAnywhere")
	}
	t.Log("against the loopback testbed: etcd, kube-apiserver and istiod as they are shipped (E2E_KUBECONFIG names a cluster instead)")
	authority, plugged := newRoot(t, "mesh"), t.TempDir()
	authority.plug(t, plugged, authority.root)
	w := newWorld(t, testbed.IstiodOptions{Env: []string{"ROOT_CA_DIR=" + plugged}})
	w.root, w.plugged = authority, plugged
	for _, c := range []struct {
		name string
		run  func(*testing.T, *world)
	}{
		{"policy path", policyPath},
		{"policy change to enforcement", policyChange},
		{"namespaces", namespaces},
		{"tokens", tokens},
		{"malformed objects", malformed},
		{"a Gateway that is not there", noGateway},
		{"endpoints", endpoints},
		{"workloads by address", workloads},
		{"canary", canary},
		{"revocation", revocation},
		{"rolling restart", rollingRestart},
		{"istiod away", istiodAway},
		{"API server away", apiServerAway},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, w) })
	}
}

// allow is a policy that permits one account some tools.
func allow(ns, name, account string, tools ...string) string {
	return fmt.Sprintf(`apiVersion: waymark.dev/v1alpha1
kind: AgentAuthorizationPolicy
metadata: {name: %s, namespace: %s}
spec:
  targetRefs: [{kind: Service, name: mcp}]
  action: ALLOW
  rules:
  - from: [{source: {serviceAccounts: [%s]}}]
    to: [{operation: {tools: [%s]}}]
`, name, ns, account, strings.Join(tools, ", "))
}

func deny(ns, name string, tools ...string) string {
	return fmt.Sprintf(`apiVersion: waymark.dev/v1alpha1
kind: AgentAuthorizationPolicy
metadata: {name: %s, namespace: %s}
spec:
  targetRefs: [{kind: Service, name: mcp}]
  action: DENY
  rules:
  - to: [{operation: {tools: [%s]}}]
`, name, ns, strings.Join(tools, ", "))
}

// From labels and a policy to a denied call: WaypointBound, istioctl, tools by name, who the backend sees.
func policyPath(t *testing.T, w *world) {
	p := w.newPlace(t, "bank", "service")
	vip := p.service(t, nil)
	b := p.startBackend(t, "mcp-0", false)
	way := p.startWaypoint(t, "agents-0")
	p.serve(t, "mcp", way)
	status, err := w.i.ProxyStatus()
	if err != nil || !strings.Contains(status, "agents-0."+p.ns) {
		t.Errorf("istioctl proxy-status does not list the waypoint: %v\n%s", err, status)
	}
	t.Logf("istioctl proxy-status:\n%s", status)
	authority := fmt.Sprintf("%s:%d", vip, mcpPort)
	teller, intern := p.caller(t, "teller", way), p.caller(t, "intern", way)
	w.await(t, "attached", func() error { _, err := teller.tryMCP(t, authority); return err })
	s := teller.mcp(t, authority)
	if got := call(t, s, "read_account"); got != "ok" {
		t.Errorf("without a policy: got %q", got)
	}
	w.k.ApplyText(t, allow(p.ns, "tellers", "teller", "read_account", "update_limit"), deny(p.ns, "bulk", "export_all"))
	w.await(t, "the DENY policy", func() error {
		if got := call(t, s, "export_all"); !strings.HasPrefix(got, "-32602 ") {
			return fmt.Errorf("got %q", got)
		}
		return nil
	})
	ran := b.bank.Runs("export_all") // before the policy
	for range 10 {
		if got := call(t, s, "export_all"); got == "ok" {
			t.Error("a denied call passes")
		}
	}
	if got := call(t, s, "read_account"); got != "ok" {
		t.Errorf("the teller reads an account: got %q", got)
	}
	if _, err := intern.tryMCP(t, authority); err == nil {
		t.Error("the intern connects, and no policy permits it anything")
	}
	if n := b.bank.Runs("export_all") - ran; n != 0 {
		t.Errorf("export_all ran %d times while it was denied", n)
	}
	// Also by name, as callers of other networks ask.
	byName := fmt.Sprintf("mcp.%s.svc.cluster.local:%d", p.ns, mcpPort)
	if got := call(t, teller.mcp(t, byName), "read_account"); got != "ok" {
		t.Errorf("by hostname: got %q", got)
	}
	peers, header := b.tunnel.seen()
	if want := id(p.ns, "agents").String(); len(peers) != 1 || peers[want] == 0 {
		t.Errorf("the backend's tunnel was opened by %v, want only %s", peers, want)
	}
	if got, want := header.Get("Forwarded"), "host=mcp."+p.ns+".svc.cluster.local"; !strings.Contains(strings.ReplaceAll(got, `"`, ""), want) {
		t.Errorf("the CONNECT says forwarded: %q, want %s in it", got, want)
	}
	records, err := os.ReadFile(way.audit)
	if err != nil || !strings.Contains(string(records), `"verdict":"deny"`) || !strings.Contains(string(records), p.ns+"/bulk") {
		t.Errorf("no audit record of the denied call: %v", err)
	}
}

// How long it takes from the API server's answer to the first denied call: 100 changes.
func policyChange(t *testing.T, w *world) {
	p := w.newPlace(t, "change", "service")
	vip := p.service(t, nil)
	p.startBackend(t, "mcp-0", false)
	way := p.startWaypoint(t, "agents-0")
	p.serve(t, "mcp", way)
	authority := fmt.Sprintf("%s:%d", vip, mcpPort)
	teller := p.caller(t, "teller", way)
	w.await(t, "attached", func() error { _, err := teller.tryMCP(t, authority); return err })
	s := teller.mcp(t, authority)
	denied := func() bool { return call(t, s, "update_limit") != "ok" && call(t, s, "read_account") == "ok" }
	const changes = 100
	var took []time.Duration
	for i := range changes {
		want := i%2 == 0
		if want {
			w.k.ApplyText(t, deny(p.ns, "flip", "update_limit"))
		} else {
			w.k.Kubectl(t, "-n", p.ns, "delete", "agentauthorizationpolicy", "flip", "--wait=false")
		}
		began := time.Now()
		for denied() != want {
			if time.Since(began) > patience {
				t.Fatalf("change %d is not enforced", i)
			}
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	p50, p99 := took[len(took)/2], took[len(took)*99/100]
	t.Logf("figures: %d changes, from kubectl returning to the first call judged by it: p50 %s, p99 %s, longest %s", changes, p50, p99, took[len(took)-1])
	if p99 > time.Second {
		t.Errorf("p99 is %s, over a second", p99)
	}
}

// Whose namespace it is counts, and what is not attached is refused.
func namespaces(t *testing.T, w *world) {
	p := w.newPlace(t, "mine", "service")
	vip := p.service(t, nil)
	p.startBackend(t, "mcp-0", false)
	way := p.startWaypoint(t, "agents-0")
	p.serve(t, "mcp", way)
	other := w.newPlace(t, "theirs", "service")
	theirs := other.service(t, nil)
	other.startBackend(t, "mcp-0", false)
	w.k.ApplyText(t, deny("theirs", "nothing", `"*"`)) // a policy of the same target name in another namespace
	web := fmt.Sprintf("%s:80", vip)
	teller := p.caller(t, "teller", way)
	w.await(t, "attached", func() error {
		if got, err := teller.get(t, web, "/"); got != http.StatusOK {
			return fmt.Errorf("status %d, %w", got, err)
		}
		return nil
	})
	if got := call(t, teller.mcp(t, fmt.Sprintf("%s:%d", vip, mcpPort)), "export_all"); got != "ok" {
		t.Errorf("a policy of another namespace applies: %s", got)
	}
	for _, refused := range []string{
		fmt.Sprintf("%s:%d", theirs, mcpPort),                // attached to nobody
		fmt.Sprintf("%s:%d", vip, 9),                         // no such port
		"kubernetes.default.svc.cluster.local:443",           // not of this waypoint
		way.ip + ":15008", way.ip + ":15021", vip + ":15008", // the mesh's own
		"127.0.0.1:22", "169.254.169.254:80",
	} {
		if conn, err := teller.dial(t.Context(), refused); err == nil {
			conn.Close()
			t.Errorf("a tunnel to %s is accepted", refused)
		}
	}
}

// What cannot be carried out refuses what it targets, and nothing else.
func malformed(t *testing.T, w *world) {
	p := w.newPlace(t, "bad", "service")
	vip := p.service(t, nil)
	w.k.ApplyText(t, strings.ReplaceAll(testbed.Service(p.ns, "other", nil, nil, testbed.ServicePort{Name: "http", Port: 80, Target: webPort}), `"app":"other"`, `"app":"mcp"`))
	p.startBackend(t, "mcp-0", false)
	way := p.startWaypoint(t, "agents-0")
	p.serve(t, "mcp", way)
	p.serve(t, "other", way)
	target, spared := vip+":80", w.k.ClusterIP(t, p.ns, "other")+":80"
	teller := p.caller(t, "teller", way)
	expect := func(what string, authority string, want int) {
		t.Helper()
		w.await(t, what+": "+authority, func() error {
			if got, err := teller.get(t, authority, "/"); got != want {
				return fmt.Errorf("status %d, %w, want %d", got, err, want)
			}
			return nil
		})
	}
	expect("at first", target, http.StatusOK)
	for _, c := range []struct{ what, kind, yaml string }{
		{"a DENY whose expression does not compile", "agentauthorizationpolicy", strings.Replace(deny(p.ns, "broken", "x"), "to: [{operation: {tools: [x]}}]", `when: [{cel: "no.such.variable == 1"}]`, 1)},
		{"an ALLOW whose expression does not compile", "agentauthorizationpolicy", strings.Replace(strings.Replace(deny(p.ns, "broken", "x"), "to: [{operation: {tools: [x]}}]", `when: [{cel: "no.such.variable == 1"}]`, 1), "DENY", "ALLOW", 1)},
		{"an Istio policy", "authorizationpolicy", fmt.Sprintf(`apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: broken, namespace: %s}
spec:
  targetRefs: [{kind: Service, group: "", name: mcp}]
  action: DENY
  rules: [{to: [{operation: {paths: ["/secret"]}}]}]
`, p.ns)},
		{"a quarantine", "quarantine", fmt.Sprintf(`apiVersion: waymark.dev/v1alpha1
kind: Quarantine
metadata: {name: broken, namespace: %s}
spec:
  targetRefs: [{kind: Service, name: mcp}]
  subject: {principals: ["cluster.local/ns/bad/sa/teller"]}
  reason: suspected exfiltration
  requestedBy: security
`, p.ns)},
	} {
		w.k.ApplyText(t, c.yaml)
		expect(c.what, target, http.StatusForbidden)
		expect(c.what, spared, http.StatusOK)
		w.k.Kubectl(t, "-n", p.ns, "delete", c.kind, "broken")
		expect("after "+c.what, target, http.StatusOK)
	}
	w.k.Kubectl(t, "-n", p.ns, "annotate", "service", "mcp", "waymark.dev/mode=strict")
	expect("an annotation with a slip", target, http.StatusForbidden)
	if want := "Service bad/mcp: metadata.annotations[waymark.dev/mode]: "; !strings.Contains(way.Output(), want) {
		t.Errorf("the log does not say %q", want)
	}
	expect("an annotation with a slip", spared, http.StatusOK)
	w.k.Kubectl(t, "-n", p.ns, "annotate", "service", "mcp", "waymark.dev/mode-")
	expect("without the annotation", target, http.StatusOK)
}

// A slip in the name of the Gateway looks like a healthy waypoint: the log says what it is.
func noGateway(t *testing.T, w *world) {
	p := w.newPlace(t, "slip", "service")
	way := p.startWaypoint(t, "agents-0", "--gateway", "agnets")
	fresh := p.startWaypoint(t, "agents-1")
	for _, c := range []struct {
		way  *waypoint
		want string
	}{
		{way, `msg="the Gateway is not there: nothing is attached" gateway=slip/agnets`},
		{fresh, `msg="the Gateway has no address in its status: nothing is attached" gateway=slip/agents`},
	} {
		if !strings.Contains(c.way.Output(), c.want) {
			t.Errorf("the log does not say %s:\n%s", c.want, c.way.Output())
		}
	}
}

// Pods come and go under load, one without a tunnel, one that takes over the address of another.
func endpoints(t *testing.T, w *world) {
	p := w.newPlace(t, "churn", "service")
	vip := p.service(t, nil)
	first := p.startBackend(t, "mcp-0", false)
	second := p.startBackend(t, "mcp-1", false)
	plain := p.startBackend(t, "mcp-2", true)
	way := p.startWaypoint(t, "agents-0")
	p.serve(t, "mcp", way)
	web := vip + ":80"
	teller := p.caller(t, "teller", way)
	reached := func(b *backend) func() error {
		return func() error {
			before := b.hits.Load()
			for range 20 {
				if _, err := teller.get(t, web, "/"); err != nil {
					return err
				}
			}
			if b.hits.Load() == before {
				return fmt.Errorf("%s gets no request", b.ip)
			}
			return nil
		}
	}
	for _, b := range []*backend{first, second, plain} {
		w.await(t, "every endpoint", reached(b))
	}
	l := teller.start(t, web, 8, 2*time.Millisecond)
	for i := range 10 {
		name, b := "mcp-1", second
		if i%2 == 1 {
			name, b = "mcp-0", first
		}
		pod := testbed.Pod{Namespace: p.ns, Name: name, IP: b.ip, Account: "mcp", Labels: map[string]string{"app": "mcp"}, NotReady: true}
		w.k.Pod(t, pod)
		time.Sleep(100 * time.Millisecond)
		pod.NotReady = false
		w.k.Pod(t, pod)
		time.Sleep(100 * time.Millisecond)
	}
	l.stop()
	t.Logf("figures: endpoint churn: %s", l)
	if l.failed.Load() > 0 {
		t.Error("requests failed while endpoints came and went")
	}
	// Another workload takes over the address: it cannot prove to be the one that istiod names until istiod names it.
	w.k.DeletePod(t, p.ns, "mcp-0")
	w.k.DeletePod(t, p.ns, "mcp-2")
	w.k.DeletePod(t, p.ns, "mcp-1")
	first.tunnel.server.Close()
	startZtunnel(t, first.ip, w.i.Certificates(t, p.ns, "web"))
	w.k.Pod(t, testbed.Pod{Namespace: p.ns, Name: "mcp-0", IP: first.ip, Account: "mcp", Labels: map[string]string{"app": "mcp"}})
	time.Sleep(300 * time.Millisecond)
	before := first.hits.Load()
	for range 10 {
		if got, _ := teller.get(t, web, "/"); got == http.StatusOK {
			t.Error("a workload that is not the one istiod names answered")
		}
	}
	if first.hits.Load() != before {
		t.Error("requests reached a workload with another identity")
	}
	w.k.DeletePod(t, p.ns, "mcp-0")
	w.k.Pod(t, testbed.Pod{Namespace: p.ns, Name: "mcp-3", IP: first.ip, Account: "web", Labels: map[string]string{"app": "mcp"}})
	w.await(t, "once istiod names it", func() error {
		if got, err := teller.get(t, web, "/"); got != http.StatusOK {
			return fmt.Errorf("status %d, %w", got, err)
		}
		return nil
	})
}

// Calls to a pod's own address.
func workloads(t *testing.T, w *world) {
	p := w.newPlace(t, "pods", "all")
	p.service(t, nil)
	b := p.startBackend(t, "mcp-0", false)
	way := p.startWaypoint(t, "agents-0")
	p.serve(t, "mcp", way)
	direct := fmt.Sprintf("%s:%d", b.ip, mcpPort)
	teller := p.caller(t, "teller", way)
	w.await(t, "the pod is attached", func() error { _, err := teller.tryMCP(t, direct); return err })
	s := teller.mcp(t, direct)
	if got := call(t, s, "read_account"); got != "ok" {
		t.Errorf("got %q", got)
	}
	w.k.ApplyText(t, strings.Replace(deny(p.ns, "bulk", "export_all"), "targetRefs: [{kind: Service, name: mcp}]", "targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: agents}]", 1))
	w.await(t, "a policy of the Gateway", func() error {
		if got := call(t, s, "export_all"); got == "ok" {
			return fmt.Errorf("got %q", got)
		}
		return nil
	})
	if got := call(t, s, "read_account"); got != "ok" {
		t.Errorf("got %q", got)
	}
	if got, err := teller.get(t, fmt.Sprintf("%s:%d", b.ip, webPort), "/"); got != http.StatusOK {
		t.Errorf("a port that no service has: %d, %v", got, err)
	}
	if conn, err := teller.dial(t.Context(), b.ip+":15008"); err == nil {
		conn.Close()
		t.Error("the port of the tunnel itself is accepted")
	}
}

// A service that names another waypoint first and us as its canary is served.
func canary(t *testing.T, w *world) {
	p := w.newPlace(t, "canary", "service")
	vip := p.service(t, nil)
	p.startBackend(t, "mcp-0", false)
	way := p.startWaypoint(t, "agents-0")
	p.serve(t, "mcp", way)
	w.k.ApplyText(t, testbed.Waypoint(p.ns, "old", "service"))
	w.k.PatchGateway(t, p.ns, "old", p.address())
	w.k.Kubectl(t, "-n", p.ns, "label", "service", "mcp", "istio.io/use-waypoint=old", "istio.io/use-waypoint-canary=agents")
	w.k.Kubectl(t, "-n", p.ns, "annotate", "service", "mcp", "istio.io/use-waypoint-canary-weight=10")
	teller := p.caller(t, "teller", way)
	time.Sleep(500 * time.Millisecond)
	if got, err := teller.get(t, vip+":80", "/"); got != http.StatusOK {
		t.Errorf("as a canary: %d, %v", got, err)
	}
	w.k.Kubectl(t, "-n", p.ns, "label", "service", "mcp", "istio.io/use-waypoint-canary-")
	w.await(t, "not attached any more", func() error {
		conn, err := teller.dial(context.Background(), vip+":80")
		if err == nil {
			conn.Close()
			return fmt.Errorf("a tunnel is accepted")
		}
		return nil
	})
}
