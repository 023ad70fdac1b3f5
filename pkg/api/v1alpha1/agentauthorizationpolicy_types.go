package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Action is what a policy does with a call that one of its rules matches.
//
// +kubebuilder:validation:Enum=ALLOW;DENY;AUDIT;REQUIRE_APPROVAL;CUSTOM
type Action string

const (
	// Allow lets the call pass. Once any ALLOW policy applies to a service, nothing passes that no ALLOW rule matches.
	Allow Action = "ALLOW"
	// Deny refuses the call, whatever any ALLOW rule says.
	Deny Action = "DENY"
	// Audit notes the call in the audit record and changes nothing.
	Audit Action = "AUDIT"
	// RequireApproval lets the call pass only after a person approved it. There are no approvals yet: every call that
	// matches is refused with approval_required.
	RequireApproval Action = "REQUIRE_APPROVAL"
	// Custom asks an external authorization service about the call, before any other rule. What it lets pass is judged by the
	// other policies as usual.
	Custom Action = "CUSTOM"
)

// Protocol is what a connection speaks, as the waypoint decoded it.
//
// +kubebuilder:validation:Enum=mcp;a2a;http;tcp
type Protocol string

// The protocols.
const (
	MCP  Protocol = "mcp"
	A2A  Protocol = "a2a"
	HTTP Protocol = "http"
	TCP  Protocol = "tcp" // raw bytes, and TLS that the waypoint does not terminate
)

// AgentAuthorizationPolicy says who may do what: Istio's AuthorizationPolicy, extended by what agents name when they call
// (tools, resources, prompts, JSON-RPC methods and arguments).
//
// The annotation istio.io/dry-run: "true" makes the waypoint evaluate the policy and record what it would have done,
// without doing it.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:categories=waymark,shortName=aap
// +kubebuilder:printcolumn:name="Action",type=string,JSONPath=`.spec.action`
// +kubebuilder:printcolumn:name="Target",type=string,JSONPath=`.spec.targetRefs[0].name`
// +kubebuilder:printcolumn:name="Accepted",type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].status`
// +kubebuilder:printcolumn:name="Programmed",type=string,JSONPath=`.status.conditions[?(@.type=="Programmed")].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type AgentAuthorizationPolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// What the policy applies to, what it does and when.
	//
	// +required
	Spec AgentAuthorizationPolicySpec `json:"spec"`

	// What became of the policy; written by controllers.
	//
	// +optional
	Status PolicyStatus `json:"status,omitzero"`
}

// AgentAuthorizationPolicyList is a list of AgentAuthorizationPolicy.
//
// +kubebuilder:object:root=true
type AgentAuthorizationPolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []AgentAuthorizationPolicy `json:"items"`
}

// AgentAuthorizationPolicySpec is what a policy applies to, what it does and when.
//
// +kubebuilder:validation:XValidation:rule="has(self.externalAuthorization) == (has(self.action) && self.action == 'CUSTOM')",message="externalAuthorization belongs to the action CUSTOM, which needs it",fieldPath=".externalAuthorization"
type AgentAuthorizationPolicySpec struct {
	// What the policy is attached to, in its own namespace: a Service, a ServiceEntry, or a Gateway of class
	// waymark-waypoint. Without any, it applies to every service behind the waypoints of its namespace and, in the root
	// namespace, to the whole mesh.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	TargetRefs []TargetRef `json:"targetRefs,omitempty"`

	// What to do with a call that a rule matches: ALLOW, DENY, AUDIT (only a note in the audit record), REQUIRE_APPROVAL, or
	// CUSTOM, which asks the service in externalAuthorization. Default ALLOW.
	//
	// +optional
	// +kubebuilder:default=ALLOW
	Action Action `json:"action,omitempty"`

	// A call matches the policy if it matches any rule. A policy without rules never matches: with ALLOW it thereby lets
	// nothing pass. A rule without any part matches every call.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=512
	Rules []Rule `json:"rules,omitempty"`

	// With CUSTOM: the service that is asked about calls which a rule matches. No answer is a refusal.
	//
	// +optional
	ExternalAuthorization *ExternalAuthorization `json:"externalAuthorization,omitempty"`
}

