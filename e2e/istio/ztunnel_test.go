package istio_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"istio.io/istio/pkg/workloadapi"

	"waymark.dev/waypoint/e2e/testbed"
)

const addressType = "type.googleapis.com/istio.workload.Address"

// node is the view of the mesh that the ztunnels of the callers' nodes have: they follow istiod as any ztunnel does, and know
// nothing of the suite.
type node struct {
	mu        sync.Mutex
	services  map[string]*workloadapi.Service  // by namespace/hostname
	workloads map[string]*workloadapi.Workload // by uid
	changed   func()
	err       error
}

// startNode follows istiod until the test ends. changed is called after each update, without locks.
func (w *world) startNode(t *testing.T) *node {
	t.Helper()
	w.k.ApplyText(t, testbed.ServiceAccount("istio-system", "ztunnel"))
	n := &node{services: map[string]*workloadapi.Service{}, workloads: map[string]*workloadapi.Workload{}}
	config, err := w.i.TLS()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient(w.i.Secure, grpc.WithTransportCredentials(credentials.NewTLS(config)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(context.Background(),
		"authorization", "Bearer "+w.k.Token(t, "istio-system", "ztunnel", "istio-ca"), "clusterid", "Kubernetes"))
	stream, err := discovery.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); n.follow(stream) }()
	t.Cleanup(func() { cancel(); <-ended; conn.Close() })
	return n
}

