package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// AgentAuthentication says whose tokens are believed, what a caller without a good one may expect, and which delegation
// chain a token has to prove.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:categories=waymark,shortName=aan
// +kubebuilder:printcolumn:name="Mode",type=string,JSONPath=`.spec.mode`
// +kubebuilder:printcolumn:name="Issuer",type=string,JSONPath=`.spec.issuers[0].issuer`
// +kubebuilder:printcolumn:name="Target",type=string,JSONPath=`.spec.targetRefs[0].name`
// +kubebuilder:printcolumn:name="Accepted",type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].status`
// +kubebuilder:printcolumn:name="Programmed",type=string,JSONPath=`.status.conditions[?(@.type=="Programmed")].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type AgentAuthentication struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// What the policy applies to, and what it asks of a token.
	//
	// +required
	Spec AgentAuthenticationSpec `json:"spec"`

	// What became of the policy; written by controllers.
	//
	// +optional
	Status PolicyStatus `json:"status,omitzero"`
}

// AgentAuthenticationList is a list of AgentAuthentication.
//
// +kubebuilder:object:root=true
type AgentAuthenticationList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []AgentAuthentication `json:"items"`
}

// AuthenticationMode says what becomes of a call whose token is missing or bad.
//
// +kubebuilder:validation:Enum=Strict;Optional;Permissive
type AuthenticationMode string

// The modes.
const (
	// AuthenticationStrict refuses a call without a valid token.
	AuthenticationStrict AuthenticationMode = "Strict"
	// AuthenticationOptional lets a call without a token pass, and refuses one with a bad token.
	AuthenticationOptional AuthenticationMode = "Optional"
	// AuthenticationPermissive refuses nothing: a bad token counts as none.
	AuthenticationPermissive AuthenticationMode = "Permissive"
)

// AgentAuthenticationSpec is what a policy applies to, and what it asks of a token.
//
// +kubebuilder:validation:XValidation:rule="has(self.issuers) || has(self.introspection) || has(self.externalAuthorization)",message="one of issuers, introspection and externalAuthorization is needed"
// +kubebuilder:validation:XValidation:rule="!has(self.chain) || has(self.issuers) || has(self.introspection)",message="chain needs issuers or introspection: something has to verify the token",fieldPath=".chain"
// +kubebuilder:validation:XValidation:rule="!has(self.chain) || self.mode == 'Strict'",message="chain needs mode Strict: in another mode a call without a token has no chain",fieldPath=".chain"
type AgentAuthenticationSpec struct {
	// What the policy is attached to, in its own namespace: at most 16. Without any, it applies to every service behind the
	// waypoints of its namespace and, in the root namespace, to the whole mesh.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	TargetRefs []TargetRef `json:"targetRefs,omitempty"`

	// What becomes of a call whose token is missing or bad: Strict refuses both, Optional only a bad token, Permissive neither.
	// Default Strict.
	//
	// +optional
	// +kubebuilder:default=Strict
	Mode AuthenticationMode `json:"mode,omitempty"`

	// Whose tokens are believed: at most 16, each issuer once.
	//
	// +optional
	// +listType=map
	// +listMapKey=issuer
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Issuers []Issuer `json:"issuers,omitempty"`

	// Where a token is looked for, in this order: at most 8. Default: the header Authorization after "Bearer ". A call with
	// tokens in several of them is refused.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	TokenLocations []TokenLocation `json:"tokenLocations,omitempty"`

	// What becomes of the verified token on the way to the destination: Forward leaves it as it is, Strip removes it. A
	// TokenExchange on the same destination replaces it, whatever this says. Default Forward.
	//
	// +optional
	// +kubebuilder:default=Forward
	// +kubebuilder:validation:Enum=Forward;Strip
	Token string `json:"token,omitempty"`

	// Whether the token has to be bound to the caller's certificate (RFC 8705, cnf with x5t#S256): IfPresent checks a binding
	// that is there, Required refuses a token without one. Default IfPresent.
	//
	// +optional
	// +kubebuilder:default=IfPresent
	// +kubebuilder:validation:Enum=IfPresent;Required
	ProofOfPossession string `json:"proofOfPossession,omitempty"`

	// Asks the issuer about tokens (RFC 7662).
	//
	// +optional
	Introspection *Introspection `json:"introspection,omitempty"`

	// Asks a service that speaks Envoy's ext_authz over gRPC, for example OPA.
	//
	// +optional
	ExternalAuthorization *ExternalAuthorization `json:"externalAuthorization,omitempty"`

	// The delegation chain that the token has to prove.
	//
	// +optional
	Chain *DelegationChain `json:"chain,omitempty"`

	// Claims that are sent on as headers: at most 32, each header once. A copy that the caller sent is removed first, in every
	// spelling, also when the token does not have the claim.
	//
	// +optional
	// +listType=map
	// +listMapKey=header
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	ClaimsToHeaders []ClaimToHeader `json:"claimsToHeaders,omitempty"`

	// Headers that are removed from requests, besides those by which callers commonly say who they are: at most 64.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	StripHeaders []HeaderName `json:"stripHeaders,omitempty"`

	// Protected-resource metadata (RFC 9728), served for the destination and named in WWW-Authenticate. Without it the
	// destination's own metadata passes untouched.
	//
	// +optional
	ResourceMetadata *ResourceMetadata `json:"resourceMetadata,omitempty"`
}

