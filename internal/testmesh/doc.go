// Package testmesh is a mesh in one process: a development CA, the two ends of a tunnel that ztunnel provides in a
// cluster, and a waypoint run through pkg/app exactly as the binary runs it. Everything is real (sockets, TLS, HTTP/2)
// and everything listens on 127.0.0.1, port 0.
//
//	m := testmesh.New(identity.RequireTrustDomain("cluster.local"))
//	in, err := m.Inbound(testmesh.InboundConfig{Workload: m.ID("bank", "company"), App: appAddress})
//	wp, err := m.Waypoint(ctx, testmesh.WaypointConfig{ID: m.ID("bank", "waypoint"), Dir: dir})
//	out, err := m.Outbound(testmesh.OutboundConfig{Caller: m.ID("agents", "teller"), Waypoint: wp.Addr(),
//		Expect: []identity.ID{wp.ID()}, Authority: "10.96.0.10:3000"})
//	// an agent now dials out.Addr() where in a cluster it would dial the service
//
// [Outbound] stands for the ztunnel next to the caller: a local TCP port, each connection of which becomes one HBONE
// CONNECT with the caller's certificate. [Inbound] stands for the ztunnel next to the backend: it checks that CONNECT
// names its workload, as ztunnel does, and dials the application. Both close an application's connection when the
// tunnel is refused, never fall back to plaintext, and never retry (contract ambient, section 4.6). A backend outside
// the mesh is its application alone.
//
// What is missing on purpose: interception of traffic, load balancing, and policy of ztunnel's own beyond "who may
// connect". The package is for tests and for the demo; the production binary must not import it.
package testmesh
