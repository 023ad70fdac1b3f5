package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// AgentGuard says what may be said: which texts, URLs and values may stand in what callers send and in what comes back, in
// both directions of a stream.
//
// The annotation istio.io/dry-run: "true" makes the waypoint look and record, and change nothing.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:categories=waymark,shortName=aguard
// +kubebuilder:printcolumn:name="Rule",type=string,JSONPath=`.spec.rules[0].name`
// +kubebuilder:printcolumn:name="Action",type=string,JSONPath=`.spec.rules[0].action`
// +kubebuilder:printcolumn:name="Target",type=string,JSONPath=`.spec.targetRefs[0].name`
// +kubebuilder:printcolumn:name="Accepted",type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].status`
// +kubebuilder:printcolumn:name="Programmed",type=string,JSONPath=`.status.conditions[?(@.type=="Programmed")].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type AgentGuard struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// What the policy applies to, and what it looks for.
	//
	// +required
	Spec AgentGuardSpec `json:"spec"`

	// What became of the policy; written by controllers.
	//
	// +optional
	Status PolicyStatus `json:"status,omitzero"`
}

// AgentGuardList is a list of AgentGuard.
//
// +kubebuilder:object:root=true
type AgentGuardList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []AgentGuard `json:"items"`
}

// AgentGuardSpec is what a policy applies to, and what it looks for.
type AgentGuardSpec struct {
	// What the policy is attached to, in its own namespace: at most 16. Without any, it applies to every service behind the
	// waypoints of its namespace and, in the root namespace, to the whole mesh.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	TargetRefs []TargetRef `json:"targetRefs,omitempty"`

	// What is looked for: between 1 and 32 rules, each name once. All of them look, in this order; a Reject is final.
	//
	// +required
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	Rules []GuardRule `json:"rules"`
}

// Surface is a part of a conversation that is looked at.
//
// +kubebuilder:validation:Enum=Arguments;Results;Resources;Prompts;ToolDefinitions;ServerRequests;Messages;Artifacts
type Surface string

// The surfaces.
const (
	SurfaceArguments       Surface = "Arguments"       // what an MCP client sends: arguments of tools and prompts, and its answers to servers
	SurfaceResults         Surface = "Results"         // results of MCP tools, structured content included, whatever carries them
	SurfaceResources       Surface = "Resources"       // contents of MCP resources
	SurfacePrompts         Surface = "Prompts"         // messages of MCP prompts
	SurfaceToolDefinitions Surface = "ToolDefinitions" // names, descriptions and schemas in lists of tools
	SurfaceServerRequests  Surface = "ServerRequests"  // what an MCP server asks: sampling, elicitation
	SurfaceMessages        Surface = "Messages"        // A2A messages, in both directions
	SurfaceArtifacts       Surface = "Artifacts"       // A2A artifacts
)

// GuardAction is what becomes of what a rule found.
//
// +kubebuilder:validation:Enum=Mask;Reject;Annotate
type GuardAction string

// The actions.
const (
	GuardMask     GuardAction = "Mask"     // what was found is replaced, and the rest goes on
	GuardReject   GuardAction = "Reject"   // the message is refused: guard_rejected, schema_invalid or definition_changed
	GuardAnnotate GuardAction = "Annotate" // the message goes on as it is, with a note in the audit record
)

