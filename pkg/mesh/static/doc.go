// Package static builds a mesh.View from ServiceEntry and WorkloadEntry objects, without a control plane: the embedded
// default, and what tests use.
//
//	view, problems := static.New(static.Objects{
//		Gateway:     static.Gateway{Namespace: "bank", Name: "agents", Services: true},
//		TrustDomain: identity.RequireTrustDomain("cluster.local"),
//		Services:    services,
//		Workloads:   workloads,
//	})
//
// An object is attached by the label istio.io/use-waypoint, as istiod does it (contract ambient, section 1.4). There are no
// Namespace objects here, so the label has to be on the object itself.
//
// It refuses, with a [Problem] each and all of them at once, whatever it would otherwise have to ignore: resolutions other
// than STATIC, endpoints that are no IP addresses, wildcard hosts, address ranges, networks, UDP, unknown waymark.dev
// annotations. Only the locality of an endpoint is read and not used yet.
package static
