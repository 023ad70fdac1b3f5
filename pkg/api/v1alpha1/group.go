package v1alpha1

import "k8s.io/apimachinery/pkg/runtime/schema"

// The group and version of our kinds, and the annotation that turns a policy into a dry run (Istio's own, so that one habit
// serves both).
const (
	Group            = "waymark.dev"
	Version          = "v1alpha1"
	DryRunAnnotation = "istio.io/dry-run"
)

// The kinds.
const (
	KindAgentAuthorizationPolicy = "AgentAuthorizationPolicy"
	KindAgentAuthentication      = "AgentAuthentication"
	KindTokenExchange            = "TokenExchange"
	KindAgentGuard               = "AgentGuard"
	KindAgentLimit               = "AgentLimit"
	KindToolCatalog              = "ToolCatalog"
	KindQuarantine               = "Quarantine"
	KindApprovalRequest          = "ApprovalRequest"
	KindAgentAudit               = "AgentAudit"
)

// GroupVersion returns the group and version of the kinds in this package.
func GroupVersion() schema.GroupVersion { return schema.GroupVersion{Group: Group, Version: Version} }
