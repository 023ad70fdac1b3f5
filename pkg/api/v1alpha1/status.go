package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// The types of the conditions of a policy.
const (
	// ConditionAccepted is true when the policy can be carried out: it is well-formed, its expressions compile and what it
	// refers to is there.
	ConditionAccepted = "Accepted"
	// ConditionAttached is true when what the policy targets is bound to a waypoint.
	ConditionAttached = "Attached"
	// ConditionProgrammed is true when every ready replica of the waypoint acknowledged this generation of the policy.
	ConditionProgrammed = "Programmed"
)

// The reasons that go with the conditions of a policy. Of those that make a condition false, each has one cause.
const (
	ReasonAccepted        = "Accepted"
	ReasonAttached        = "Attached"
	ReasonProgrammed      = "Programmed"
	ReasonInvalid         = "Invalid"         // Accepted: the policy has a mistake, which the message names
	ReasonTargetNotFound  = "TargetNotFound"  // Attached: there is no such object
	ReasonTargetNotBound  = "TargetNotBound"  // Attached: the object is there, and bound to no waypoint of ours
	ReasonPending         = "Pending"         // Programmed: some replica has not acknowledged this generation yet
	ReasonNotCarriedOut   = "NotCarriedOut"   // Accepted: this version of Waymark does not carry out the kind, or a field of it
	ReasonRefNotPermitted = "RefNotPermitted" // Accepted: a reference into another namespace without a ReferenceGrant there
)

// PolicyStatus says what became of a policy. Its ancestors are those of Gateway API's PolicyStatus.
type PolicyStatus struct {
	// The conditions Accepted, Attached and Programmed of the policy as a whole: each is true if it is for every ancestor.
	//
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// The same for each waypoint that the policy concerns: at most 16. An entry is written by the controller that it names, and
	// by no other.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	Ancestors []PolicyAncestorStatus `json:"ancestors,omitempty"`
}

// PolicyAncestorStatus says what became of a policy at one waypoint.
type PolicyAncestorStatus struct {
	// The waypoint's Gateway.
	//
	// +required
	AncestorRef AncestorReference `json:"ancestorRef"`

	// The controller that wrote the entry: waymark.dev/waypoint-controller.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/[A-Za-z0-9/\-._~%!$&'()*+,;=:]+$`
	ControllerName string `json:"controllerName"`

	// The conditions at this waypoint: between one and eight.
	//
	// +required
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions"`
}

// AncestorReference names a Gateway, or a part of one. It has the fields of Gateway API's ParentReference.
type AncestorReference struct {
	// The API group. Default gateway.networking.k8s.io.
	//
	// +optional
	// +kubebuilder:default=gateway.networking.k8s.io
	// +kubebuilder:validation:MaxLength=253
	Group *string `json:"group,omitempty"`

	// The kind. Default Gateway.
	//
	// +optional
	// +kubebuilder:default=Gateway
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Kind *string `json:"kind,omitempty"`

	// The namespace. Default: the policy's own.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Namespace *string `json:"namespace,omitempty"`

	// The name.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`

	// The listener, if the entry is about one of them.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	SectionName *string `json:"sectionName,omitempty"`

	// The port, if the entry is about one of them: 1 to 65535.
	//
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	Port *int32 `json:"port,omitempty"`
}