func (n *node) follow(stream grpc.BidiStreamingClient[discovery.DeltaDiscoveryRequest, discovery.DeltaDiscoveryResponse]) {
	err := stream.Send(&discovery.DeltaDiscoveryRequest{
		Node:    &core.Node{Id: "ztunnel~127.0.0.1~ztunnel-0.istio-system~istio-system.svc.cluster.local"},
		TypeUrl: addressType,
	})
	for err == nil {
		var r *discovery.DeltaDiscoveryResponse
		if r, err = stream.Recv(); err != nil {
			break
		}
		if err = n.apply(r); err == nil {
			err = stream.Send(&discovery.DeltaDiscoveryRequest{TypeUrl: addressType, ResponseNonce: r.Nonce})
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.err = err
}

func (n *node) apply(r *discovery.DeltaDiscoveryResponse) error {
	n.mu.Lock()
	for _, res := range r.Resources {
		var a workloadapi.Address
		if err := res.Resource.UnmarshalTo(&a); err != nil {
			n.mu.Unlock()
			return err
		}
		if s := a.GetService(); s != nil {
			n.services[s.Namespace+"/"+s.Hostname] = s
		} else if w := a.GetWorkload(); w != nil {
			n.workloads[w.Uid] = w
		}
	}
	for _, name := range r.RemovedResources {
		delete(n.services, name)
		delete(n.workloads, name)
	}
	changed := n.changed
	n.mu.Unlock()
	if changed != nil {
		changed()
	}
	return nil
}

// waypoints are the addresses of the pods that a new connection to a service may be sent to: those of its waypoint that are
// healthy. For a waypoint without a hostname it is the address that istiod says.
func (n *node) waypoints(service string) (ready []netip.Addr, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.services[service]
	switch {
	case n.err != nil:
		return nil, n.err
	case s == nil:
		return nil, fmt.Errorf("istiod knows no service %s", service)
	case s.Waypoint == nil:
		return nil, fmt.Errorf("istiod says that %s has no waypoint", service)
	case s.Waypoint.HboneMtlsPort != 15008:
		return nil, fmt.Errorf("istiod says port %d", s.Waypoint.HboneMtlsPort)
	}
	if a := s.Waypoint.GetAddress(); a != nil {
		ip, _ := netip.AddrFromSlice(a.Address)
		return []netip.Addr{ip}, nil
	}
	host := s.Waypoint.GetHostname()
	own := host.Namespace + "/" + host.Hostname
	for _, w := range n.workloads {
		if w.Services[own] == nil || w.Status != workloadapi.WorkloadStatus_HEALTHY || len(w.Addresses) == 0 {
			continue
		}
		for _, p := range w.Services[own].Ports {
			if ip, ok := netip.AddrFromSlice(w.Addresses[0]); ok && p.ServicePort == 15008 {
				ready = append(ready, ip)
			}
		}
	}
	slices.SortFunc(ready, netip.Addr.Compare)
	return ready, nil
}

// lead lets a caller use what its node knows, from now on.
func (n *node) lead(c *caller, service string) {
	update := func() {
		ready, err := n.waypoints(service)
		if err != nil {
			c.use()
			return
		}
		var replicas []*waypoint
		for _, ip := range ready {
			replicas = append(replicas, &waypoint{ip: ip.String()})
		}
		c.use(replicas...)
	}
	n.mu.Lock()
	n.changed = update
	n.mu.Unlock()
	update()
}

// The cases in which istiod's word alone decides where callers go: the Gateway's address is the hostname of a Service with two
// replicas, readiness is what probes find, and a pod that is deleted is not ready from that moment.
func byHostname(t *testing.T, w *world) {
	p := w.newPlace(t, "named", "service")
	p.probed = true
	host := "agents.named.svc.cluster.local"
	w.k.ApplyText(t, waypointService(p.ns))
	vip := p.service(t, nil)
	p.startBackend(t, "mcp-0", false)
	replicas := []*waypoint{p.startWaypoint(t, "agents-0"), p.startWaypoint(t, "agents-1")}
	for _, r := range replicas {
		p.probe(t, r)
	}
	w.k.PatchGateway(t, p.ns, "agents", host)
	n := w.startNode(t)
	service := p.ns + "/mcp.named.svc.cluster.local"
	w.await(t, "WDS names the waypoint, and both replicas", func() error {
		ready, err := n.waypoints(service)
		if err == nil && len(ready) != 2 {
			err = fmt.Errorf("ready are %v", ready)
		}
		return err
	})
	teller := p.caller(t, "teller")
	n.lead(teller, service)
	web := vip + ":80"
	p.attached(t, teller, web)
	l := teller.start(t, web, 50, 10*time.Millisecond)
	time.Sleep(time.Second)
	for i, old := range replicas {
		fresh := p.startWaypoint(t, fmt.Sprintf("agents-%d", i+2))
		p.probe(t, fresh)
		// A pod that is deleted stays as an object, with a time of deletion, until its processes have ended. Here the kubelet
		// is faster than istiod: the process is told to stop first.
		stopped := make(chan struct{})
		go func() { defer close(stopped); old.stop(t) }()
		time.Sleep(200 * time.Millisecond)
		w.k.Kubectl(t, "-n", p.ns, "delete", "pod", old.name, "--grace-period=35", "--wait=false")
		<-stopped
		w.k.DeletePod(t, p.ns, old.name)
	}
	time.Sleep(time.Second)
	l.stop()
	t.Logf("figures: a Deployment of two replicas restarted under 50 keep-alive clients whose ztunnels follow istiod: %s", l)
	if l.failed.Load() > 0 {
		t.Error("requests failed")
	}
	if ready, err := n.waypoints(service); err != nil || len(ready) != 2 {
		t.Errorf("afterwards ready are %v, %v", ready, err)
	}
}

// probe is a kubelet that finds a replica ready.
func (p *place) probe(t *testing.T, w *waypoint) {
	t.Helper()
	w.Await(t, patience, w.ready)
	p.k.PatchStatus(t, p.ns, "pod/"+w.name, `{"conditions":[{"type":"Ready","status":"True"}]}`)
}

// waypointService is the Service in front of a waypoint's replicas, as manifests/example has it.
func waypointService(ns string) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Service
metadata: {name: agents, namespace: %s, labels: {istio.io/use-waypoint: none}}
spec:
  selector: {gateway.networking.k8s.io/gateway-name: agents}
  ports: [{name: mesh, port: 15008, targetPort: 15008, appProtocol: hbone}]
`, ns)
}
