package kube_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"waymark.dev/waypoint/pkg/config"
)

func TestServerAway(t *testing.T) {
	s := start(t)
	s.put(policies, deny("a", 1, "pay"))
	f := following(t, s)
	f.ready()
	s.change(func() { clear(s.lists) })
	s.down()
	f.await("an error", func() bool { return f.kind("AgentAuthorizationPolicy").Err != nil })
	if err := f.source.Ready(); err != nil {
		t.Errorf("Ready: %v", err)
	}
	if got := len(f.last().Policies); got != 1 {
		t.Errorf("got %d policies, want the one that was known", got)
	}
	s.put(policies, deny("b", 1, "pay"))
	s.up()
	f.until("what happened meanwhile", has(2))
	f.await("all is well", func() bool { return f.log.count("every kind is followed again") == 1 })
	if got := f.log.count("the API server cannot be reached"); got != 1 {
		t.Errorf("said %d times that the API server is away\n%s", got, f.log)
	}
}

func TestServerAwayAtFirst(t *testing.T) {
	s := start(t)
	s.down()
	f := following(t, s)
	f.await("an error", func() bool { return f.kind("Service").Err != nil })
	err := f.source.Ready()
	if err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("Ready: got %v", err)
	}
	if f.last() != nil {
		t.Error("a picture was handed over")
	}
	s.up()
	f.ready()
}

func TestCompactedWatchListsAgain(t *testing.T) {
	s := start(t)
	s.put(policies, deny("a", 1, "pay"))
	s.put(policies, deny("b", 1, "pay"))
	f := following(t, s)
	f.ready()
	before := f.last()
	s.change(func() { delete(s.objects[policies], "bank/a") }) // nobody is told
	s.put(policies, deny("c", 1, "pay"))
	s.compact()
	after := f.until("the deletion that nobody was told of", func(c *config.Cluster) bool {
		return len(c.Policies) == 2 && c.Policies[0].Object.Name == "b"
	})
	if after.Policies[0].Object != before.Policies[1].Object {
		t.Error("a policy that did not change is another object")
	}
	s.change(func() {
		if s.stale > 0 {
			t.Errorf("%d lists did not ask for what is newest", s.stale)
		}
	})
}

func TestCompactedWatchOfServices(t *testing.T) {
	s := start(t)
	s.put(services, `{"metadata":{"namespace":"bank","name":"mcp"},"spec":{}}`)
	f := following(t, s)
	f.ready()
	time.Sleep(1100 * time.Millisecond) // one that is shorter is no watch for a reflector
	s.change(func() { delete(s.objects[services], "bank/mcp") })
	s.compact()
	f.until("the deletion that nobody was told of", func(c *config.Cluster) bool { return len(c.Declared) == 0 })
}

func TestForbidden(t *testing.T) {
	for _, verb := range []string{"list", "watch"} {
		t.Run(verb, func(t *testing.T) {
			s := start(t)
			s.refused[verb+" agentguards"] = true
			f := following(t, s)
			want := `kube: not read yet: AgentGuard: list and watch on agentguards.waymark.dev are needed: `
			if verb == "list" {
				want += "failed to list AgentGuard: "
			}
			want += fmt.Sprintf(`agentguards is forbidden: User "w" cannot %s resource "agentguards"`, verb)
			f.await(want, func() bool { err := f.source.Ready(); return err != nil && err.Error() == want })
			if verb == "list" && f.last() != nil {
				t.Error("a picture was handed over")
			}
			s.change(func() { clear(s.refused) })
			f.ready()
		})
	}
}

func TestForbiddenLaterKeepsWhatIsKnown(t *testing.T) {
	s := start(t)
	s.put(policies, deny("a", 1, "pay"))
	f := following(t, s)
	f.ready()
	s.change(func() {
		s.refused["list agentauthorizationpolicies"], s.refused["watch agentauthorizationpolicies"] = true, true
	})
	s.compact()
	f.await("an error", func() bool { return f.kind("AgentAuthorizationPolicy").Err != nil })
	if err := f.source.Ready(); err != nil || len(f.last().Policies) != 1 {
		t.Errorf("Ready: %v, %d policies", err, len(f.last().Policies))
	}
}

