package config

import (
	"strings"

	"waymark.dev/waypoint/pkg/api/v1alpha1"
	"waymark.dev/waypoint/pkg/mesh"
	"waymark.dev/waypoint/pkg/mesh/static"
)

// RootNamespace is the namespace whose policies without targetRefs apply to the whole mesh (Istio's default).
const RootNamespace = "istio-system"

// refService is the kind that a targetRef can name although no file has it, see isService.
const refService = "Service"

// Scope is a waypoint as policies see it.
type Scope struct{ Namespace, Gateway string }

// Applies reports whether what stands in a namespace with these targets concerns calls to what is attached. Without
// targetRefs it does if it stands in the root namespace, in the namespace of the waypoint, or in the namespace of what is
// called: whoever owns a namespace expects a policy without targets to cover it, and a restriction must not get lost because
// the waypoint stands elsewhere.
func (s Scope) Applies(namespace string, refs []v1alpha1.TargetRef, a mesh.Attached) bool {
	if len(refs) == 0 {
		return namespace == RootNamespace || namespace == s.Namespace || namespace == a.Service.Namespace
	}
	for _, ref := range refs {
		if s.targets(namespace, ref, a) {
			return true
		}
	}
	return false
}

func (s Scope) targets(namespace string, ref v1alpha1.TargetRef, a mesh.Attached) bool {
	if ref.Kind == kindGateway {
		return s.names(namespace, ref)
	}
	if a.Service.Namespace != namespace {
		return false
	}
	if ref.Kind == refService && a.Object.Kind != refService {
		return isService(a.Service.Hostname, namespace, ref.Name)
	}
	return a.Object == mesh.Ref{Kind: ref.Kind, Namespace: namespace, Name: ref.Name}
}

// names reports whether a reference to a Gateway means this one.
func (s Scope) names(namespace string, ref v1alpha1.TargetRef) bool {
	return namespace == s.Namespace && ref.Name == s.Gateway
}

// isService reports whether a host is the one that Kubernetes gives to a Service. That is how a policy for a Service holds
// for the ServiceEntry that stands for it in a directory.
func isService(host, namespace, name string) bool {
	return strings.HasPrefix(host, name+"."+namespace+".svc.")
}

func (c *Config) scope() Scope { return Scope{c.Gateway.Namespace, c.Gateway.Name} }

// Applies reports whether a policy judges calls to what is attached.
func (c *Config) Applies(p *v1alpha1.AgentAuthorizationPolicy, a static.Attached) bool {
	return c.scope().Applies(p.Namespace, p.Spec.TargetRefs, a.Attached)
}

// Applying lists the policies that judge calls to what is attached, in the order of the files.
func (c *Config) Applying(a static.Attached) []*v1alpha1.AgentAuthorizationPolicy {
	var applying []*v1alpha1.AgentAuthorizationPolicy
	for _, p := range c.Policies {
		if c.Applies(p, a) {
			applying = append(applying, p)
		}
	}
	return applying
}
