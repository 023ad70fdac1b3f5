package kube_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"waymark.dev/waypoint/pkg/config"
	"waymark.dev/waypoint/pkg/kube"
	"waymark.dev/waypoint/pkg/mesh"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Paths of resources.
const (
	policies = "waymark.dev/v1alpha1/agentauthorizationpolicies"
	services = "v1/services"
	gateways = "gateway.networking.k8s.io/v1/gateways"
	istio    = "security.istio.io/v1/authorizationpolicies"
)

// follow is a source that runs, and what it has handed over.
type follow struct {
	t      testing.TB
	source *kube.Source
	log    *lines

	mu       sync.Mutex
	pictures []*config.Cluster
}

func following(t testing.TB, s *apiserver, change ...func(*kube.Options)) *follow {
	f := &follow{t: t, log: &lines{}}
	o := kube.Options{
		Config: s.config(), Namespace: "bank", Gateway: "agents", Log: slog.New(slog.NewTextHandler(f.log, nil)), Apply: f.apply,
		Debounce: time.Millisecond, Look: 20 * time.Millisecond,
	}
	for _, c := range change {
		c(&o)
	}
	var err error
	if f.source, err = kube.New(o); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.source.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return f
}

func (f *follow) apply(c *config.Cluster) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pictures = append(f.pictures, c)
}

func (f *follow) last() *config.Cluster {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.pictures) == 0 {
		return nil
	}
	return f.pictures[len(f.pictures)-1]
}

func (f *follow) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.pictures)
}

// until waits for a picture.
func (f *follow) until(what string, ok func(*config.Cluster) bool) *config.Cluster {
	f.t.Helper()
	var c *config.Cluster
	f.await(what, func() bool {
		c = f.last()
		return c != nil && ok(c)
	})
	return c
}

func (f *follow) await(what string, ok func() bool) {
	f.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			f.t.Fatalf("not seen: %s\npicture %+v\nready: %v\nstatus %+v\n%s", what, f.last(), f.source.Ready(), f.source.Status(), f.log)
		}
	}
}

func (f *follow) ready() {
	f.t.Helper()
	f.await("ready", func() bool { return f.source.Ready() == nil && f.last() != nil })
}

func (f *follow) kind(name string) kube.KindStatus {
	for _, k := range f.source.Status().Kinds {
		if k.Kind == name {
			return k
		}
	}
	f.t.Fatalf("no kind %s", name)
	return kube.KindStatus{}
}

// lines is a log.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *lines) count(s string) int { return strings.Count(l.String(), s) }

func deny(name string, generation int, tool string) string {
	return fmt.Sprintf(`{"metadata":{"namespace":"bank","name":%q,"uid":"u-%s","generation":%d},"spec":{"action":"DENY","rules":[{"to":[{"operation":{"tools":[%q]}}]}]}}`,
		name, name, generation, tool)
}

func has(n int) func(*config.Cluster) bool {
	return func(c *config.Cluster) bool { return len(c.Policies) == n }
}

func TestPicturesFollowChanges(t *testing.T) {
	s := start(t)
	s.put(policies, deny("a", 1, "pay"))
	s.put(services, `{"metadata":{"namespace":"bank","name":"mcp"},"spec":{"ports":[{"port":3000,"appProtocol":"mcp"}]}}`)
	f := following(t, s)
	f.ready()
	first := f.last()
	if got := len(first.Policies); got != 1 {
		t.Fatalf("got %d policies, want 1", got)
	}
	s.put(policies, deny("b", 1, "pay"))
	second := f.until("a second policy", has(2))
	if second.Policies[0].Object != first.Policies[0].Object {
		t.Error("a policy that did not change is another object")
	}
	host := mesh.Host{Namespace: "bank", Hostname: "mcp.bank.svc.cluster.local"}
	if d := second.Declared[host]; d == nil || d != first.Declared[host] {
		t.Errorf("a service that did not change is declared by another object: %p, %p", d, first.Declared[host])
	}
	s.put(policies, deny("b", 2, "refund"))
	third := f.until("the change", func(c *config.Cluster) bool {
		return len(c.Policies) == 2 && c.Policies[1].Object.Spec.Rules[0].To[0].Operation.Tools[0] == "refund"
	})
	if third.Policies[1].Object == second.Policies[1].Object {
		t.Error("a policy was changed in place")
	}
	s.remove(policies, "bank/a")
	f.until("the deletion", has(1))
	s.remove(services, "bank/mcp")
	f.until("no service", func(c *config.Cluster) bool { return len(c.Declared) == 0 })
	s.change(func() {
		if l, w := s.lists["agentauthorizationpolicies"], s.watches["agentauthorizationpolicies"]; l != 1 || w != 1 {
			t.Errorf("got %d lists and %d watches, want one of each", l, w)
		}
	})
}

