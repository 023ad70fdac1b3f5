package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// AgentAudit says what is kept of calls: where records go, what becomes of a call that cannot be recorded, and which fields a
// record has.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:categories=waymark,shortName=aaudit
// +kubebuilder:printcolumn:name="Delivery",type=string,JSONPath=`.spec.delivery`
// +kubebuilder:printcolumn:name="Sink",type=string,JSONPath=`.spec.sinks[0].name`
// +kubebuilder:printcolumn:name="Target",type=string,JSONPath=`.spec.targetRefs[0].name`
// +kubebuilder:printcolumn:name="Accepted",type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].status`
// +kubebuilder:printcolumn:name="Programmed",type=string,JSONPath=`.status.conditions[?(@.type=="Programmed")].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type AgentAudit struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// What the policy applies to, and what is kept.
	//
	// +required
	Spec AgentAuditSpec `json:"spec"`

	// What became of the policy; written by controllers.
	//
	// +optional
	Status PolicyStatus `json:"status,omitzero"`
}

// AgentAuditList is a list of AgentAudit.
//
// +kubebuilder:object:root=true
type AgentAuditList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []AgentAudit `json:"items"`
}

// AgentAuditSpec is what a policy applies to, and what is kept.
//
// +kubebuilder:validation:XValidation:rule="self.delivery != 'Strict' || !has(self.sampling)",message="sampling does not go with delivery Strict: every call has a record",fieldPath=".sampling"
type AgentAuditSpec struct {
	// What the policy is attached to, in its own namespace: at most 16. Without any, it applies to every service behind the
	// waypoints of its namespace and, in the root namespace, to the whole mesh.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	TargetRefs []TargetRef `json:"targetRefs,omitempty"`

	// What becomes of a call whose record no sink takes: Strict refuses it, BestEffort lets it pass and counts the loss. Default
	// BestEffort.
	//
	// +optional
	// +kubebuilder:default=BestEffort
	// +kubebuilder:validation:Enum=Strict;BestEffort
	Delivery string `json:"delivery,omitempty"`

	// Where records go: between 1 and 8, each name once. With delivery Strict every one of them has to take it.
	//
	// +required
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	Sinks []AuditSink `json:"sinks"`

	// Which calls have a record. Default: all.
	//
	// +optional
	Match *CallMatch `json:"match,omitempty"`

	// Which share of the calls that pass has a record. Refused and held ones always have. Default: all.
	//
	// +optional
	Sampling *AuditSampling `json:"sampling,omitempty"`

	// What a record holds besides what docs/audit.md lists.
	//
	// +optional
	Fields *AuditFields `json:"fields,omitempty"`

	// The key of digests and of session hashes (HMAC with SHA-256), at least 32 bytes. Default: none, so that whoever can
	// guess short arguments can confirm the guess.
	//
	// +optional
	HashKeyRef *SecretKeyRef `json:"hashKeyRef,omitempty"`

	// Whether each record holds the digest of the one before it, so that a missing one shows: None or Chain. Default None.
	//
	// +optional
	// +kubebuilder:default=None
	// +kubebuilder:validation:Enum=None;Chain
	Sealing string `json:"sealing,omitempty"`
}

// AuditSink is one place where records go.
//
// +kubebuilder:validation:XValidation:rule="[has(self.stdout), has(self.file), has(self.otlp), has(self.webhook)].filter(x, x).size() == 1",message="exactly one of stdout, file, otlp and webhook"
type AuditSink struct {
	// What logs and metrics call the sink.
	//
	// +required
	Name Name `json:"name"`

	// Standard output of the waypoint, one line for a record.
	//
	// +optional
	Stdout *StdoutSink `json:"stdout,omitzero"`

	// A file in the waypoint's pod.
	//
	// +optional
	File *FileSink `json:"file,omitempty"`

	// An OpenTelemetry collector: records are OTLP logs over gRPC.
	//
	// +optional
	OTLP *OTLPSink `json:"otlp,omitempty"`

	// A service that takes records as JSON lines in a POST.
	//
	// +optional
	Webhook *WebhookSink `json:"webhook,omitempty"`

	// How many records wait while a sink is slow, 0 to 1000000. Default 10000.
	//
	// +optional
	// +kubebuilder:default=10000
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000000
	Queue *int32 `json:"queue,omitempty"`
}

// StdoutSink is standard output. It has no fields.
type StdoutSink struct{}

// FileSink is a file in the waypoint's pod, which has to have a volume there.
type FileSink struct {
	// The absolute path, without dot segments: at most 1024 characters.
	//
	// +required
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:Pattern=`^(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+$`
	Path string `json:"path"`
}

// OTLPSink is an OpenTelemetry collector.
type OTLPSink struct {
	// The collector.
	//
	// +required
	BackendRef BackendRef `json:"backendRef"`

	// How long it may take, 10ms to 60s. Default 5s.
	//
	// +optional
	// +kubebuilder:default="5s"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('10ms') && duration(self) <= duration('60s')",message="timeout must be between 10ms and 60s"
	Timeout Duration `json:"timeout,omitempty"`
}

// WebhookSink is a service that takes records.
type WebhookSink struct {
	// The service.
	//
	// +required
	Endpoint Endpoint `json:"endpoint"`

	// A token that is sent in the header Authorization after "Bearer ". Default none.
	//
	// +optional
	BearerRef *SecretKeyRef `json:"bearerRef,omitempty"`
}

// AuditSampling is a share of the calls that pass.
type AuditSampling struct {
	// How many of a hundred, 0 to 100, chosen by the trace id so that a whole trace is kept or is not.
	//
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	Percent int32 `json:"percent"`
}

// AuditFields is what a record holds besides what it always does.
//
// +kubebuilder:validation:MinProperties=1
type AuditFields struct {
	// The arguments: None, Digest, or Masked, which are the arguments after the masks of every guard, cut at 16 KiB. Default
	// Digest.
	//
	// +optional
	// +kubebuilder:default=Digest
	// +kubebuilder:validation:Enum=None;Digest;Masked
	Arguments string `json:"arguments,omitempty"`

	// The results, likewise. Default None.
	//
	// +optional
	// +kubebuilder:default=None
	// +kubebuilder:validation:Enum=None;Digest;Masked
	Results string `json:"results,omitempty"`

	// Claims of the verified token: at most 32. Default none.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	Claims []ClaimPath `json:"claims,omitempty"`

	// Request headers: at most 32. Those that carry credentials cannot be listed. Default none.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:XValidation:rule="!self.exists(h, h.lowerAscii() in ['authorization', 'cookie', 'dpop', 'mcp-session-id', 'proxy-authorization', 'x-api-key'])",message="headers must not list one that carries credentials"
	Headers []HeaderName `json:"headers,omitempty"`
}