// GuardRule looks for one kind of thing.
//
// +kubebuilder:validation:XValidation:rule="[has(self.detectors), has(self.regex), has(self.webhook), has(self.schema), has(self.pinning), has(self.urls)].filter(x, x).size() == 1",message="exactly one of detectors, regex, webhook, schema, pinning and urls"
// +kubebuilder:validation:XValidation:rule="self.action != 'Mask' || has(self.detectors) || has(self.regex) || has(self.webhook)",message="action Mask needs detectors, regex or webhook: nothing else says what to replace",fieldPath=".action"
// +kubebuilder:validation:XValidation:rule="!has(self.mask) || self.action == 'Mask'",message="mask belongs to action Mask",fieldPath=".mask"
// +kubebuilder:validation:XValidation:rule="!has(self.pinning) || self.surfaces.all(s, s == 'ToolDefinitions')",message="surfaces must be ToolDefinitions for pinning",fieldPath=".surfaces"
// +kubebuilder:validation:XValidation:rule="!has(self.schema) || self.surfaces.all(s, s in ['Arguments', 'Results'])",message="surfaces must be Arguments and Results for schema",fieldPath=".surfaces"
type GuardRule struct {
	// What records and metrics call the rule.
	//
	// +required
	Name Name `json:"name"`

	// Where it looks: at least one. Arguments is what an MCP client sends, Results, Resources and Prompts are what tools,
	// resources and prompts answer, ToolDefinitions are lists of tools, ServerRequests is what an MCP server asks (sampling,
	// elicitation), Messages and Artifacts are A2A's.
	//
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	Surfaces []Surface `json:"surfaces"`

	// Which calls it is about. Default: all.
	//
	// +optional
	Match *CallMatch `json:"match,omitempty"`

	// What becomes of what it finds: Mask replaces it, Reject refuses the message, Annotate makes a note. Default Reject.
	//
	// +optional
	// +kubebuilder:default=Reject
	Action GuardAction `json:"action,omitempty"`

	// How Mask replaces.
	//
	// +optional
	Mask *Mask `json:"mask,omitempty"`

	// Looks for kinds of data that are built in.
	//
	// +optional
	Detectors *DetectorGuard `json:"detectors,omitempty"`

	// Looks for regular expressions.
	//
	// +optional
	Regex *RegexGuard `json:"regex,omitempty"`

	// Asks a service.
	//
	// +optional
	Webhook *WebhookGuard `json:"webhook,omitempty"`

	// Holds arguments and results against a JSON Schema.
	//
	// +optional
	Schema *SchemaGuard `json:"schema,omitempty"`

	// Holds definitions of tools against those that somebody reviewed.
	//
	// +optional
	Pinning *PinningGuard `json:"pinning,omitempty"`

	// Holds every URL against a list.
	//
	// +optional
	URLs *URLGuard `json:"urls,omitempty"`
}

// Mask says what stands where something was found.
type Mask struct {
	// The text: at most 64 characters. {type} stands for what was found, for example CreditCard. Default [{type}].
	//
	// +optional
	// +kubebuilder:default="[{type}]"
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	Replacement string `json:"replacement,omitempty"`

	// How many characters at the end of what was found stay, 0 to 8. Default 0.
	//
	// +optional
	// +kubebuilder:default=0
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=8
	KeepLast *int32 `json:"keepLast,omitempty"`
}

// Detector is a kind of data that can be recognised.
//
// +kubebuilder:validation:Enum=CreditCard;IBAN;EmailAddress;PhoneNumber;IPAddress;USSocialSecurityNumber;CanadianSocialInsuranceNumber;CloudCredential;APIKey;PrivateKey;JWT;Password;HiddenText;PromptInjection
type Detector string

// DetectorGuard looks for kinds of data that are built in.
type DetectorGuard struct {
	// What it looks for: at least one. HiddenText are characters that do not show, PromptInjection are instructions to the
	// model that reads the text.
	//
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Types []Detector `json:"types"`

	// How sure it has to be: Low, Medium or High. Default Medium.
	//
	// +optional
	// +kubebuilder:default=Medium
	// +kubebuilder:validation:Enum=Low;Medium;High
	Confidence string `json:"confidence,omitempty"`
}

// RegexGuard looks for regular expressions.
type RegexGuard struct {
	// The expressions: between 1 and 32, each name once.
	//
	// +required
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	Patterns []Pattern `json:"patterns"`
}

// Pattern is a regular expression with a name.
type Pattern struct {
	// What records and the replacement of Mask call what was found.
	//
	// +required
	Name Name `json:"name"`

	// The expression, in RE2 syntax: at most 1024 characters.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Pattern string `json:"pattern"`
}

