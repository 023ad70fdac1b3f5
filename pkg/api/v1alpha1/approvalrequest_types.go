package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// ApprovalRequest asks a person whether one call may be made. A waypoint creates it, whoever may write its status decides,
// and it is good for one call: the one that it shows, by the digest of its arguments.
//
// A schema does not see who asks: that nobody decides in another's name is up to the admission policy waymark-approvals.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:categories=waymark,shortName=areq
// +kubebuilder:printcolumn:name="Tool",type=string,JSONPath=`.spec.call.target`
// +kubebuilder:printcolumn:name="Caller",type=string,JSONPath=`.spec.principal`
// +kubebuilder:printcolumn:name="State",type=string,JSONPath=`.status.state`
// +kubebuilder:printcolumn:name="By",type=string,JSONPath=`.status.decidedBy`
// +kubebuilder:printcolumn:name="Expires",type=string,JSONPath=`.spec.expiresAt`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.status) || has(self.status)",message="status cannot be taken back",fieldPath=".status"
type ApprovalRequest struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// The call, as it will be made if it is approved. It cannot be changed.
	//
	// +required
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="spec cannot be changed: what was shown is what runs"
	Spec ApprovalRequestSpec `json:"spec"`

	// What was decided.
	//
	// +optional
	Status ApprovalRequestStatus `json:"status,omitzero"`
}

// ApprovalRequestList is a list of ApprovalRequest.
//
// +kubebuilder:object:root=true
type ApprovalRequestList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []ApprovalRequest `json:"items"`
}

// ApprovalRequestSpec is a call that waits for a person, and why it does.
type ApprovalRequestSpec struct {
	// The call.
	//
	// +required
	Call HeldCall `json:"call"`

	// The caller's SPIFFE identity: spiffe://cluster.local/ns/bank/sa/teller. At most 2048 characters.
	//
	// +required
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:Pattern=`^spiffe://[^/\s]+/\S+$`
	Principal string `json:"principal"`

	// The user for whom it calls, by the sub of the token: at most 512 characters. Default: none is known.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	User string `json:"user,omitempty"`

	// The actors between the user and the caller, in the order in which they acted: at most 16. Default: none are known.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=512
	Chain []string `json:"chain,omitempty"`

	// The policy that asks for a person.
	//
	// +required
	Policy PolicyRule `json:"policy"`

	// The id of the decision in the audit record: at most 128 characters.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	CallID string `json:"callID"`

	// The W3C trace id of the call: 32 hexadecimal digits. Default: it has none.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^[0-9a-f]{32}$`
	Trace string `json:"trace,omitempty"`

	// The Gateway of the waypoint that holds the call, in the request's namespace: at most 253 characters.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Gateway string `json:"gateway"`

	// When it is too late to decide or to make the call, as an RFC 3339 time.
	//
	// +required
	// +kubebuilder:validation:Format=date-time
	ExpiresAt metav1.Time `json:"expiresAt"`
}

// HeldCall is the call that waits.
//
// +kubebuilder:validation:XValidation:rule="has(self.target) == has(self.targetKind)",message="target and targetKind go together",fieldPath=".target"
type HeldCall struct {
	// What the connection speaks.
	//
	// +required
	Protocol Protocol `json:"protocol"`

	// The JSON-RPC method, or the HTTP method of a plain request: at most 256 characters.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Method string `json:"method"`

	// What target is: Tool, Resource, Prompt, Skill or Task.
	//
	// +optional
	// +kubebuilder:validation:Enum=Tool;Resource;Prompt;Skill;Task
	TargetKind string `json:"targetKind,omitempty"`

	// The name or URI of what is called: at most 4096 characters.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	Target string `json:"target,omitempty"`

	// The service that is called.
	//
	// +required
	Service HeldService `json:"service"`

	// The digest of the arguments, as the audit record writes it: sha256, hmac-sha256 or raw-sha256, a colon, and 64 hexadecimal
	// digits. The approval is good for these arguments, and for no others. Default: the call has no arguments.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=76
	// +kubebuilder:validation:Pattern=`^(hmac-|raw-)?sha256:[0-9a-f]{64}$`
	ArgumentsDigest string `json:"argumentsDigest,omitempty"`

	// The arguments as a person is to see them, as JSON, after the masks of every guard: at most 65536 characters.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=65536
	Arguments string `json:"arguments,omitempty"`

	// The risk tier of the tool when the call was held. Default: it has none.
	//
	// +optional
	RiskTier RiskTier `json:"riskTier,omitempty"`
}

