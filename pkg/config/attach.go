package config

import (
	"strings"

	"waymark.dev/waypoint/pkg/api/v1alpha1"
	"waymark.dev/waypoint/pkg/mesh/static"
)

// RootNamespace is the namespace whose policies without targetRefs apply to the whole mesh (Istio's default).
const RootNamespace = "istio-system"

// refService is the kind that a targetRef can name although no file has it, see isService.
const refService = "Service"

// Applies reports whether a policy judges calls to what is attached. Without targetRefs it does if it stands in the root
// namespace, in the namespace of the waypoint, or in the namespace of what is called: whoever owns a namespace expects a
// policy without targets to cover it, and a restriction must not get lost because the waypoint stands elsewhere.
func (c *Config) Applies(p *v1alpha1.AgentAuthorizationPolicy, a static.Attached) bool {
	if len(p.Spec.TargetRefs) == 0 {
		return p.Namespace == RootNamespace || p.Namespace == c.Gateway.Namespace || p.Namespace == a.Service.Namespace
	}
	for _, ref := range p.Spec.TargetRefs {
		if c.targets(p.Namespace, ref, a) {
			return true
		}
	}
	return false
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

func (c *Config) targets(namespace string, ref v1alpha1.TargetRef, a static.Attached) bool {
	if ref.Kind == kindGateway {
		return c.names(namespace, ref)
	}
	if a.Service.Namespace != namespace {
		return false
	}
	if ref.Kind == refService {
		return isService(a.Service.Hostname, namespace, ref.Name)
	}
	return a.Object == static.Ref{Kind: ref.Kind, Namespace: namespace, Name: ref.Name}
}

// names reports whether a reference to a Gateway means this one.
func (c *Config) names(namespace string, ref v1alpha1.TargetRef) bool {
	return namespace == c.Gateway.Namespace && ref.Name == c.Gateway.Name
}

// isService reports whether a host is the one that Kubernetes gives to a Service. That is how a policy for a Service holds
// for the ServiceEntry that stands for it in a directory.
func isService(host, namespace, name string) bool {
	return strings.HasPrefix(host, name+"."+namespace+".svc.")
}
