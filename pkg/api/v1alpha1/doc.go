// Package v1alpha1 holds the kinds of the API group waymark.dev. They are Kubernetes objects, and a laptop reads the same
// YAML from a directory: one policy file works in both places, unchanged.
//
// A field that does not exist here is refused when an object is read, never skipped: a restriction that nobody reads is
// no restriction. A list that is present must not be empty, so that a template that loses its values cannot widen a
// rule to "any".
//
//	apiVersion: waymark.dev/v1alpha1
//	kind: AgentAuthorizationPolicy
//	metadata: {name: tellers, namespace: bank}
//	spec:
//	  targetRefs: [{group: "", kind: Service, name: company-mcp}]
//	  rules:
//	  - from: [{source: {serviceAccounts: [teller]}}]
//	    to: [{operation: {tools: [read_account]}}]
//
// +kubebuilder:object:generate=true
// +groupName=waymark.dev
package v1alpha1
