package kube_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"waymark.dev/waypoint/e2e/testbed"
	"waymark.dev/waypoint/pkg/config"
	"waymark.dev/waypoint/pkg/kube"
)

const (
	many    = 1000 // of each: policies and services
	changes = 200
)

var (
	policies = schema.GroupVersionResource{Group: "waymark.dev", Version: "v1alpha1", Resource: "agentauthorizationpolicies"}
	services = schema.GroupVersionResource{Version: "v1", Resource: "services"}
)

// large follows a thousand policies and a thousand services, and prints what that takes. It fails only at figures that are
// wrong by far.
func large(t *testing.T, k *testbed.Kubernetes) {
	api, done := client(t, k)
	defer done()
	fill(t, api)

	before := heap()
	began := time.Now()
	f := start(t, k.Kubeconfig)
	f.ready()
	listed := time.Since(began)
	c, _ := f.picture()
	if len(c.Policies) != many || len(c.Declared) < many {
		t.Fatalf("got %d policies, %d services", len(c.Policies), len(c.Declared))
	}
	grown := float64(heap()-before) / (1 << 20)
	t.Logf("figures: %d policies and %d services: ready after %s, %.1f MiB", many, many, listed.Round(time.Millisecond), grown)
	if grown > 30 {
		t.Errorf("that takes %.1f MiB of memory", grown)
	}

	sent, answered := make([]time.Duration, changes), make([]time.Duration, changes)
	for i := range changes {
		tool := fmt.Sprint("changed-", i)
		at := time.Now()
		patch(t, api, fmt.Sprintf("p%04d", i), tool)
		reply := time.Now()
		f.until(tool, func(c *config.Cluster) bool {
			return c.Policies[i].Object.Spec.Rules[0].To[0].Operation.Tools[0] == tool
		})
		_, seen := f.picture()
		sent[i], answered[i] = seen.Sub(at), seen.Sub(reply)
	}
	slices.Sort(sent)
	slices.Sort(answered)
	p := func(d []time.Duration, share int) time.Duration {
		return d[(len(d)-1)*share/100].Round(100 * time.Microsecond)
	}
	t.Logf("figures: %d changes of a policy: known p50 %s, p99 %s, max %s after the request was sent; p50 %s, p99 %s after its answer",
		changes, p(sent, 50), p(sent, 99), p(sent, 100), p(answered, 50), p(answered, 99))
	if p(sent, 99) > time.Second {
		t.Errorf("p99 is %s", p(sent, 99))
	}

	applied := f.applied
	began = time.Now()
	each(t, many, func(i int) { patch(t, api, fmt.Sprintf("p%04d", i), "again") })
	written := time.Since(began)
	f.until("all of them", func(c *config.Cluster) bool {
		for _, p := range c.Policies {
			if p.Object.Spec.Rules[0].To[0].Operation.Tools[0] != "again" {
				return false
			}
		}
		return true
	})
	_, seen := f.picture()
	t.Logf("figures: %d changes in %s: %d pictures, the last one %s after the last answer", many, written.Round(time.Millisecond), f.applied-applied,
		seen.Sub(began.Add(written)).Round(time.Millisecond))
}

func client(t *testing.T, k *testbed.Kubernetes) (dynamic.Interface, func()) {
	cfg, err := kube.ConfigFrom(k.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	cfg.QPS = -1
	h, err := rest.HTTPClientFor(cfg)
	if err != nil {
		t.Fatal(err)
	}
	api, err := dynamic.NewForConfigAndClient(cfg, h)
	if err != nil {
		t.Fatal(err)
	}
	return api, h.CloseIdleConnections
}

func fill(t *testing.T, api dynamic.Interface) {
	create := func(what schema.GroupVersionResource, o map[string]any) {
		if _, err := api.Resource(what).Namespace("bank").Create(context.Background(), &unstructured.Unstructured{Object: o}, metav1.CreateOptions{}); err != nil {
			t.Error(err)
		}
	}
	type m = map[string]any
	each(t, many, func(i int) {
		create(policies, m{
			"apiVersion": "waymark.dev/v1alpha1", "kind": "AgentAuthorizationPolicy", "metadata": m{"name": fmt.Sprintf("p%04d", i)},
			"spec": m{
				"action": "DENY", "targetRefs": []any{m{"kind": "Service", "name": fmt.Sprintf("s%04d", i)}},
				"rules": []any{m{
					"from": []any{m{"source": m{"principals": []any{"cluster.local/ns/bank/sa/teller", "cluster.local/ns/bank/sa/auditor"}}}},
					"to":   []any{m{"operation": m{"tools": []any{"pay", "refund-*", "transfer"}}}},
					"when": []any{m{"cel": `mcp.tool.name != "x"`}},
				}},
			},
		})
		create(services, m{
			"apiVersion": "v1", "kind": "Service",
			"metadata": m{"name": fmt.Sprintf("s%04d", i), "annotations": m{"waymark.dev/mode": "enforce"}},
			"spec":     m{"ports": []any{m{"name": "mcp", "port": int64(3000), "appProtocol": "kgateway.dev/mcp"}, m{"name": "http-web", "port": int64(80)}}},
		})
	})
}

// each does something n times, four at a time.
func each(t *testing.T, n int, do func(i int)) {
	var all sync.WaitGroup
	for w := range 4 {
		all.Go(func() {
			for i := w; i < n && !t.Failed(); i += 4 {
				do(i)
			}
		})
	}
	all.Wait()
}

func patch(t *testing.T, api dynamic.Interface, name, tool string) {
	text := fmt.Sprintf(`[{"op":"replace","path":"/spec/rules/0/to/0/operation/tools/0","value":%q}]`, tool)
	_, err := api.Resource(policies).Namespace("bank").Patch(context.Background(), name, "application/json-patch+json", []byte(text), metav1.PatchOptions{})
	if err != nil {
		t.Error(err)
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
