package wds

import (
	"google.golang.org/protobuf/types/known/anypb"

	"istio.io/istio/pkg/workloadapi"
)

// Apply feeds the store as a Client does, and returns what was rejected and why.
func (s *Store) Apply(full bool, changed []*workloadapi.Address, removed ...string) map[string]string {
	var resources []resource
	for _, r := range Resources(changed...) {
		resources = append(resources, r.resource)
	}
	return reasons(s.applyAddresses(full, resources, removed))
}

// WireResource is what comes over the wire.
type WireResource struct{ resource }

// Resources names messages as istiod does.
func Resources(all ...*workloadapi.Address) []WireResource {
	resources := make([]WireResource, 0, len(all))
	for _, a := range all {
		name := a.GetWorkload().GetUid()
		if v := a.GetService(); v != nil {
			name = v.GetNamespace() + "/" + v.GetHostname()
		}
		resources = append(resources, WireResource{named(name, a)})
	}
	return resources
}

// ApplyResource feeds what came over the wire.
func (s *Store) ApplyResource(all ...WireResource) {
	resources := make([]resource, len(all))
	for i, r := range all {
		resources[i] = r.resource
	}
	if bad := s.applyAddresses(false, resources, nil); len(bad) > 0 {
		panic(bad[0].err)
	}
}

// ApplyAs feeds one resource under a name of its own.
func (s *Store) ApplyAs(name string, a *workloadapi.Address) map[string]string {
	return reasons(s.applyAddresses(false, []resource{named(name, a)}, nil))
}

// ApplyPolicies feeds names of policies.
func (s *Store) ApplyPolicies(full bool, changed []string, removed ...string) {
	var resources []resource
	for _, name := range changed {
		resources = append(resources, resource{name: name, body: &anypb.Any{}})
	}
	s.applyPolicies(full, resources, removed)
}

func named(name string, a *workloadapi.Address) resource {
	body, err := anypb.New(a)
	if err != nil {
		panic(err)
	}
	return resource{name: name, body: body}
}

func reasons(all []rejected) map[string]string {
	m := map[string]string{}
	for _, r := range all {
		m[r.name] = r.err.Error()
	}
	return m
}
