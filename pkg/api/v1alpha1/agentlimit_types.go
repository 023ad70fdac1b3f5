package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// AgentLimit says how much: calls in a time, tokens, turns, and the shapes of a conversation that runs in circles.
//
// The annotation istio.io/dry-run: "true" makes the waypoint count and record, and refuse nothing.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:categories=waymark,shortName=alimit
// +kubebuilder:printcolumn:name="Limit",type=string,JSONPath=`.spec.limits[0].name`
// +kubebuilder:printcolumn:name="Action",type=string,JSONPath=`.spec.limits[0].action`
// +kubebuilder:printcolumn:name="Target",type=string,JSONPath=`.spec.targetRefs[0].name`
// +kubebuilder:printcolumn:name="Accepted",type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].status`
// +kubebuilder:printcolumn:name="Programmed",type=string,JSONPath=`.status.conditions[?(@.type=="Programmed")].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type AgentLimit struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// What the policy applies to, and what it counts.
	//
	// +required
	Spec AgentLimitSpec `json:"spec"`

	// What became of the policy; written by controllers.
	//
	// +optional
	Status PolicyStatus `json:"status,omitzero"`
}

// AgentLimitList is a list of AgentLimit.
//
// +kubebuilder:object:root=true
type AgentLimitList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []AgentLimit `json:"items"`
}

// AgentLimitSpec is what a policy applies to, and what it counts.
type AgentLimitSpec struct {
	// What the policy is attached to, in its own namespace: at most 16. Without any, it applies to every service behind the
	// waypoints of its namespace and, in the root namespace, to the whole mesh.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	TargetRefs []TargetRef `json:"targetRefs,omitempty"`

	// The limits: between 1 and 32, each name once. A call has to keep all of them.
	//
	// +required
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	Limits []Limit `json:"limits"`

	// Who counts together: Waypoint means all replicas, Replica each for itself. Default Waypoint.
	//
	// +optional
	// +kubebuilder:default=Waypoint
	// +kubebuilder:validation:Enum=Waypoint;Replica
	Counting string `json:"counting,omitempty"`

	// What becomes of calls while the common count cannot be reached: Reject refuses them, Replica lets each replica count for
	// itself, Pass counts nothing. Default Replica.
	//
	// +optional
	// +kubebuilder:default=Replica
	// +kubebuilder:validation:Enum=Reject;Replica;Pass
	OnFailure string `json:"onFailure,omitempty"`
}

// Limit is one limit.
//
// +kubebuilder:validation:XValidation:rule="[has(self.rate), has(self.tokens), has(self.turns), has(self.toolCalls), has(self.concurrency), has(self.depth), has(self.fanOut), has(self.repetition), has(self.pingPong), has(self.external)].filter(x, x).size() == 1",message="exactly one of rate, tokens, turns, toolCalls, concurrency, depth, fanOut, repetition, pingPong and external"
// +kubebuilder:validation:XValidation:rule="!has(self.quarantineFor) || self.action == 'Reject'",message="quarantineFor needs action Reject",fieldPath=".quarantineFor"
// +kubebuilder:validation:XValidation:rule="!has(self.key) || !has(self.depth) && !has(self.external)",message="key does not go with depth, which counts nothing, or external, which has descriptors",fieldPath=".key"
type Limit struct {
	// What records and metrics call the limit.
	//
	// +required
	Name Name `json:"name"`

	// Which calls are counted. Default: all.
	//
	// +optional
	Match *CallMatch `json:"match,omitempty"`

	// Who shares a count: an expression that yields a string, and each string has a count of its own. An error refuses the
	// call. Default source.spiffeId: every caller has its own.
	//
	// +optional
	Key CEL `json:"key,omitempty"`

	// What becomes of a call beyond the limit: Reject refuses it with rate_limited, budget_exhausted, loop_detected or
	// depth_exceeded, Audit makes a note. Default Reject.
	//
	// +optional
	// +kubebuilder:default=Reject
	// +kubebuilder:validation:Enum=Reject;Audit
	Action string `json:"action,omitempty"`

	// Puts whoever went beyond the limit into quarantine, for 1s to 24h. Default: not at all.
	//
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('24h')",message="quarantineFor must be between 1s and 24h"
	QuarantineFor Duration `json:"quarantineFor,omitempty"`

	// Calls in a time.
	//
	// +optional
	Rate *RateLimit `json:"rate,omitempty"`

	// Tokens of a language model, as results report them.
	//
	// +optional
	Tokens *TokenBudget `json:"tokens,omitempty"`

	// Messages to and fro in one conversation: an A2A context, an MCP session.
	//
	// +optional
	Turns *WindowLimit `json:"turns,omitempty"`

	// Tool calls in one conversation.
	//
	// +optional
	ToolCalls *WindowLimit `json:"toolCalls,omitempty"`

	// Calls at the same time.
	//
	// +optional
	Concurrency *CountLimit `json:"concurrency,omitempty"`

	// How many agents may stand between the user and the destination, by the delegation chain or the trace.
	//
	// +optional
	Depth *CountLimit `json:"depth,omitempty"`

	// How many different destinations one conversation may call.
	//
	// +optional
	FanOut *WindowLimit `json:"fanOut,omitempty"`

	// How often the same target may be called with the same arguments.
	//
	// +optional
	Repetition *WindowLimit `json:"repetition,omitempty"`

	// How often two agents may call one another in turn.
	//
	// +optional
	PingPong *WindowLimit `json:"pingPong,omitempty"`

	// Asks a service that speaks Envoy's rate limit protocol over gRPC.
	//
	// +optional
	External *ExternalLimit `json:"external,omitempty"`
}

