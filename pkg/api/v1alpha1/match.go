package v1alpha1

// CallMatch says which calls something is about. Every field that is present has to match; a field matches if any of its
// values does. Without any field at all it would be about everything, and is therefore refused: leave it out instead.
//
// +kubebuilder:validation:MinProperties=1
type CallMatch struct {
	// SPIFFE identities from the caller's certificate: cluster.local/ns/bank/sa/teller.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Principals []StringMatch `json:"principals,omitempty"`

	// Namespaces of callers, from the identity.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Namespaces []StringMatch `json:"namespaces,omitempty"`

	// What the connection speaks.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=4
	Protocols []Protocol `json:"protocols,omitempty"`

	// JSON-RPC methods of MCP and A2A calls (tools/call), HTTP methods of plain HTTP requests.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Methods []StringMatch `json:"methods,omitempty"`

	// Names of MCP tools.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	Tools []StringMatch `json:"tools,omitempty"`

	// URIs of MCP resources.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	Resources []StringMatch `json:"resources,omitempty"`

	// Names of MCP prompts.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	Prompts []StringMatch `json:"prompts,omitempty"`

	// Risk tiers of tools, from the ToolCatalog. A tool that no catalog lists has the tier of the catalog's defaults and,
	// without those, every tier.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=4
	RiskTiers []RiskTier `json:"riskTiers,omitempty"`

	// A further condition: an expression that yields a bool. An error counts as a match.
	//
	// +optional
	When CEL `json:"when,omitempty"`
}