// Rule matches a call if any entry of from, any entry of to and every entry of when do. A part that is left out matches
// every call.
type Rule struct {
	// Who calls.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=512
	From []From `json:"from,omitempty"`

	// What is called.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=512
	To []To `json:"to,omitempty"`

	// Under which further conditions.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	When []Condition `json:"when,omitempty"`
}

// From is one kind of caller.
type From struct {
	// The callers: every field that is present has to match.
	//
	// +required
	Source Source `json:"source"`
}

// To is one kind of call.
type To struct {
	// The calls: every field that is present has to match.
	//
	// +required
	Operation Operation `json:"operation"`
}

// Source matches a caller if every field that is present does. A field matches if any of its values does; a field whose
// name begins with "not" matches if none does. Values are exact, "prefix*", "*suffix", or "*" for anything that is
// present.
//
// +kubebuilder:validation:MinProperties=1
// +kubebuilder:validation:XValidation:rule="!(has(self.serviceAccounts) || has(self.notServiceAccounts)) || !(has(self.principals) || has(self.notPrincipals) || has(self.namespaces) || has(self.notNamespaces))",message="serviceAccounts cannot be combined with principals or namespaces"
type Source struct {
	// SPIFFE identities from the caller's certificate: cluster.local/ns/bank/sa/teller, with or without spiffe:// in front.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=512
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=2048
	// +kubebuilder:validation:items:Pattern=`^(\*|\*?[^*]+|[^*]+\*)$`
	Principals []string `json:"principals,omitempty"`

	// As principals, but none of these may match.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=512
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=2048
	// +kubebuilder:validation:items:Pattern=`^(\*|\*?[^*]+|[^*]+\*)$`
	NotPrincipals []string `json:"notPrincipals,omitempty"`

	// Kubernetes namespaces, read from the SPIFFE identity.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=512
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=320
	// +kubebuilder:validation:items:Pattern=`^(\*|\*?[^*]+|[^*]+\*)$`
	Namespaces []string `json:"namespaces,omitempty"`

	// As namespaces, but none of these may match.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=512
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=320
	// +kubebuilder:validation:items:Pattern=`^(\*|\*?[^*]+|[^*]+\*)$`
	NotNamespaces []string `json:"notNamespaces,omitempty"`

	// Service accounts as namespace/name, or as name in the policy's own namespace. Always exact, and not together with
	// principals or namespaces.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=320
	// +kubebuilder:validation:items:Pattern=`^[^*/]+(/[^*/]+)?$`
	ServiceAccounts []string `json:"serviceAccounts,omitempty"`

	// As serviceAccounts, but none of these may match.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=320
	// +kubebuilder:validation:items:Pattern=`^[^*/]+(/[^*/]+)?$`
	NotServiceAccounts []string `json:"notServiceAccounts,omitempty"`

	// Who the token speaks of, as issuer/subject: https://idp.example.com/alice. A call without a verified token matches none.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=512
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=2048
	// +kubebuilder:validation:items:Pattern=`^(\*|\*?[^*]+|[^*]+\*)$`
	RequestPrincipals []string `json:"requestPrincipals,omitempty"`

	// As requestPrincipals, but none of these may match. A call without a verified token has none, and matches.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=512
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=2048
	// +kubebuilder:validation:items:Pattern=`^(\*|\*?[^*]+|[^*]+\*)$`
	NotRequestPrincipals []string `json:"notRequestPrincipals,omitempty"`

	// Those that act for the user, in any place of the token's delegation chain: the sub of one of its act claims. A call without a
	// chain matches none.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=512
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=2048
	// +kubebuilder:validation:items:Pattern=`^(\*|\*?[^*]+|[^*]+\*)$`
	Actors []string `json:"actors,omitempty"`

	// As actors, but none of these may match, in any place of the chain. A call without a chain has none, and matches.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=512
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=2048
	// +kubebuilder:validation:items:Pattern=`^(\*|\*?[^*]+|[^*]+\*)$`
	NotActors []string `json:"notActors,omitempty"`

	// Addresses or CIDR blocks of the caller's TCP peer address: the client pod's.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=512
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=64
	// +kubebuilder:validation:items:Pattern=`^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$`
	IPBlocks []string `json:"ipBlocks,omitempty"`

	// As ipBlocks, but none of these may match.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=512
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=64
	// +kubebuilder:validation:items:Pattern=`^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$`
	NotIPBlocks []string `json:"notIpBlocks,omitempty"`
}

