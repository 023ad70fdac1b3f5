// Package wds follows istiod: it keeps what a control plane of Istio ambient says of the mesh, and answers from it as a
// mesh.View.
//
// A [Client] subscribes to the workload API over delta ADS and feeds a [Store]. The store is what the data plane asks:
//
//	store := wds.NewStore(wds.StoreOptions{
//		Self:    wds.Self{Namespace: "bank", Gateway: "agents", PodIP: podIP},
//		Changed: reconsider, // what Resolve answers may have changed
//		Gone:    evict,      // do not reuse connections to this address
//	})
//	dest, err := store.Resolve("10.96.0.10:3000")
//	ep, err := dest.Pick() // among the endpoints of this moment
//
// The store holds every workload and service of the mesh and no message of the wire. One endpoint that comes or goes costs
// the same in a mesh of any size: it changes the indexes of its own services, which are made when somebody first picks from
// them. A Destination that a tunnel holds picks from what is known at that moment, never from what was known when the
// tunnel was opened.
//
// What it refuses: an authority that leads to nothing attached to this waypoint, to a port of the mesh's own, or to this
// waypoint's own pod. A resource with a mistake in it is refused alone, and what was known of it before stays in force. A
// value of an enumeration that this version does not know refuses nothing; it is read as whatever gives away least: a
// status other than healthy is not healthy, a tunnel of another kind makes a workload unusable and not one that is spoken to
// in the clear.
//
// Two fields of the workload API concern only what stands in front of a workload, and nobody who sends to one: native_tunnel
// and application_tunnel. An endpoint with either is reached like any other with the same tunnel_protocol.
//
// Authorization policies of the workload API are ztunnel's to carry out. They are counted here and otherwise not looked at.
package wds
