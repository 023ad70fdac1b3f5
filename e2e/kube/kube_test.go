package kube_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"waymark.dev/waypoint/e2e/testbed"
	"waymark.dev/waypoint/pkg/config"
)

// TestKube is one test in order, so that it needs one API server: it starts empty and ends with two thousand objects.
func TestKube(t *testing.T) {
	k := testbed.StartKubernetes(t)
	k.ApplyText(t, testbed.Namespace("bank", nil), testbed.Namespace("istio-system", nil))
	for _, c := range []struct {
		name string
		test func(*testing.T, *testbed.Kubernetes)
	}{
		{"installed late", installedLate},
		{"every kind", everyKind},
		{"malformed", malformed},
		{"a version that is served no more", notServed},
		{"a kind that is deleted", kindDeleted},
		{"forbidden", forbidden},
		{"references", references},
		{"a token of the account", accountToken},
		{"token service", tokenService},
		{"away", away},
		{"large", large},
	} {
		if !t.Run(c.name, func(t *testing.T) { c.test(t, k) }) {
			return
		}
	}
}

// installedLate starts where there is no CRD at all.
func installedLate(t *testing.T, k *testbed.Kubernetes) {
	f := start(t, k.Kubeconfig)
	f.ready()
	for _, s := range f.source.Status().Kinds {
		if want := s.Kind == "Service"; s.Installed != want || !s.Synced || s.Err != nil {
			t.Errorf("got %+v", s)
		}
	}
	k.Apply(t, "manifests/crds", filepath.Join(k.Bin, "crds", "istio.yaml"), filepath.Join(k.Bin, "crds", "gateway-api.yaml"))
	f.await("every kind installed", func() bool {
		for _, s := range f.source.Status().Kinds {
			if !s.Installed || s.Err != nil {
				return false
			}
		}
		return f.source.Ready() == nil
	})
	for _, s := range f.source.Status().Kinds {
		if s.ResourceVersion == "" || s.Version == "" {
			t.Errorf("got %+v", s)
		}
	}
}

// lax is the schema of another version, which lets everything through.
const lax = `[{"op":"replace","path":"/spec/versions/0/schema/openAPIV3Schema","value":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}]`

// malformed writes what our schema would have refused, from the moment on in which the CRD changes: a watch that is open then
// still brings objects as the old schema knows them.
func malformed(t *testing.T, k *testbed.Kubernetes) {
	f := start(t, k.Kubeconfig)
	f.ready()
	k.Kubectl(t, "patch", "crd", "agentauthorizationpolicies.waymark.dev", "--type=json", "-p", lax)
	for _, o := range []struct{ name, spec string }{
		{"blind", `{action: DENY, targetRefs: everything}`}, // refused until the new schema is in force everywhere
		{"newer", `{action: DENY, targetRefs: [{kind: Service, name: mcp}], rules: [{to: [{operation: {skills: [pay]}}]}]}`},
		{"absent", `null`},
		{"number", `{rules: [{to: [{operation: {arguments: [{pointer: /amount, max: 10.5}]}}]}]}`},
		{"good", `{action: DENY}`},
	} {
		apply(t, k, `{apiVersion: waymark.dev/v1alpha1, kind: AgentAuthorizationPolicy, metadata: {name: `+o.name+`, namespace: bank}, spec: `+o.spec+`}`)
	}
	c := f.until("five policies, nothing left out", func(c *config.Cluster) bool {
		return len(c.Policies) == 5 && c.Policies[3].Object.Name == "newer" && c.Policies[3].Problem != ""
	})
	want := map[string]string{
		"newer":  "spec.rules[0].to[0].operation.skills: unknown field",
		"blind":  "spec.targetRefs: cannot be text",
		"absent": "spec: is missing",
		"number": `spec.rules[0].to[0].operation.arguments[0].max: must be a whole number, or a decimal number in quotes such as "0.25"`,
		"good":   "",
	}
	for _, p := range c.Policies {
		blind := p.Object.Name == "blind" || p.Object.Name == "absent"
		if p.Problem != want[p.Object.Name] || p.Blind != blind {
			t.Errorf("%s: got %q, blind %v", p.Object.Name, p.Problem, p.Blind)
		}
	}
	k.Kubectl(t, "delete", "crd", "agentauthorizationpolicies.waymark.dev")
	f.until("no policies", func(c *config.Cluster) bool { return len(c.Policies) == 0 })
	k.Apply(t, "manifests/crds")
	f.await("the kind again", func() bool { return f.kind("AgentAuthorizationPolicy").Err == nil })
	apply(t, k, policy("late", "DENY"))
	f.until("a policy", func(c *config.Cluster) bool { return len(c.Policies) == 1 && c.Policies[0].Problem == "" })
	k.Kubectl(t, "-n", "bank", "delete", "agentauthorizationpolicies", "--all")
}

func policy(name, action string) string {
	return `{apiVersion: waymark.dev/v1alpha1, kind: AgentAuthorizationPolicy, metadata: {name: ` + name + `, namespace: bank}, spec: {action: ` + action +
		`, rules: [{to: [{operation: {tools: [pay]}}]}]}}`
}

// apply retries: a kind that was installed a moment ago is not known to every part of the API server.
func apply(t *testing.T, k *testbed.Kubernetes, text string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "object.yaml")
	write(t, file, text)
	var err error
	for deadline := time.Now().Add(15 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if _, err = k.TryKubectl("apply", "--server-side", "--force-conflicts", "-f", file); err == nil {
			return
		}
	}
	t.Fatal(err)
}

