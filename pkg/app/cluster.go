package app

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"k8s.io/client-go/rest"

	"waymark.dev/waypoint/pkg/config"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/kube"
	"waymark.dev/waypoint/pkg/mesh"
	"waymark.dev/waypoint/pkg/mesh/wds"
	"waymark.dev/waypoint/pkg/ruleset"
)

// Cluster says where a waypoint of a cluster takes what it knows from: policies from an API server, the mesh from an istiod.
type Cluster struct {
	Kube      *rest.Config
	Namespace string // of the Gateway that this waypoint belongs to
	Gateway   string
	Domain    string // of the cluster; "" means cluster.local
	PodIP     netip.Addr
	Network   string            // where our own Workload says nothing
	Mesh      wds.ClientOptions // its Store and Log are set here
}

func (c *Cluster) check() error {
	switch {
	case c.Kube == nil:
		return errors.New("app: Cluster.Kube is required")
	case c.Namespace == "" || c.Gateway == "":
		return errors.New("app: Cluster.Namespace and Cluster.Gateway are required")
	case !c.PodIP.IsValid():
		return errors.New("app: Cluster.PodIP is required")
	}
	return nil
}

// cluster is what follows an API server and an istiod.
type cluster struct {
	app      *App
	deps     ruleset.Deps
	store    *wds.Store
	declared map[mesh.Host]*mesh.Declared
	gateway  config.ClusterGateway
	told     bool // whether anything was said of the Gateway yet
	problems []string
	before   *ruleset.Cluster
	applied  chan struct{} // closed once there are rules
	once     sync.Once
	changed  chan struct{} // the view has changed; holds one
}

// startCluster returns once istiod and the API server have said everything once. While either is away, it waits.
func (a *App) startCluster(ctx context.Context, deps ruleset.Deps) error {
	o := a.opt.Cluster
	c := &cluster{app: a, deps: deps, applied: make(chan struct{}), changed: make(chan struct{}, 1)}
	c.store = wds.NewStore(wds.StoreOptions{
		Self:        wds.Self{Namespace: o.Namespace, Gateway: o.Gateway, PodIP: o.PodIP, Network: o.Network},
		TrustDomain: func() identity.TrustDomain { return deps.TrustDomains[0] },
		Changed:     c.note,
		Gone:        a.evict,
		Log:         a.opt.Log,
	})
	from := o.Mesh
	from.Store, from.Log = c.store, a.opt.Log
	client, err := wds.NewClient(from)
	if err != nil {
		return err
	}
	objects, err := kube.New(kube.Options{
		Config: o.Kube, Namespace: o.Namespace, Gateway: o.Gateway, ClusterDomain: o.Domain, Log: a.opt.Log,
		Apply: c.apply,
	})
	if err != nil {
		return err
	}
	a.ready.Check(hasMesh, client.Ready)
	a.background("view of the mesh", client.Run)
	a.background("objects", objects.Run)
	if err := c.await(ctx, client.Ready, objects.Ready); err != nil {
		return err
	}
	a.background("changes of the mesh", c.follow)
	stats := c.store.Stats()
	a.opt.Log.Info("the mesh is known", "workloads", stats.Workloads, "services", stats.Services, "attached", stats.Attached)
	return nil
}

// await returns when all conditions hold and there are rules.
func (c *cluster) await(ctx context.Context, conditions ...func() error) error {
	var said string
	for {
		err := errors.Join(conditions[0](), conditions[1]())
		if err == nil {
			break
		}
		if text := err.Error(); text != said {
			c.app.opt.Log.Info("waiting", "cause", err)
			said = text
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not ready: %w", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
	select {
	case <-c.applied:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// apply takes over what the API server says. It is called by one goroutine at a time.
func (c *cluster) apply(now *config.Cluster) {
	rules, err := ruleset.Assemble(now, c.store, c.deps, c.before)
	if err != nil { // no object can cause that
		c.app.opt.Log.Error("the rules in force stay", "cause", err)
		return
	}
	c.report(append(faults(now.Declared), rules.Problems()...))
	c.declare(now) // before the rules: a call that sees the new ones also sees what is declared
	if c.before == nil || c.before.Generation() != rules.Generation() {
		c.app.enforce(context.Background(), rules)
	} else {
		c.app.rules.Store(&inForce{rules})
	}
	c.before = rules
	c.once.Do(func() { close(c.applied) })
}

// declare tells the store what has changed since the last time.
func (c *cluster) declare(now *config.Cluster) {
	for host, d := range now.Declared {
		if c.declared[host] != d {
			c.store.Declare(host.Namespace, host.Hostname, d)
		}
	}
	for host := range c.declared {
		if now.Declared[host] == nil {
			c.store.Declare(host.Namespace, host.Hostname, nil)
		}
	}
	c.declared = now.Declared
	if g := now.Gateway; !c.told || g.Found != c.gateway.Found || !slices.Equal(g.Hosts, c.gateway.Hosts) || !slices.Equal(g.Addresses, c.gateway.Addresses) {
		o := c.app.opt.Cluster
		c.store.SetSelf(wds.Self{
			Namespace: o.Namespace, Gateway: o.Gateway, PodIP: o.PodIP, Network: o.Network, Hosts: g.Hosts, Addresses: g.Addresses,
		})
		c.gateway, c.told = g, true
		c.sayGateway()
	}
}

// sayGateway logs what keeps everything from being attached, which looks like a healthy waypoint otherwise.
func (c *cluster) sayGateway() {
	name := c.app.opt.Cluster.Namespace + "/" + c.app.opt.Cluster.Gateway
	switch {
	case !c.gateway.Found:
		c.app.opt.Log.Error("the Gateway is not there: nothing is attached", "gateway", name, "hint", "GATEWAY_NAME or --gateway names it, in the pod's namespace")
	case len(c.gateway.Hosts)+len(c.gateway.Addresses) == 0:
		c.app.opt.Log.Warn("the Gateway has no address in its status: nothing is attached", "gateway", name)
	default:
		c.app.opt.Log.Info("the Gateway says where we are", "gateway", name, "hosts", c.gateway.Hosts, "addresses", c.gateway.Addresses)
	}
}

// faults are the annotations that cannot be used, one sentence each.
func faults(declared map[mesh.Host]*mesh.Declared) (all []string) {
	for _, d := range declared {
		for _, f := range d.Faults {
			all = append(all, fmt.Sprintf("%s: %s: calls to it are refused", d.Object, f))
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// report logs each problem once, for as long as it lasts.
func (c *cluster) report(problems []string) {
	for _, p := range problems {
		if !slices.Contains(c.problems, p) {
			c.app.opt.Log.Error("an object cannot be used", "problem", p)
		}
	}
	c.problems = problems
}

// note remembers that the view has changed.
func (c *cluster) note() {
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// follow judges what is under way again when the view has changed: what is not attached any more is cut.
func (c *cluster) follow(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.changed:
			c.app.proxy.Reconsider(ctx)
		}
	}
}

// evict ends what leads to an address that belongs to another workload now, or to none.
func (a *App) evict(addr netip.Addr) {
	a.pool.Evict(addr)
	a.proxy.Evict(addr)
}