// Operation matches a call if every field that is present does; values are as in Source.
//
// The fields tools, resources and prompts (and their opposites) each speak of one kind of target: an operation with one
// of them matches only calls that name such a target, and cannot name two kinds.
//
// +kubebuilder:validation:MinProperties=1
// +kubebuilder:validation:XValidation:rule="!(has(self.tools) || has(self.notTools)) || !(has(self.resources) || has(self.notResources) || has(self.prompts) || has(self.notPrompts))",message="tools cannot be combined with resources or prompts: a call names only one; write two entries"
// +kubebuilder:validation:XValidation:rule="!(has(self.resources) || has(self.notResources)) || !(has(self.prompts) || has(self.notPrompts))",message="resources cannot be combined with prompts: a call names only one; write two entries"
type Operation struct {
	// What the connection speaks.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=4
	Protocols []Protocol `json:"protocols,omitempty"`

	// JSON-RPC methods of MCP and A2A calls (tools/call), HTTP methods of plain HTTP requests (GET; gRPC is POST).
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=512
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=256
	// +kubebuilder:validation:items:Pattern=`^(\*|\*?[^*]+|[^*]+\*)$`
	Methods []string `json:"methods,omitempty"`

	// As methods, but none of these may match.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=512
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=256
	// +kubebuilder:validation:items:Pattern=`^(\*|\*?[^*]+|[^*]+\*)$`
	NotMethods []string `json:"notMethods,omitempty"`

	// Names of MCP tools. They are compared byte for byte: no trimming, no case folding, no Unicode normalisation.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=512
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=1024
	// +kubebuilder:validation:items:Pattern=`^(\*|\*?[^*]+|[^*]+\*)$`
	Tools []string `json:"tools,omitempty"`

	// As tools, but none of these may match.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=512
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=1024
	// +kubebuilder:validation:items:Pattern=`^(\*|\*?[^*]+|[^*]+\*)$`
	NotTools []string `json:"notTools,omitempty"`

	// URIs of MCP resources. An exact value is compared byte for byte. Once a policy has a prefix or suffix value, a URI
	// that could be read in two ways (user information, dot segments, needless escapes, …) is refused.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=512
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=4096
	// +kubebuilder:validation:items:Pattern=`^(\*|\*?[^*]+|[^*]+\*)$`
	Resources []string `json:"resources,omitempty"`

	// As resources, but none of these may match.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=512
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=4096
	// +kubebuilder:validation:items:Pattern=`^(\*|\*?[^*]+|[^*]+\*)$`
	NotResources []string `json:"notResources,omitempty"`

	// Names of MCP prompts.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=512
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=1024
	// +kubebuilder:validation:items:Pattern=`^(\*|\*?[^*]+|[^*]+\*)$`
	Prompts []string `json:"prompts,omitempty"`

	// As prompts, but none of these may match.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=512
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=1024
	// +kubebuilder:validation:items:Pattern=`^(\*|\*?[^*]+|[^*]+\*)$`
	NotPrompts []string `json:"notPrompts,omitempty"`

	// The HTTP host (:authority), port included where it has one; compared without regard to case.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=512
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=260
	// +kubebuilder:validation:items:Pattern=`^(\*|\*?[^*]+|[^*]+\*)$`
	Hosts []string `json:"hosts,omitempty"`

	// As hosts, but none of these may match.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=512
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=260
	// +kubebuilder:validation:items:Pattern=`^(\*|\*?[^*]+|[^*]+\*)$`
	NotHosts []string `json:"notHosts,omitempty"`

	// Ports of the service (not of the pod), as strings.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=5
	// +kubebuilder:validation:items:Pattern=`^[1-9][0-9]{0,4}$`
	Ports []string `json:"ports,omitempty"`

	// As ports, but none of these may match.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=5
	// +kubebuilder:validation:items:Pattern=`^[1-9][0-9]{0,4}$`
	NotPorts []string `json:"notPorts,omitempty"`

	// The path of the HTTP request, without its query.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=512
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=4096
	// +kubebuilder:validation:items:Pattern=`^(\*|\*?[^*]+|[^*]+\*)$`
	Paths []string `json:"paths,omitempty"`

	// As paths, but none of these may match.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=512
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=4096
	// +kubebuilder:validation:items:Pattern=`^(\*|\*?[^*]+|[^*]+\*)$`
	NotPaths []string `json:"notPaths,omitempty"`

	// What the arguments of the call must be. Every entry has to match.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Arguments []Argument `json:"arguments,omitempty"`
}