// HeldService is the service that is called.
type HeldService struct {
	// Its namespace.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace"`

	// Its name.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`

	// The port of the service, 1 to 65535.
	//
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	Port int32 `json:"port"`
}

// PolicyRule names a rule of a policy.
type PolicyRule struct {
	// The policy's kind. Default AgentAuthorizationPolicy.
	//
	// +optional
	// +kubebuilder:default=AgentAuthorizationPolicy
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Kind string `json:"kind,omitempty"`

	// Its namespace.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace"`

	// Its name.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`

	// The rule, as the audit record writes it: rules[2]. At most 256 characters.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Rule string `json:"rule,omitempty"`
}

// ApprovalState is how far a request has come. It only moves on: from Pending to Approved, Refused or Expired, from Approved
// to Spent or Expired.
//
// +kubebuilder:validation:Enum=Pending;Approved;Refused;Expired;Spent
type ApprovalState string

// The states.
const (
	ApprovalPending  ApprovalState = "Pending"
	ApprovalApproved ApprovalState = "Approved"
	ApprovalRefused  ApprovalState = "Refused"
	ApprovalExpired  ApprovalState = "Expired"
	ApprovalSpent    ApprovalState = "Spent" // the one call that it was good for was made
)

// ApprovalRequestStatus is what was decided.
//
// +kubebuilder:validation:XValidation:rule="has(self.state) || !has(oldSelf.state)",message="state cannot be taken back",fieldPath=".state"
// +kubebuilder:validation:XValidation:rule="!(has(self.state) && self.state in ['Approved', 'Refused', 'Spent']) || has(self.decidedBy) && has(self.decidedAt)",message="decidedBy and decidedAt are needed for a decision",fieldPath=".decidedBy"
// +kubebuilder:validation:XValidation:rule="!(has(self.state) && self.state == 'Spent') || has(self.spentAt)",message="spentAt is needed for state Spent",fieldPath=".spentAt"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.decidedBy) || has(self.decidedBy) && self.decidedBy == oldSelf.decidedBy",message="decidedBy cannot be changed",fieldPath=".decidedBy"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.decidedAt) || has(self.decidedAt) && self.decidedAt == oldSelf.decidedAt",message="decidedAt cannot be changed",fieldPath=".decidedAt"
type ApprovalRequestStatus struct {
	// How far the request has come: Pending, Approved, Refused, Expired or Spent. Default: nobody has looked at it yet, which
	// is as Pending.
	//
	// +optional
	// +kubebuilder:validation:XValidation:rule="self == oldSelf || oldSelf == 'Pending' && self != 'Spent' || oldSelf == 'Approved' && self in ['Spent', 'Expired']",message="state only moves on: from Pending to Approved, Refused or Expired, from Approved to Spent or Expired"
	State ApprovalState `json:"state,omitempty"`

	// Who decided: the user name that the API server knows. At most 253 characters.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	DecidedBy string `json:"decidedBy,omitempty"`

	// When, as an RFC 3339 time.
	//
	// +optional
	// +kubebuilder:validation:Format=date-time
	DecidedAt *metav1.Time `json:"decidedAt,omitempty"`

	// What the person said, for the operator: at most 1024 characters. The caller does not see it.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Comment string `json:"comment,omitempty"`

	// When the call was made, as an RFC 3339 time.
	//
	// +optional
	// +kubebuilder:validation:Format=date-time
	SpentAt *metav1.Time `json:"spentAt,omitempty"`

	// Further conditions: at most 8.
	//
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}
