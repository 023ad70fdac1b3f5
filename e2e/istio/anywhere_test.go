package istio_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"waymark.dev/waypoint/e2e/testbed"
)

// The cases that any mesh can show: the loopback testbed, or the cluster that E2E_KUBECONFIG names.
func TestAnywhere(t *testing.T) {
	var g ground
	if kubeconfig := os.Getenv("E2E_KUBECONFIG"); kubeconfig != "" {
		g = newCluster(t, kubeconfig)
	} else {
		g = newLoopback(t)
	}
	t.Logf("against %s", g)
	for _, c := range []struct {
		name string
		run  func(*testing.T, ground)
	}{
		{"tools by name", anywherePath},
		{"policy change to enforcement", anywhereChange},
		{"namespaces", anywhereNamespaces},
		{"what cannot be carried out", anywhereMalformed},
		{"rolling restart", anywhereRestart},
		{"istiod killed", anywhereIstiod},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, g) })
	}
}

func anywherePath(t *testing.T, g ground) {
	s := g.site(t, "e2e-path")
	if status, err := g.proxyStatus(); err != nil || !strings.Contains(status, "agents-") || !strings.Contains(status, "."+s.ns) {
		t.Errorf("istioctl proxy-status does not list the waypoint: %v\n%s", err, status)
	}
	if got := s.call(t, "teller", "export_all"); got != "ok" {
		t.Errorf("without a policy: got %q", got)
	}
	s.k.ApplyText(t, allow(s.ns, "tellers", "teller", "read_account", "update_limit"), deny(s.ns, "bulk", "export_all"))
	eventually(t, "the DENY policy", func() error {
		if got := s.call(t, "teller", "export_all"); !strings.HasPrefix(got, "-32602 ") {
			return fmt.Errorf("got %q", got)
		}
		return nil
	})
	if got := s.call(t, "teller", "read_account"); got != "ok" {
		t.Errorf("the teller reads an account: got %q", got)
	}
	if got := s.call(t, "intern", "read_account"); got == "ok" {
		t.Error("the intern reads an account, and no policy permits it anything")
	}
}

func anywhereChange(t *testing.T, g ground) {
	s := g.site(t, "e2e-change")
	w := s.watch(t, "teller", "update_limit")
	w.until(t, "the first call", func(got string) bool { return got == "ok" })
	var took []time.Duration
	for i := range 20 {
		denied := i%2 == 0
		if denied {
			s.k.ApplyText(t, deny(s.ns, "flip", "update_limit"))
		} else {
			s.k.Kubectl(t, "-n", s.ns, "delete", "agentauthorizationpolicy", "flip", "--wait=false")
		}
		began := time.Now()
		w.until(t, fmt.Sprintf("change %d", i), func(got string) bool { return (got != "ok") == denied })
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	t.Logf("figures: %d changes, from kubectl returning to the first call judged by it: p50 %s, longest %s", len(took), took[len(took)/2], took[len(took)-1])
	if longest := took[len(took)-1]; longest > time.Second {
		t.Errorf("a change took %s, over a second", longest)
	}
}

func anywhereNamespaces(t *testing.T, g ground) {
	s := g.site(t, "e2e-mine")
	s.k.ApplyText(t, testbed.Namespace("e2e-theirs", nil))
	t.Cleanup(func() { s.k.TryKubectl("delete", "namespace", "e2e-theirs", "--wait=false") })
	s.k.ApplyText(t, deny("e2e-theirs", "nothing", "read_account"), deny(s.ns, "bulk", "export_all"))
	eventually(t, "our own policy", func() error { // which came later
		if got := s.call(t, "teller", "export_all"); got == "ok" {
			return fmt.Errorf("got %q", got)
		}
		return nil
	})
	if got := s.call(t, "teller", "read_account"); got != "ok" {
		t.Errorf("a policy of another namespace applies: %s", got)
	}
}

func anywhereMalformed(t *testing.T, g ground) {
	s := g.site(t, "e2e-bad")
	expect := func(what, want string) {
		t.Helper()
		eventually(t, what, func() error {
			if got := s.get(t, "teller"); got != want {
				return fmt.Errorf("got %s, want %s", got, want)
			}
			return nil
		})
	}
	expect("at first", "200")
	s.k.ApplyText(t, strings.Replace(deny(s.ns, "broken", "x"), "to: [{operation: {tools: [x]}}]", `when: [{cel: "no.such.variable == 1"}]`, 1))
	expect("a DENY that does not compile", "403")
	s.k.Kubectl(t, "-n", s.ns, "delete", "agentauthorizationpolicy", "broken")
	expect("without it", "200")
	s.k.ApplyText(t, fmt.Sprintf(`apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: istios, namespace: %s}
spec:
  targetRefs: [{kind: Service, group: "", name: mcp}]
  action: DENY
  rules: [{to: [{operation: {paths: ["/secret"]}}]}]
`, s.ns))
	expect("an Istio policy that restricts", "403")
	s.k.Kubectl(t, "-n", s.ns, "delete", "authorizationpolicy", "istios")
	expect("without it", "200")
}

func anywhereRestart(t *testing.T, g ground) {
	s := g.site(t, "e2e-rolling")
	got := s.load(t, 50, s.restartWaypoints)
	t.Logf("figures: the waypoint's replicas replaced under 50 keep-alive clients: %s", got)
	if !strings.Contains(got, ", 0 failed") {
		t.Error("requests failed")
	}
}

func anywhereIstiod(t *testing.T, g ground) {
	s := g.site(t, "e2e-headless")
	got := s.load(t, 8, g.restartIstiod)
	t.Logf("figures: istiod killed and started again: %s", got)
	if !strings.Contains(got, ", 0 failed") {
		t.Error("requests failed")
	}
	s.k.ApplyText(t, deny(s.ns, "bulk", "export_all"))
	eventually(t, "a policy that is new", func() error {
		if got := s.call(t, "teller", "export_all"); got == "ok" {
			return fmt.Errorf("got %q", got)
		}
		return nil
	})
}
