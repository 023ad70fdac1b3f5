// Package mesh is what the waypoint knows of the mesh around it: which services and workloads it stands in front of, what
// their ports speak, and where their endpoints are.
//
// A [View] turns the authority of a tunnel into a [Destination], and the destination picks an [Endpoint] for each
// connection. Where the knowledge comes from is the matter of a package below this one: mesh/static reads it from
// ServiceEntry and WorkloadEntry objects, mesh/wds takes it from istiod.
//
//	dest, err := view.Resolve("10.96.0.10:3000")
//	switch {
//	case errors.Is(err, mesh.ErrNotAttached): // refuse the tunnel
//	}
//	ep, err := dest.Pick()            // podIP:targetPort, the tunnel to it, who must answer there
//	ep, err = dest.Pick(ep.Address)   // another one, after the first could not be reached
//
// It refuses what it does not stand in front of: a waypoint is no open proxy. It never resolves a
// name by DNS: an endpoint that is a name is resolved by whoever connects to it.
package mesh