// Argument matches one value inside a call's arguments. Every field that is present has to match.
//
// A value that is not there does not match values, min or max. A value of another type than the field asks for (a list
// where a string is expected) decides against the caller: it does not match in an ALLOW policy and does in every other.
//
// +kubebuilder:validation:MinProperties=2
type Argument struct {
	// Where the value is: an RFC 6901 JSON pointer into the arguments, for example /amount or /items/0/name.
	//
	// +required
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:Pattern=`^(/([^~/]|~[01])*)+$`
	Pointer string `json:"pointer"`

	// The value is a string and one of these, each exact, "prefix*", "*suffix" or "*".
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=512
	// +kubebuilder:validation:items:MaxLength=4096
	// +kubebuilder:validation:items:Pattern=`^(\*|\*?[^*]*|[^*]+\*)$`
	Values []string `json:"values,omitempty"`

	// The value is a string and none of these. A value that is not there decides against the caller.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=512
	// +kubebuilder:validation:items:MaxLength=4096
	// +kubebuilder:validation:items:Pattern=`^(\*|\*?[^*]*|[^*]+\*)$`
	NotValues []string `json:"notValues,omitempty"`

	// The value is a number and not less than this. Compared exactly, as decimal numbers.
	//
	// +optional
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:Pattern=`^-?(0|[1-9][0-9]*)(\.[0-9]+)?$`
	Min *Decimal `json:"min,omitempty"`

	// The value is a number and not greater than this. Compared exactly, as decimal numbers.
	//
	// +optional
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:Pattern=`^-?(0|[1-9][0-9]*)(\.[0-9]+)?$`
	Max *Decimal `json:"max,omitempty"`

	// The value is there (true) or is not (false). A JSON null is there.
	//
	// +optional
	Present *bool `json:"present,omitempty"`
}

// Condition is either a key with values or a CEL expression.
//
// +kubebuilder:validation:XValidation:rule="has(self.cel) != has(self.key)",message="exactly one of key and cel"
// +kubebuilder:validation:XValidation:rule="has(self.key) == (has(self.values) || has(self.notValues))",message="key needs values or notValues, and cel takes neither"
type Condition struct {
	// An attribute of the call: request.headers[name], source.ip, source.namespace, source.serviceAccount,
	// source.principal, source.trustDomain, destination.port, request.auth.principal, request.auth.audiences,
	// request.auth.presenter, request.auth.claims[name], also nested, request.auth.authorizationDetails (the types of the
	// token's authorization details that cover the call, RFC 9396), mcp.methodName, mcp.tool.name, mcp.resource.uri or
	// mcp.prompt.name. A key that is not in this list is refused.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:Pattern=`^(request\.headers\[[A-Za-z0-9!#$%&'*+.^_|~-]+\]|request\.auth\.(principal|audiences|presenter|authorizationDetails|claims(\[[^\[\]]+\])+)|source\.(ip|namespace|serviceAccount|principal|trustDomain)|destination\.port|mcp\.(methodName|tool\.name|resource\.uri|prompt\.name))$`
	Key string `json:"key,omitempty"`

	// The attribute is one of these. CIDR blocks for source.ip, otherwise exact, "prefix*", "*suffix" or "*".
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=512
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=4096
	// +kubebuilder:validation:items:Pattern=`^(\*|\*?[^*]+|[^*]+\*)$`
	Values []string `json:"values,omitempty"`

	// The attribute is none of these.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=512
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=4096
	// +kubebuilder:validation:items:Pattern=`^(\*|\*?[^*]+|[^*]+\*)$`
	NotValues []string `json:"notValues,omitempty"`

	// An expression of the Common Expression Language that yields a bool. It is compiled when the policy is loaded; an
	// unknown variable, function or field is refused then.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=8192
	CEL string `json:"cel,omitempty"`
}