func TestWhatDoesNotMatterIsNoChange(t *testing.T) {
	s := start(t)
	s.put(policies, deny("a", 1, "pay"))
	s.put(services, `{"metadata":{"namespace":"bank","name":"mcp"},"spec":{"ports":[{"port":3000}]}}`)
	f := following(t, s)
	f.ready()
	before := f.count()
	s.put(policies, strings.TrimSuffix(deny("a", 1, "pay"), "}")+`,"status":{"conditions":[{"type":"Accepted"}]}}`)
	s.put(services, `{"metadata":{"namespace":"bank","name":"mcp","labels":{"a":"b"}},"spec":{"clusterIP":"10.96.0.1","ports":[{"port":3000,"nodePort":30000}]},"status":{"conditions":[]}}`)
	s.put("gateway.networking.k8s.io/v1/httproutes", `{"metadata":{"namespace":"bank","name":"r"},"spec":{"parentRefs":[{"kind":"Service","group":"","name":"mcp"}]}}`)
	f.await("the route in the status", func() bool { return len(f.source.Status().NotCarriedOut) == 1 })
	time.Sleep(50 * time.Millisecond)
	if got := f.count(); got != before {
		t.Errorf("got %d pictures, want %d", got, before)
	}
}

func TestManyChangesAtOnceMakeFewPictures(t *testing.T) {
	s := start(t)
	f := following(t, s, func(o *kube.Options) { o.Debounce = 20 * time.Millisecond })
	f.ready()
	before, began := f.count(), time.Now()
	for i := range 200 {
		s.put(policies, deny(fmt.Sprint("p", i), 1, "pay"))
	}
	f.until("all of them", has(200))
	// One for each 20 ms at the most, and one at least every 100 ms.
	if got, most := f.count()-before, int(time.Since(began)/(20*time.Millisecond))+2; got > most {
		t.Errorf("got %d pictures, want %d at most", got, most)
	}
}

func TestContinuousChangeIsNotPutOffForever(t *testing.T) {
	s := start(t)
	f := following(t, s, func(o *kube.Options) { o.Debounce = 40 * time.Millisecond })
	f.ready()
	before := f.count()
	for began := time.Now(); time.Since(began) < time.Second; time.Sleep(5 * time.Millisecond) {
		s.put(policies, deny("a", int(time.Since(began)), "pay"))
	}
	if got := f.count() - before; got < 3 {
		t.Errorf("got %d pictures in a second of change, want one each 200 ms", got)
	}
}

func TestListsComeInPages(t *testing.T) {
	s := start(t)
	for i := range 1201 {
		s.put(policies, deny(fmt.Sprintf("p%04d", i), 1, "pay"))
	}
	f := following(t, s)
	f.ready()
	if got := len(f.last().Policies); got != 1201 {
		t.Errorf("got %d policies, want 1201", got)
	}
	s.change(func() {
		if got := s.lists["agentauthorizationpolicies"]; got != 3 {
			t.Errorf("got %d requests, want 3", got)
		}
	})
}
