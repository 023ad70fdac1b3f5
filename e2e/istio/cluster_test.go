package istio_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"waymark.dev/waypoint/e2e/testbed"
)

// cluster is a cluster with Istio in ambient mode as a ground. Its nodes can pull, or already have, the image of the waypoint
// (E2E_IMAGE) and that of e2e/kind/pod (E2E_PEER_IMAGE): make kind-up loads both.
type cluster struct {
	k           *testbed.Kubernetes
	image, peer string
}

func newCluster(t *testing.T, kubeconfig string) *cluster {
	t.Helper()
	c := &cluster{image: os.Getenv("E2E_IMAGE"), peer: os.Getenv("E2E_PEER_IMAGE")}
	if c.image == "" || c.peer == "" {
		t.Fatal("a cluster needs E2E_IMAGE, the waypoint's image, and E2E_PEER_IMAGE, that of e2e/kind/pod: see e2e/kind/up")
	}
	kubectl, err := exec.LookPath("kubectl")
	if err != nil {
		t.Fatal(err)
	}
	if kubeconfig, err = filepath.Abs(kubeconfig); err != nil {
		t.Fatal(err)
	}
	c.k = &testbed.Kubernetes{Kubeconfig: kubeconfig, Bin: filepath.Dir(kubectl)}
	c.k.Kubectl(t, "apply", "--server-side", "-k", filepath.Join(testbed.Root, "manifests"))
	return c
}

func (c *cluster) String() string {
	return "the cluster of E2E_KUBECONFIG (the cases that play nodes, kill the API server or change the mesh's CA run on loopback only)"
}

func (c *cluster) proxyStatus() (string, error) {
	out, err := exec.Command("istioctl", "--kubeconfig", c.k.Kubeconfig, "proxy-status").CombinedOutput()
	return string(out), err
}

func (c *cluster) restartIstiod(t *testing.T) {
	t.Helper()
	c.k.Kubectl(t, "-n", "istio-system", "delete", "pod", "-l", "app=istiod", "--grace-period=0", "--force")
	c.k.Kubectl(t, "-n", "istio-system", "rollout", "status", "deployment/istiod", "--timeout=2m")
}

func (c *cluster) site(t *testing.T, ns string) *site {
	t.Helper()
	c.k.ApplyText(t, testbed.Namespace(ns, map[string]string{"istio.io/dataplane-mode": "ambient", "istio.io/use-waypoint": "agents"}))
	t.Cleanup(func() {
		_, _ = c.k.TryKubectl("delete", "namespace", ns, "--wait=false")
		_, _ = c.k.TryKubectl("delete", "clusterrolebinding", "waymark-waypoint-"+ns+"-agents")
	})
	c.k.ApplyText(t, example(t, c.k, ns, c.image))
	c.k.ApplyText(t, testbed.Service(ns, "mcp", nil, nil,
		testbed.ServicePort{Name: "tools", AppProtocol: "kgateway.dev/mcp", Port: mcpPort, Target: mcpPort},
		testbed.ServicePort{Name: "http-web", Port: 80, Target: webPort}))
	for _, account := range []string{"mcp", "teller", "intern"} {
		c.k.ApplyText(t, testbed.ServiceAccount(ns, account), deployment(ns, account, c.peer))
	}
	for _, name := range []string{"agents", "mcp", "teller", "intern"} {
		c.k.Kubectl(t, "-n", ns, "rollout", "status", "deployment/"+name, "--timeout=3m")
	}
	c.k.PatchGateway(t, ns, "agents", "agents."+ns+".svc.cluster.local")
	s := &site{
		k: c.k, ns: ns,
		run: func(account, command string, port int, path string, args ...string) *exec.Cmd {
			url := fmt.Sprintf("http://mcp.%s:%d%s", ns, port, path)
			in := []string{"--kubeconfig", c.k.Kubeconfig, "-n", ns, "exec", "-i", "deployment/" + account, "--", "/pod", command, url}
			return exec.Command(filepath.Join(c.k.Bin, "kubectl"), append(in, args...)...)
		},
		restartWaypoints: func(t *testing.T) {
			c.k.Kubectl(t, "-n", ns, "rollout", "restart", "deployment/agents")
			c.k.Kubectl(t, "-n", ns, "rollout", "status", "deployment/agents", "--timeout=3m")
		},
	}
	eventually(t, "the service is bound", func() error {
		got := c.k.Kubectl(t, "-n", ns, "get", "service", "mcp", "-o", `jsonpath={.status.conditions[?(@.type=="istio.io/WaypointBound")].status}`)
		if got != "True" {
			return fmt.Errorf("WaypointBound is %q", got)
		}
		return nil
	})
	// An answer alone does not say that it came through the waypoint: until ztunnel knows it, traffic goes past it. A policy shows.
	c.k.ApplyText(t, deny(ns, "probe", "export_all"))
	eventually(t, "traffic comes through the waypoint", func() error {
		if got := s.call(t, "teller", "export_all"); got == "ok" {
			return fmt.Errorf("got %q", got)
		}
		return nil
	})
	c.k.Kubectl(t, "-n", ns, "delete", "agentauthorizationpolicy", "probe")
	eventually(t, "the probe is gone", func() error {
		if got := s.call(t, "teller", "export_all"); got != "ok" {
			return fmt.Errorf("got %q", got)
		}
		return nil
	})
	return s
}

// example is what users start from, in another namespace and with another image.
func example(t *testing.T, k *testbed.Kubernetes, ns, image string) string {
	t.Helper()
	var all []string
	for _, name := range []string{"rolebinding.yaml", "service.yaml", "deployment.yaml", "gateway.yaml"} {
		b, err := os.ReadFile(filepath.Join(testbed.Root, "manifests", "example", name))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(b))
	}
	dir := t.TempDir()
	text := strings.Join(all, "\n---\n")
	text = strings.ReplaceAll(text, "waymark-waypoint-bank-agents", "waymark-waypoint-"+ns+"-agents")
	text = strings.ReplaceAll(text, "namespace: bank", "namespace: "+ns)
	text = strings.ReplaceAll(text, "image: waymark/waypoint", "image: "+image)
	for name, content := range map[string]string{
		"all.yaml":           text,
		"kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nnamespace: " + ns + "\nresources: [all.yaml]\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.Command(filepath.Join(k.Bin, "kubectl"), "kustomize", dir).Output()
	if err != nil {
		t.Fatalf("kustomize: %v", err)
	}
	return string(out)
}

// deployment runs e2e/kind/pod as an account: the server mcp, or a caller that is told what to do by kubectl exec.
func deployment(ns, account, image string) string {
	return fmt.Sprintf(`apiVersion: apps/v1
kind: Deployment
metadata: {name: %[2]s, namespace: %[1]s}
spec:
  replicas: 1
  selector: {matchLabels: {app: %[2]s}}
  template:
    metadata: {labels: {app: %[2]s}}
    spec:
      serviceAccountName: %[2]s
      containers:
      - name: pod
        image: %[3]s
        args: [serve]
        readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
`, ns, account, image)
}