// notServed takes a kind away without its objects: a restriction that was known must stay.
func notServed(t *testing.T, k *testbed.Kubernetes) {
	apply(t, k, `{apiVersion: waymark.dev/v1alpha1, kind: Quarantine, metadata: {name: q, namespace: bank}, spec: {reason: r, requestedBy: me, subject: {tools: [a]}}}`)
	f := start(t, k.Kubeconfig)
	f.ready()
	serve := func(yes string) {
		k.Kubectl(t, "patch", "crd", "quarantines.waymark.dev", "--type=json", "-p", `[{"op":"replace","path":"/spec/versions/0/served","value":`+yes+`}]`)
	}
	serve("false")
	defer serve("true")
	f.await("the loss", func() bool { return f.kind("Quarantine").Err != nil })
	if got, want := f.kind("Quarantine").Err.Error(), "the API server does not know quarantines.waymark.dev any more"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	apply(t, k, policy("meanwhile", "DENY"))
	c := f.until("another change", func(c *config.Cluster) bool { return len(c.Policies) == 1 })
	if len(c.Unenforced) != 1 || f.source.Ready() != nil {
		t.Errorf("got %+v, ready: %v", c.Unenforced, f.source.Ready())
	}
	serve("true")
	f.await("the kind again", func() bool { return f.kind("Quarantine").Err == nil })
	k.Kubectl(t, "-n", "bank", "delete", "quarantines,agentauthorizationpolicies", "--all")
	f.until("nothing", func(c *config.Cluster) bool { return len(c.Unenforced)+len(c.Policies) == 0 })
}

// kindDeleted deletes a CRD. The API server deletes its objects first and says so: that is not a loss of sight.
func kindDeleted(t *testing.T, k *testbed.Kubernetes) {
	apply(t, k, `{apiVersion: waymark.dev/v1alpha1, kind: Quarantine, metadata: {name: q, namespace: bank}, spec: {reason: r, requestedBy: me, subject: {tools: [a]}}}`)
	f := start(t, k.Kubeconfig)
	f.until("the quarantine", func(c *config.Cluster) bool { return len(c.Unenforced) == 1 })
	k.Kubectl(t, "delete", "crd", "quarantines.waymark.dev")
	f.until("the deletion", func(c *config.Cluster) bool { return len(c.Unenforced) == 0 })
	f.await("the loss", func() bool { return f.kind("Quarantine").Err != nil })
	k.Apply(t, "manifests/crds")
	f.await("the kind again", func() bool { return f.kind("Quarantine").Err == nil })
}

// forbidden starts as a service account without any rights, and gets those of the manifests.
func forbidden(t *testing.T, k *testbed.Kubernetes) {
	k.ApplyText(t, testbed.ServiceAccount("bank", "agents"))
	f := start(t, k.KubeconfigOf(t, "bank", "agents"))
	want := `list and watch on agentauthorizationpolicies.waymark.dev are needed: failed to list AgentAuthorizationPolicy: ` +
		`agentauthorizationpolicies.waymark.dev is forbidden: User "system:serviceaccount:bank:agents" cannot list resource "agentauthorizationpolicies" ` +
		`in API group "waymark.dev" at the cluster scope`
	f.await(want, func() bool { err := f.source.Ready(); return err != nil && strings.Contains(err.Error(), want) })
	if c, _ := f.picture(); c != nil {
		t.Error("a picture was handed over")
	}
	k.Apply(t, "manifests/clusterrole.yaml")
	k.Kubectl(t, "create", "clusterrolebinding", "agents", "--clusterrole=waymark-waypoint", "--serviceaccount=bank:agents")
	f.ready()
	k.Kubectl(t, "delete", "clusterrolebinding", "agents")
}

// away kills the API server. What is known stays; what happens meanwhile, and afterwards, is seen.
func away(t *testing.T, k *testbed.Kubernetes) {
	apply(t, k, policy("a", "DENY"))
	f := start(t, k.Kubeconfig)
	f.ready()
	before := f.until("a policy", func(c *config.Cluster) bool { return len(c.Policies) == 1 })
	for round := range 2 {
		k.Server.Kill()
		f.await("an error", func() bool { return f.kind("AgentAuthorizationPolicy").Err != nil })
		if c, _ := f.picture(); f.source.Ready() != nil || len(c.Policies) != len(before.Policies) {
			t.Errorf("round %d: ready: %v, %d policies", round, f.source.Ready(), len(c.Policies))
		}
		time.Sleep(3 * time.Second) // long enough for the pauses to grow
		k.Server.Start(t)
		k.Ready(t)
		back := time.Now()
		apply(t, k, policy(string(rune('b'+round)), "DENY"))
		after := f.until("what happened since", func(c *config.Cluster) bool { return len(c.Policies) == len(before.Policies)+1 })
		_, at := f.picture()
		t.Logf("round %d: a change that was made as soon as the API server was ready is known %s after it was", round, at.Sub(back).Round(time.Millisecond))
		if after.Policies[0].Object != before.Policies[0].Object {
			t.Error("a policy that did not change is another object")
		}
		f.await("all is well", func() bool {
			for _, s := range f.source.Status().Kinds {
				if s.Err != nil {
					return false
				}
			}
			return true
		})
		before = after
	}
	if strings.Contains(f.log.String(), "a kind is gone") {
		t.Errorf("an API server that starts was taken for one without a kind\n%s", f.log)
	}
	k.Kubectl(t, "-n", "bank", "delete", "agentauthorizationpolicies", "--all")
}
