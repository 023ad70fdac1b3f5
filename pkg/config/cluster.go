package config

import (
	"net/netip"

	"waymark.dev/waypoint/pkg/api/v1alpha1"
	"waymark.dev/waypoint/pkg/mesh"
)

// Cluster is everything that the API server says to a waypoint, at one moment. It must not be changed. Other than a
// directory it may have faults in it: a bad object never takes down the good ones, and what it was to restrict is refused.
type Cluster struct {
	Gateway  ClusterGateway
	Policies []Policy

	Authentications []Authentication
	Requests        []Requests
	Exchanges       []Exchange

	Declared   map[mesh.Host]*mesh.Declared // of Services and ServiceEntries of all namespaces
	Unenforced []Unenforced
}

// ClusterGateway is the Gateway that this waypoint belongs to, as its status says where to find us.
type ClusterGateway struct {
	Namespace, Name string
	ClientIdentity  bool // tell servers by x-forwarded-client-cert who calls
	Found           bool // while it is false nothing is attached
	Hosts           []string
	Addresses       []netip.Addr
}

// Policy is an AgentAuthorizationPolicy as the API server has it. Object is never nil: of one that cannot be decoded it has
// the metadata and, as far as they can be read, the targets and the action.
type Policy struct {
	Object  *v1alpha1.AgentAuthorizationPolicy
	Problem string // why its spec cannot be decoded; "" if it can
	Blind   bool   // the targets cannot be read either: it counts as one without targets
}

// Authentication is an AgentAuthentication as the API server has it, see Policy.
type Authentication struct {
	Object  *v1alpha1.AgentAuthentication
	Problem string
	Blind   bool
}

// Requests is a RequestAuthentication of Istio's as the API server has it, see Policy.
type Requests struct {
	Object  *RequestAuthentication
	Problem string
	Blind   bool
}

// Exchange is a TokenExchange as the API server has it, see Policy. Those that only say what a token service permits are left
// out.
type Exchange struct {
	Object  *v1alpha1.TokenExchange
	Problem string
	Blind   bool
}

// Unenforced is an object that restricts something in a way that this version does not carry out. What it targets is
// refused: ignoring it would let pass what somebody means to stop.
type Unenforced struct {
	Kind, Namespace, Name string
	TargetRefs            []v1alpha1.TargetRef
}
