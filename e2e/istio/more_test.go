package istio_test

import (
	"bufio"
	"fmt"
	"net/http"
	"testing"

	"waymark.dev/waypoint/e2e/testbed"
)

// TestIstio is what istiod alone decides: where callers go, what is attached, which addresses a service has.
func TestIstio(t *testing.T) {
	w := newWorld(t, testbed.IstiodOptions{})
	for _, c := range []struct {
		name string
		run  func(*testing.T, *world)
	}{
		{"rolling restart by hostname", byHostname},
		{"headless", headless},
		{"workloads only", workloadsOnly},
		{"another namespace's waypoint", borrowed},
		{"detached and attached", detached},
		{"what a cluster is given", given},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, w) })
	}
}

// headless services have no address: callers ask for the address of a pod of theirs, or for the hostname.
func headless(t *testing.T, w *world) {
	p := w.newPlace(t, "faceless", "all")
	w.k.ApplyText(t, fmt.Sprintf(`apiVersion: v1
kind: Service
metadata: {name: mcp, namespace: %s}
spec:
  clusterIP: None
  selector: {app: mcp}
  ports: [{name: tools, port: %d, targetPort: %d, appProtocol: kgateway.dev/mcp}, {name: http-web, port: 80, targetPort: %d}]
`, p.ns, mcpPort, mcpPort, webPort))
	b := p.startBackend(t, "mcp-0", false)
	way := p.startWaypoint(t, "agents-0")
	p.serve(t, "mcp", way)
	teller := p.caller(t, "teller", way)
	byName := "mcp.faceless.svc.cluster.local"
	p.attached(t, teller, byName+":80")
	w.k.ApplyText(t, deny(p.ns, "bulk", "export_all"))
	s := teller.mcp(t, fmt.Sprintf("%s:%d", byName, mcpPort))
	w.await(t, "the policy of the headless service", func() error {
		if got := call(t, s, "export_all"); got == "ok" {
			return fmt.Errorf("got %q", got)
		}
		return nil
	})
	if got := call(t, s, "read_account"); got != "ok" {
		t.Errorf("by hostname: got %q", got)
	}
	if got, err := teller.get(t, fmt.Sprintf("%s:%d", b.ip, webPort), "/"); got != http.StatusOK {
		t.Errorf("by the pod's address: %d, %v", got, err)
	}
}

// workloadsOnly is a waypoint that services do not go through: istiod does not bind them, and we refuse them.
func workloadsOnly(t *testing.T, w *world) {
	p := w.newPlace(t, "direct", "workload")
	vip := p.service(t, nil)
	b := p.startBackend(t, "mcp-0", false)
	way := p.startWaypoint(t, "agents-0")
	p.k.PatchGateway(t, p.ns, "agents", way.ip)
	teller := p.caller(t, "teller", way)
	p.attached(t, teller, fmt.Sprintf("%s:%d", b.ip, webPort))
	if got := call(t, teller.mcp(t, fmt.Sprintf("%s:%d", b.ip, mcpPort)), "read_account"); got != "ok" {
		t.Errorf("a tool of the pod: got %q", got)
	}
	if conn, err := teller.dial(t.Context(), vip+":80"); err == nil {
		conn.Close()
		t.Error("a service is served by a waypoint for workloads")
	}
}

// borrowed is a service bound to the waypoint of another namespace: its own namespace's policies count, and the Gateway's.
func borrowed(t *testing.T, w *world) {
	lender := w.newPlace(t, "lender", "service")
	way := lender.startWaypoint(t, "agents-0")
	lender.service(t, nil)
	lender.serve(t, "mcp", way)
	p := w.newPlace(t, "borrower", "service")
	w.k.Kubectl(t, "label", "namespace", p.ns, "istio.io/use-waypoint-namespace=lender")
	vip := p.service(t, nil)
	p.startBackend(t, "mcp-0", false)
	c := p.caller(t, "teller", way)
	c.ns = lender.ns // whose waypoint has to prove itself
	p.attached(t, c, vip+":80")
	s := c.mcp(t, fmt.Sprintf("%s:%d", vip, mcpPort))
	w.k.ApplyText(t, deny(lender.ns, "theirs", "read_account"), deny(p.ns, "ours", "export_all"))
	w.await(t, "the policy of the service's namespace", func() error {
		if got := call(t, s, "export_all"); got == "ok" {
			return fmt.Errorf("got %q", got)
		}
		return nil
	})
	if got := call(t, s, "read_account"); got != "ok" {
		t.Errorf("a policy for the service of the same name in the waypoint's namespace applies: %s", got)
	}
}

// detached takes a service away from the waypoint and brings it back, as operators do by a label.
func detached(t *testing.T, w *world) {
	p := w.newPlace(t, "label", "service")
	vip := p.service(t, nil)
	b := p.startBackend(t, "mcp-0", false)
	way := p.startWaypoint(t, "agents-0")
	p.serve(t, "mcp", way)
	web := vip + ":80"
	teller := p.caller(t, "teller", way)
	p.attached(t, teller, web)
	open, err := teller.dial(t.Context(), web)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	w.k.Kubectl(t, "-n", p.ns, "label", "service", "mcp", "istio.io/use-waypoint=none")
	w.await(t, "refused", func() error {
		if conn, err := teller.dial(t.Context(), web); err == nil {
			conn.Close()
			return fmt.Errorf("a tunnel is accepted")
		}
		return nil
	})
	before := b.hits.Load()
	k := &keepAlive{conn: open, r: bufio.NewReader(open)}
	if err := k.request(t.Context(), http.MethodGet, "/"); err == nil || b.hits.Load() != before {
		t.Errorf("a request in a tunnel from before: %v, the service got %d", err, b.hits.Load()-before)
	} else {
		t.Logf("a request in a tunnel from before: %v", err)
	}
	w.k.Kubectl(t, "-n", p.ns, "label", "service", "mcp", "istio.io/use-waypoint-")
	p.attached(t, teller, web)
}

// given checks what TestAnywhere applies in a cluster, as far as an API server without nodes can: it accepts all of it.
func given(t *testing.T, w *world) {
	w.k.ApplyText(t, testbed.Namespace("given", nil))
	w.k.ApplyText(t, example(t, w.k, "given", "waymark/waypoint:kind"), deployment("given", "teller", "waymark/e2e:kind"))
	got := w.k.Kubectl(t, "-n", "given", "get", "deployment", "agents", "teller", "-o", `jsonpath={.items[*].spec.template.spec.containers[0].image}`)
	if want := "waymark/waypoint:kind waymark/e2e:kind"; got != want {
		t.Errorf("images %q, want %q", got, want)
	}
	subject := w.k.Kubectl(t, "get", "clusterrolebinding", "waymark-waypoint-given-agents", "-o", `jsonpath={.subjects[0].namespace}/{.subjects[0].name}`)
	if subject != "given/agents" {
		t.Errorf("the waypoint's role is bound to %s", subject)
	}
	w.k.PatchGateway(t, "given", "agents", "agents.given.svc.cluster.local")
}
