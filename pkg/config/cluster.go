package config

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

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
	Catalogs        []Catalog

	Declared   map[mesh.Host]*mesh.Declared // of Services and ServiceEntries of all namespaces
	Grants     []*ReferenceGrant
	Data       map[DataRef]*Data // what the objects above refer to
	Unenforced []Unenforced
}

// DataRef names a ConfigMap or a Secret.
type DataRef struct{ Kind, Namespace, Name string }

func (r DataRef) String() string { return r.Kind + " " + r.Namespace + "/" + r.Name }

// Data is what a ConfigMap or a Secret holds. It must not be logged.
type Data struct {
	Version string // of the object
	Entries map[string][]byte
	Problem string // why nothing is known of it; "" if it was read
}

// Entry returns one entry of a ConfigMap or a Secret.
func (c *Cluster) Entry(kind, namespace, name, key string) ([]byte, error) {
	ref := DataRef{kind, namespace, name}
	switch d := c.Data[ref]; {
	case d == nil:
		return nil, fmt.Errorf("%s has not been read", ref)
	case d.Problem != "":
		return nil, errors.New(d.Problem)
	default:
		value, ok := d.Entries[key]
		if !ok {
			return nil, fmt.Errorf("%s has no entry %s", ref, key)
		}
		return value, nil
	}
}

// ReferenceGrant is Gateway API's: it lets objects of other namespaces refer to Services and ServiceEntries of its own.
type ReferenceGrant struct {
	Namespace string
	From      []GrantFrom
	To        []GrantTo
}

// GrantFrom is whose references are permitted.
type GrantFrom struct{ Group, Kind, Namespace string }

// GrantTo is what they may name; no name is every one of the kind.
type GrantTo struct{ Group, Kind, Name string }

// Permits reports whether an object may refer to one of another namespace.
func (c *Cluster) Permits(from GrantFrom, namespace string, to GrantTo) bool {
	return slices.ContainsFunc(c.Grants, func(g *ReferenceGrant) bool {
		return g.Namespace == namespace && slices.Contains(g.From, from) && slices.ContainsFunc(g.To, func(t GrantTo) bool {
			return t.Group == to.Group && t.Kind == to.Kind && (t.Name == "" || t.Name == to.Name)
		})
	})
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
	Refs    []DataRef // what it needs of ConfigMaps and Secrets
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
	Refs    []DataRef // what it needs of ConfigMaps and Secrets
}

// Catalog is a ToolCatalog as the API server has it, see Policy. Of one with a problem only the targets are known.
type Catalog struct {
	Object  *v1alpha1.ToolCatalog
	Problem string
}

// Unenforced is an object that restricts something in a way that this version does not carry out. What it targets is
// refused: ignoring it would let pass what somebody means to stop.
type Unenforced struct {
	Kind, Namespace, Name string
	TargetRefs            []v1alpha1.TargetRef
}