// TokenLocation is a place in a request where a token can be. There is none in the query, where logs would keep it.
//
// +kubebuilder:validation:XValidation:rule="has(self.header) != has(self.cookie)",message="exactly one of header and cookie"
type TokenLocation struct {
	// A header.
	//
	// +optional
	Header *TokenHeader `json:"header,omitempty"`

	// The name of a cookie: at most 128 characters.
	//
	// +optional
	Cookie HeaderName `json:"cookie,omitempty"`
}

// TokenHeader is a header that a token can be in.
type TokenHeader struct {
	// The header.
	//
	// +required
	Name HeaderName `json:"name"`

	// What stands before the token, the space included: at most 32 characters. Default: nothing.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^[!-~]+ ?$`
	Prefix string `json:"prefix,omitempty"`
}

// Introspection asks the issuer whether a token is good (RFC 7662). No answer is a refusal.
type Introspection struct {
	// Where to ask.
	//
	// +required
	Endpoint Endpoint `json:"endpoint"`

	// How the waypoint authenticates itself there. Default: by its certificate of the mesh.
	//
	// +optional
	// +kubebuilder:default={type: MutualTLS}
	ClientAuthentication ClientAuthentication `json:"clientAuthentication,omitzero"`

	// The audiences of which an answer has to have one: at most 16. Default: those of the issuer that the answer names, and of all
	// issuers if it names none. Without issuers this or anyAudience is needed.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=512
	Audiences []string `json:"audiences,omitempty"`

	// Waives the audience, and says why. A token for anybody is then a token for this destination.
	//
	// +optional
	AnyAudience *Waiver `json:"anyAudience,omitempty"`

	// Which tokens are asked about: Opaque are those that are no JWT, All also those that an issuer's keys verify. Default
	// Opaque.
	//
	// +optional
	// +kubebuilder:default=Opaque
	// +kubebuilder:validation:Enum=Opaque;All
	Tokens string `json:"tokens,omitempty"`

	// With tokens All: asks about a JWT only for calls of tools of these risk tiers. Default: for every call.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=4
	RiskTiers []RiskTier `json:"riskTiers,omitempty"`

	// How long a good answer is remembered, 0s (not at all) to 5m, never longer than the token lives. Default 30s.
	//
	// +optional
	// +kubebuilder:default="30s"
	// +kubebuilder:validation:XValidation:rule="duration(self) <= duration('5m')",message="cacheFor must be at most 5m"
	CacheFor Duration `json:"cacheFor,omitempty"`
}

// ExternalAuthorization asks a service that speaks Envoy's ext_authz over gRPC. It is told the decoded call: protocol,
// method, target, principal and chain. No answer is a refusal.
type ExternalAuthorization struct {
	// The service.
	//
	// +required
	BackendRef BackendRef `json:"backendRef"`

	// How long it may take, 10ms to 60s. Default 1s.
	//
	// +optional
	// +kubebuilder:default="1s"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('10ms') && duration(self) <= duration('60s')",message="timeout must be between 10ms and 60s"
	Timeout Duration `json:"timeout,omitempty"`

	// Whether it is told the arguments of the call too: None, Digest or Full. Default None.
	//
	// +optional
	// +kubebuilder:default=None
	// +kubebuilder:validation:Enum=None;Digest;Full
	Arguments string `json:"arguments,omitempty"`

	// Request headers that it is told: at most 64. The token is never one of them unless it is listed. Default none.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Headers []HeaderName `json:"headers,omitempty"`
}

// ClaimToHeader sends a claim on as a header.
type ClaimToHeader struct {
	// The claim. Strings, numbers and booleans are sent as they are, anything else is not sent.
	//
	// +required
	Claim ClaimPath `json:"claim"`

	// The header. Those that frame or route a request, or carry credentials or identities, cannot be set.
	//
	// +required
	// +kubebuilder:validation:XValidation:rule="!(self.lowerAscii() in ['authorization', 'connection', 'content-length', 'cookie', 'forwarded', 'host', 'keep-alive', 'proxy-authorization', 'te', 'trailer', 'transfer-encoding', 'upgrade', 'x-forwarded-client-cert', 'x-forwarded-for'])",message="header must not be one that frames or routes a request, or carries credentials or identities"
	Header HeaderName `json:"header"`
}

// ResourceMetadata is what a client learns about a protected resource (RFC 9728).
type ResourceMetadata struct {
	// The URL of the resource as clients write it. Default: that of the request.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:Pattern=`^https?://[^\s/?#@]+(/[^\s#]*)?$`
	Resource string `json:"resource,omitempty"`

	// The issuers whose authorization servers give tokens for it: at most 16.
	//
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	AuthorizationServers []HTTPSURL `json:"authorizationServers"`

	// The scopes that clients may ask for: at most 64. A call that is refused only for want of one of them gets a 403 that says so,
	// and lists show what it would permit.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Scopes []Scope `json:"scopes,omitempty"`

	// A name for people, at most 253 characters.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	DisplayName string `json:"displayName,omitempty"`

	// Where people can read about it.
	//
	// +optional
	Documentation HTTPSURL `json:"documentation,omitempty"`
}
