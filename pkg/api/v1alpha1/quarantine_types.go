package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Quarantine stops something now: live streams are cut, new calls are refused with quarantined. It comes before every other
// policy.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:categories=waymark,shortName=quar
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.spec.reason`
// +kubebuilder:printcolumn:name="By",type=string,JSONPath=`.spec.requestedBy`
// +kubebuilder:printcolumn:name="Expires",type=string,JSONPath=`.spec.expiresAt`
// +kubebuilder:printcolumn:name="Target",type=string,JSONPath=`.spec.targetRefs[0].name`
// +kubebuilder:printcolumn:name="Accepted",type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].status`
// +kubebuilder:printcolumn:name="Programmed",type=string,JSONPath=`.status.conditions[?(@.type=="Programmed")].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type Quarantine struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// What is stopped, why, by whom and until when.
	//
	// +required
	Spec QuarantineSpec `json:"spec"`

	// What became of the policy; written by controllers.
	//
	// +optional
	Status PolicyStatus `json:"status,omitzero"`
}

// QuarantineList is a list of Quarantine.
//
// +kubebuilder:object:root=true
type QuarantineList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []Quarantine `json:"items"`
}

// QuarantineSpec is what is stopped, why, by whom and until when.
//
// +kubebuilder:validation:XValidation:rule="has(self.targetRefs) || has(self.subject)",message="one of targetRefs and subject is needed: a quarantine of everything has to name its Gateway"
type QuarantineSpec struct {
	// The services whose calls are concerned, in the quarantine's own namespace: at most 16. Without a subject, they are
	// stopped altogether. Without any targetRefs, every service behind the waypoints of the namespace is concerned and, in the
	// root namespace, the whole mesh.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	TargetRefs []TargetRef `json:"targetRefs,omitempty"`

	// Which calls are stopped. Default: all.
	//
	// +optional
	Subject *QuarantineSubject `json:"subject,omitempty"`

	// Why, for whoever finds a call refused: at most 1024 characters.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Reason string `json:"reason"`

	// Who wants it, a person or a program: at most 253 characters. It cannot be changed later.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="requestedBy cannot be changed: make another quarantine"
	RequestedBy string `json:"requestedBy"`

	// When it ends by itself, as an RFC 3339 time. Default: when it is deleted.
	//
	// +optional
	// +kubebuilder:validation:Format=date-time
	ExpiresAt *metav1.Time `json:"expiresAt,omitempty"`
}

// QuarantineSubject says which calls are stopped. Every field that is present has to match; a field matches if any of its
// values does.
//
// +kubebuilder:validation:MinProperties=1
type QuarantineSubject struct {
	// Names of MCP tools: at most 256.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	Tools []StringMatch `json:"tools,omitempty"`

	// SPIFFE identities of callers: at most 256.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	Principals []StringMatch `json:"principals,omitempty"`

	// Agents that stand anywhere in the delegation chain, by the sub of the act claim: at most 256.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	Agents []StringMatch `json:"agents,omitempty"`

	// Users, by the sub of the token: at most 256.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	Users []StringMatch `json:"users,omitempty"`

	// Sessions, as the audit record writes them: a hash, never the session id itself, which is as good as a password. At most
	// 256.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=128
	// +kubebuilder:validation:items:Pattern=`^[a-z0-9-]+:[0-9a-f]{16,128}$`
	Sessions []string `json:"sessions,omitempty"`

	// W3C trace ids: 32 hexadecimal digits in lower case. At most 256.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=32
	// +kubebuilder:validation:items:Pattern=`^[0-9a-f]{32}$`
	Traces []string `json:"traces,omitempty"`
}