// RateLimit is calls in a time.
type RateLimit struct {
	// The tiers, each unit once. A call has to keep all of them.
	//
	// +required
	// +listType=map
	// +listMapKey=unit
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=4
	Tiers []RateTier `json:"tiers"`

	// What a call counts: an expression that yields a whole number of at least 0. Default 1.
	//
	// +optional
	Cost CEL `json:"cost,omitempty"`
}

// RateTier is calls in one unit of time.
type RateTier struct {
	// The unit: Second, Minute, Hour or Day.
	//
	// +required
	Unit Unit `json:"unit"`

	// How many in a unit, 1 to 1000000000, steadily refilled.
	//
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000000
	Calls int64 `json:"calls"`

	// How many at once after a pause, 1 to 1000000000. Default: as many as calls.
	//
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000000
	Burst *int64 `json:"burst,omitempty"`
}

// TokenBudget is tokens of a language model in a time. What a call used is known only after it: the call that goes beyond the
// budget still ends, and the next one is refused.
type TokenBudget struct {
	// How many, 1 to 1000000000000.
	//
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000000000
	Tokens int64 `json:"tokens"`

	// In which time: Second, Minute, Hour or Day.
	//
	// +required
	Unit Unit `json:"unit"`

	// Where a result says how many it used: at most 8 places, which are added up. A result that says nothing counts nothing.
	//
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	Usage []JSONPointer `json:"usage"`
}

// WindowLimit is a number in a time that moves on.
type WindowLimit struct {
	// How many, 1 to 1000000.
	//
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	Max int32 `json:"max"`

	// In which time, 1s to 24h. Default 1h.
	//
	// +optional
	// +kubebuilder:default="1h"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('24h')",message="window must be between 1s and 24h"
	Window Duration `json:"window,omitempty"`
}

// CountLimit is a number.
type CountLimit struct {
	// How many, 1 to 1000000.
	//
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	Max int32 `json:"max"`
}

// ExternalLimit asks a service that speaks Envoy's rate limit protocol over gRPC.
type ExternalLimit struct {
	// The service.
	//
	// +required
	BackendRef BackendRef `json:"backendRef"`

	// The domain of its configuration: at most 253 characters.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Domain string `json:"domain"`

	// The entries of the descriptor: between 1 and 16, each key once.
	//
	// +required
	// +listType=map
	// +listMapKey=key
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Descriptor []DescriptorEntry `json:"descriptor"`

	// How long it may take, 1ms to 60s. Default 100ms.
	//
	// +optional
	// +kubebuilder:default="100ms"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1ms') && duration(self) <= duration('60s')",message="timeout must be between 1ms and 60s"
	Timeout Duration `json:"timeout,omitempty"`

	// What becomes of the call if there is no answer: Reject or Pass. Default Reject.
	//
	// +optional
	// +kubebuilder:default=Reject
	// +kubebuilder:validation:Enum=Reject;Pass
	OnFailure string `json:"onFailure,omitempty"`
}

// DescriptorEntry is one entry of a descriptor.
type DescriptorEntry struct {
	// The key: at most 253 characters.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Key string `json:"key"`

	// The value: an expression that yields a string.
	//
	// +required
	Value CEL `json:"value"`
}
