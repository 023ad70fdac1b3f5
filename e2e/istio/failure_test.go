package istio_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"waymark.dev/waypoint/e2e/testbed"
)

// istiodAway kills istiod under load: calls go on with what is known, and what changed meanwhile is learnt afterwards.
func istiodAway(t *testing.T, w *world) {
	p := w.newPlace(t, "headless", "service")
	vip := p.service(t, nil)
	first := p.startBackend(t, "mcp-0", false)
	way := p.startWaypoint(t, "agents-0")
	p.serve(t, "mcp", way)
	web := vip + ":80"
	teller := p.caller(t, "teller", way)
	p.attached(t, teller, web)
	l := teller.start(t, web, 8, 5*time.Millisecond)
	w.i.Program.Kill()
	time.Sleep(3 * time.Second)
	if err := way.ready(); err != nil {
		t.Errorf("not ready without istiod: %v", err)
	}
	second := p.startBackendAway(t, "mcp-1")
	w.k.DeletePod(t, p.ns, "mcp-0")
	time.Sleep(time.Second)
	if second.hits.Load() != 0 {
		t.Error("a pod that istiod has not told of gets requests")
	}
	w.i.Program.Start(t)
	w.i.Ready(t)
	w.await(t, "what changed meanwhile", func() error {
		if second.hits.Load() == 0 {
			return fmt.Errorf("the new pod gets no request")
		}
		return nil
	})
	before := first.hits.Load()
	time.Sleep(300 * time.Millisecond)
	if first.hits.Load() > before+8 { // what was under way
		t.Error("a pod that was deleted while istiod was away still gets requests")
	}
	l.stop()
	t.Logf("figures: istiod killed for 4 s and started again: %s", l)
	if l.failed.Load() > 0 {
		t.Error("requests failed")
	}
}

// apiServerAway kills the API server under load: policies stay in force, and a change afterwards takes effect.
func apiServerAway(t *testing.T, w *world) {
	p := w.newPlace(t, "blind", "service")
	vip := p.service(t, nil)
	p.startBackend(t, "mcp-0", false)
	way := p.startWaypoint(t, "agents-0")
	p.serve(t, "mcp", way)
	w.k.ApplyText(t, deny(p.ns, "bulk", "export_all"))
	authority, web := fmt.Sprintf("%s:%d", vip, mcpPort), vip+":80"
	teller := p.caller(t, "teller", way)
	p.attached(t, teller, web)
	s := teller.mcp(t, authority)
	w.await(t, "the policy", func() error {
		if got := call(t, s, "export_all"); got == "ok" {
			return fmt.Errorf("got %q", got)
		}
		return nil
	})
	l := teller.start(t, web, 8, 5*time.Millisecond)
	w.k.Server.Kill()
	time.Sleep(3 * time.Second)
	if got := call(t, s, "export_all"); got == "ok" {
		t.Error("without the API server a denied call passes")
	}
	if got := call(t, s, "read_account"); got != "ok" {
		t.Errorf("without the API server an allowed call does not pass: %s", got)
	}
	if err := way.ready(); err != nil {
		t.Errorf("not ready without the API server: %v", err)
	}
	w.k.Server.Start(t)
	w.k.Ready(t)
	w.k.ApplyText(t, deny(p.ns, "reading", "read_account"))
	began := time.Now()
	w.await(t, "a policy that is new", func() error {
		if got := call(t, s, "read_account"); got == "ok" {
			return fmt.Errorf("got %q", got)
		}
		return nil
	})
	l.stop()
	t.Logf("figures: API server killed for 3 s and started again, a new policy in force %s later: %s", time.Since(began).Round(time.Millisecond), l)
	if l.failed.Load() > 0 {
		t.Error("requests failed")
	}
}

// rollingRestart replaces both replicas, one after the other, under 50 clients that keep their connections and send nothing twice.
func rollingRestart(t *testing.T, w *world) {
	p := w.newPlace(t, "rolling", "service")
	vip := p.service(t, nil)
	p.startBackend(t, "mcp-0", false)
	p.startBackend(t, "mcp-1", false)
	a, b := p.startWaypoint(t, "agents-a", "--settle", "1s"), p.startWaypoint(t, "agents-b", "--settle", "1s")
	p.serve(t, "mcp", a)
	w.k.Kubectl(t, "-n", p.ns, "get", "gateway", "agents")
	web := vip + ":80"
	teller := p.caller(t, "teller", a, b)
	p.attached(t, teller, web)
	l := teller.start(t, web, 50, 10*time.Millisecond)
	time.Sleep(time.Second)
	for i, old := range []*waypoint{a, b} {
		fresh := p.startWaypoint(t, fmt.Sprintf("agents-new-%d", i), "--settle", "1s")
		stay := b
		if i == 1 {
			stay = teller.replicas[1]
		}
		stopped := make(chan struct{})
		go func() { defer close(stopped); old.stop(t) }()
		time.Sleep(200 * time.Millisecond) // until the others have heard
		teller.use(stay, fresh)
		<-stopped
		time.Sleep(500 * time.Millisecond)
	}
	l.stop()
	t.Logf("figures: two replicas replaced under 50 keep-alive clients: %s", l)
	if l.failed.Load() > 0 {
		t.Error("requests failed")
	}
}

// attached waits until a service answers through the waypoint.
func (p *place) attached(t *testing.T, c *caller, web string) {
	t.Helper()
	p.await(t, "attached", func() error {
		if got, err := c.get(t, web, "/"); got != http.StatusOK {
			return fmt.Errorf("status %d, %w", got, err)
		}
		return nil
	})
}

// startBackendAway is startBackend while istiod is away, which signs no certificate then: the pod is reached in plain text.
func (p *place) startBackendAway(t *testing.T, name string) *backend {
	t.Helper()
	return p.startBackend(t, name, true)
}

// Certificates of seconds, renewed under load: every handshake finds one that is valid.
func TestRotation(t *testing.T) {
	w := newWorld(t, testbed.IstiodOptions{Env: []string{"DEFAULT_WORKLOAD_CERT_TTL=20s", "MAX_WORKLOAD_CERT_TTL=20s"}})
	p := w.newPlace(t, "rotation", "service")
	vip := p.service(t, nil)
	p.startBackend(t, "mcp-0", false)
	way := p.startWaypoint(t, "agents-0")
	p.serve(t, "mcp", way)
	web := vip + ":80"
	teller := p.caller(t, "teller", way)
	p.attached(t, teller, web)
	const requests = 20_000
	l := teller.start(t, web, 20, 20*time.Millisecond)
	fresh := newTally() // connections of their own, so that there is a handshake in every second
	for began := time.Now(); l.sent.Load() < requests || time.Since(began) < 25*time.Second; {
		again := p.caller(t, "intern", way)
		_, err := again.get(t, web, "/")
		fresh.add(err)
		again.pool.Close()
		time.Sleep(200 * time.Millisecond)
		if t.Failed() || time.Since(began) > 3*time.Minute {
			break
		}
	}
	l.stop()
	t.Logf("figures: certificates that live for 20 s: %s; on new connections: %s", l, fresh)
	if l.failed.Load()+fresh.failed.Load() > 0 || l.sent.Load() < requests {
		t.Error("requests failed, or too few were sent")
	}
}
