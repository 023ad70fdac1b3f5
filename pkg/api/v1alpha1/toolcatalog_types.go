package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// ToolCatalog is what an operator knows of the tools of a server: how much harm they can do, who owns them, and which
// definition of them was reviewed. It restricts nothing by itself: other policies refer to it.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:categories=waymark,shortName=tcat
// +kubebuilder:printcolumn:name="First Tool",type=string,JSONPath=`.spec.tools[0].name`
// +kubebuilder:printcolumn:name="Target",type=string,JSONPath=`.spec.targetRefs[0].name`
// +kubebuilder:printcolumn:name="Accepted",type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].status`
// +kubebuilder:printcolumn:name="Programmed",type=string,JSONPath=`.status.conditions[?(@.type=="Programmed")].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type ToolCatalog struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Which server, and what is known of its tools.
	//
	// +required
	Spec ToolCatalogSpec `json:"spec"`

	// What became of the policy; written by controllers.
	//
	// +optional
	Status PolicyStatus `json:"status,omitzero"`
}

// ToolCatalogList is a list of ToolCatalog.
//
// +kubebuilder:object:root=true
type ToolCatalogList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []ToolCatalog `json:"items"`
}

// ToolCatalogSpec is a server, and what is known of its tools.
//
// +kubebuilder:validation:XValidation:rule="has(self.tools) || has(self.defaults)",message="one of tools and defaults is needed"
type ToolCatalogSpec struct {
	// The servers, in the catalog's own namespace: at most 16. Without any, every service behind the waypoints of its
	// namespace and, in the root namespace, of the whole mesh.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	TargetRefs []TargetRef `json:"targetRefs,omitempty"`

	// What holds for tools that are not listed.
	//
	// +optional
	Defaults *ToolDefaults `json:"defaults,omitempty"`

	// The tools: at most 1024, each name once.
	//
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=1024
	Tools []CatalogTool `json:"tools,omitempty"`
}

// Sensitivity is how confidential the data is that a tool gives out.
//
// +kubebuilder:validation:Enum=Public;Internal;Confidential;Restricted
type Sensitivity string

// ToolDefaults is what holds for tools that are not listed.
//
// +kubebuilder:validation:MinProperties=1
type ToolDefaults struct {
	// How much harm such a tool can do: Low, Medium, High or Critical. Default: unknown, which counts as every tier.
	//
	// +optional
	RiskTier RiskTier `json:"riskTier,omitempty"`

	// How confidential the data is that such a tool gives out: Public, Internal, Confidential or Restricted. Default: unknown.
	//
	// +optional
	Sensitivity Sensitivity `json:"sensitivity,omitempty"`

	// Who answers for such a tool: at most 253 characters. Default: nobody.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Owner string `json:"owner,omitempty"`
}

// CatalogTool is what is known of one tool.
type CatalogTool struct {
	// The name of the tool, compared byte for byte: at most 1024 characters. There are no wildcards.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Name string `json:"name"`

	// How much harm it can do: Low, Medium, High or Critical. Default: that of defaults.
	//
	// +optional
	RiskTier RiskTier `json:"riskTier,omitempty"`

	// How confidential the data is that it gives out: Public, Internal, Confidential or Restricted. Default: that of defaults.
	//
	// +optional
	Sensitivity Sensitivity `json:"sensitivity,omitempty"`

	// Who answers for it: at most 253 characters. Default: that of defaults.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Owner string `json:"owner,omitempty"`

	// What it is for, for people: at most 1024 characters.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Description string `json:"description,omitempty"`

	// The digest of the reviewed definition: SHA-256 over the canonical JSON (RFC 8785) of the tool's entry in tools/list.
	// Default: none was reviewed.
	//
	// +optional
	DefinitionDigest Digest `json:"definitionDigest,omitempty"`

	// Whether the tool changes nothing, by the reviewer's judgment and not the server's. Default: unknown.
	//
	// +optional
	ReadOnly *bool `json:"readOnly,omitempty"`

	// Whether calling it twice with the same arguments does what calling it once does. Default: unknown.
	//
	// +optional
	Idempotent *bool `json:"idempotent,omitempty"`

	// A JSON Schema that its arguments have to keep, beside the server's own. Dialect 2020-12 unless it says otherwise.
	// References to other documents are refused.
	//
	// +optional
	// +kubebuilder:validation:Type=object
	// +kubebuilder:pruning:PreserveUnknownFields
	InputSchema *runtime.RawExtension `json:"inputSchema,omitempty"`

	// A JSON Schema that its structured results have to keep, likewise.
	//
	// +optional
	// +kubebuilder:validation:Type=object
	// +kubebuilder:pruning:PreserveUnknownFields
	OutputSchema *runtime.RawExtension `json:"outputSchema,omitempty"`
}