func TestKindInstalledLater(t *testing.T) {
	s := start(t)
	s.absent[policies] = true
	f := following(t, s)
	f.ready()
	if k := f.kind("AgentAuthorizationPolicy"); k.Installed || !k.Synced || k.Err != nil || k.Version != "" {
		t.Errorf("got %+v", k)
	}
	s.change(func() { delete(s.absent, policies) })
	s.put(policies, deny("a", 1, "pay"))
	f.until("the policy", has(1))
	if k := f.kind("AgentAuthorizationPolicy"); !k.Installed || k.Version != "v1alpha1" || k.Count != 1 {
		t.Errorf("got %+v", k)
	}
	if got := f.log.count("a kind is not installed"); got != 1 {
		t.Errorf("said %d times that a kind is not installed\n%s", got, f.log)
	}
}

func TestKindThatGoesKeepsWhatIsKnown(t *testing.T) {
	s := start(t)
	s.put(policies, deny("a", 1, "pay"))
	f := following(t, s)
	f.ready()
	s.change(func() { s.absent[policies] = true })
	s.compact()
	f.await("the loss", func() bool { return f.kind("AgentAuthorizationPolicy").Err != nil })
	want := "the API server does not know agentauthorizationpolicies.waymark.dev any more"
	if got := f.kind("AgentAuthorizationPolicy").Err.Error(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	time.Sleep(100 * time.Millisecond) // it is looked for several times
	if err := f.source.Ready(); err != nil || len(f.last().Policies) != 1 {
		t.Errorf("Ready: %v, %d policies", err, len(f.last().Policies))
	}
	if got := f.log.count("a kind is gone"); got != 1 {
		t.Errorf("said %d times that a kind is gone\n%s", got, f.log)
	}
	s.put(policies, deny("b", 1, "pay"))
	s.change(func() { delete(s.absent, policies) })
	f.until("both", has(2))
	f.await("no error", func() bool { return f.kind("AgentAuthorizationPolicy").Err == nil })
}

func TestOlderVersionsOfAKind(t *testing.T) {
	s := start(t)
	s.absent[istio] = true
	s.put("security.istio.io/v1beta1/authorizationpolicies", `{"metadata":{"namespace":"bank","name":"a"},"spec":{"targetRef":{"kind":"Service","group":"","name":"mcp"}}}`)
	f := following(t, s)
	f.ready()
	if got := len(f.last().Unenforced); got != 1 {
		t.Errorf("got %d, want 1", got)
	}
	if got := f.kind("AuthorizationPolicy").Version; got != "v1beta1" {
		t.Errorf("got %s", got)
	}
}

func TestVersionThatIsServedNoMore(t *testing.T) {
	s := start(t)
	s.absent[istio] = true
	object := `{"metadata":{"namespace":"bank","name":"a"},"spec":{"targetRef":{"kind":"Service","group":"","name":"mcp"}}}`
	s.put("security.istio.io/v1beta1/authorizationpolicies", object)
	f := following(t, s)
	f.ready()
	s.put(istio, object)
	s.change(func() {
		delete(s.absent, istio)
		s.absent["security.istio.io/v1beta1/authorizationpolicies"] = true
	})
	s.compact()
	f.await("the newer version", func() bool { return f.kind("AuthorizationPolicy").Version == "v1" })
	if got := f.log.count("a kind is gone"); got != 0 {
		t.Errorf("said that the kind is gone\n%s", f.log)
	}
}

func TestWatchThatEndsEarlyListsAgain(t *testing.T) {
	s := start(t)
	s.put(policies, deny("a", 1, "pay"))
	s.put(services, `{"metadata":{"namespace":"bank","name":"mcp"},"spec":{}}`)
	f := following(t, s)
	f.ready()
	time.Sleep(1100 * time.Millisecond) // one that is shorter is no watch for a reflector
	// As when a CRD changes: the watch brought the object without a field that it has.
	s.change(func() {
		rules := s.objects[policies]["bank/a"]["spec"].(object)["rules"].([]any)
		rules[0].(object)["to"].([]any)[0].(object)["operation"].(object)["skills"] = []any{"x"}
		close(s.cut)
		s.cut = make(chan struct{})
	})
	f.until("the field", func(c *config.Cluster) bool { return c.Policies[0].Problem != "" })
	f.await("a second watch", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.watches["services"] == 2 })
	s.change(func() {
		if got := s.lists["services"]; got != 1 {
			t.Errorf("Services have no schema that changes: got %d lists, want 1", got)
		}
	})
}