// WebhookGuard asks a service, which answers whether a text may pass, or with what to replace it.
type WebhookGuard struct {
	// The service.
	//
	// +required
	Endpoint Endpoint `json:"endpoint"`

	// What becomes of the message if there is no answer: Reject or Pass. Default Reject.
	//
	// +optional
	// +kubebuilder:default=Reject
	// +kubebuilder:validation:Enum=Reject;Pass
	OnFailure string `json:"onFailure,omitempty"`

	// How long a message it is asked about may be, in bytes, 1 to 16777216. A longer one counts as a failure. Default 1048576.
	//
	// +optional
	// +kubebuilder:default=1048576
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=16777216
	MaxBytes *int64 `json:"maxBytes,omitempty"`

	// Request headers that it is told: at most 64. Default none.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Headers []HeaderName `json:"headers,omitempty"`
}

// SchemaGuard holds arguments and results against a JSON Schema.
//
// +kubebuilder:validation:XValidation:rule="has(self.configMapRef) == (self.source == 'ConfigMap')",message="configMapRef is needed for source ConfigMap, and only there",fieldPath=".configMapRef"
type SchemaGuard struct {
	// Whose schema: Catalog is the ToolCatalog's, Declared what the server last listed, ConfigMap one for every call that the
	// rule is about. Default Catalog.
	//
	// +optional
	// +kubebuilder:default=Catalog
	// +kubebuilder:validation:Enum=Catalog;Declared;ConfigMap
	Source string `json:"source,omitempty"`

	// A ConfigMap with a JSON Schema, dialect 2020-12 unless it says otherwise. References to other documents are refused.
	//
	// +optional
	ConfigMapRef *ConfigMapKeyRef `json:"configMapRef,omitempty"`

	// What becomes of a call for which there is no schema: Reject or Pass. Default Reject.
	//
	// +optional
	// +kubebuilder:default=Reject
	// +kubebuilder:validation:Enum=Reject;Pass
	OnMissing string `json:"onMissing,omitempty"`

	// Members that the schema does not speak of: Reject treats them as a fault even where the schema permits them, Schema
	// leaves it to the schema. Default Schema.
	//
	// +optional
	// +kubebuilder:default=Schema
	// +kubebuilder:validation:Enum=Reject;Schema
	UnknownMembers string `json:"unknownMembers,omitempty"`
}

// PinningGuard holds definitions of tools (name, description, schemas, annotations) against those that somebody reviewed.
type PinningGuard struct {
	// Which definition is the reviewed one: Catalog is the digest in the ToolCatalog, FirstUse the one that the waypoint saw
	// first. Default Catalog.
	//
	// +optional
	// +kubebuilder:default=Catalog
	// +kubebuilder:validation:Enum=Catalog;FirstUse
	Source string `json:"source,omitempty"`

	// What becomes of a tool that has no reviewed definition: Reject or Pass. Default Reject.
	//
	// +optional
	// +kubebuilder:default=Reject
	// +kubebuilder:validation:Enum=Reject;Pass
	OnMissing string `json:"onMissing,omitempty"`
}

// URLGuard holds every URL of a text against a list.
type URLGuard struct {
	// The hosts that a URL may have: at most 256. Default none.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	Hosts []StringMatch `json:"hosts,omitempty"`

	// The schemes that it may have: at most 8. Default https.
	//
	// +optional
	// +listType=set
	// +kubebuilder:default={https}
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MaxLength=32
	// +kubebuilder:validation:items:Pattern=`^[a-z][a-z0-9+.-]*$`
	Schemes []string `json:"schemes,omitempty"`

	// The ports that it may name, 1 to 65535: at most 16. Default: only the scheme's own.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:Minimum=1
	// +kubebuilder:validation:items:Maximum=65535
	Ports []int32 `json:"ports,omitempty"`
}
