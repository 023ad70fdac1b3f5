package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// TokenExchange says which token travels on (RFC 8693): at the waypoint, for which the caller's token is traded; at the
// token service, who may trade which.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:categories=waymark,shortName=tex
// +kubebuilder:printcolumn:name="Audience",type=string,JSONPath=`.spec.exchange.audiences[0]`
// +kubebuilder:printcolumn:name="Failure",type=string,JSONPath=`.spec.exchange.onFailure`
// +kubebuilder:printcolumn:name="Target",type=string,JSONPath=`.spec.targetRefs[0].name`
// +kubebuilder:printcolumn:name="Accepted",type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].status`
// +kubebuilder:printcolumn:name="Programmed",type=string,JSONPath=`.status.conditions[?(@.type=="Programmed")].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type TokenExchange struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// What is traded, or who may trade.
	//
	// +required
	Spec TokenExchangeSpec `json:"spec"`

	// What became of the policy; written by controllers.
	//
	// +optional
	Status PolicyStatus `json:"status,omitzero"`
}

// TokenExchangeList is a list of TokenExchange.
//
// +kubebuilder:object:root=true
type TokenExchangeList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []TokenExchange `json:"items"`
}

// TokenExchangeSpec is one side of the exchange.
//
// +kubebuilder:validation:XValidation:rule="has(self.exchange) != has(self.grants)",message="exactly one of exchange and grants"
// +kubebuilder:validation:XValidation:rule="!has(self.grants) || !has(self.targetRefs)",message="targetRefs belongs to exchange: grants are the token service's",fieldPath=".targetRefs"
type TokenExchangeSpec struct {
	// Calls to what are exchanged for, in the policy's own namespace: at most 16. Without any, to every service behind the
	// waypoints of its namespace and, in the root namespace, of the whole mesh.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	TargetRefs []TargetRef `json:"targetRefs,omitempty"`

	// What the waypoint does before a call goes on. The caller's own token never does.
	//
	// +optional
	Exchange *Exchange `json:"exchange,omitempty"`

	// What the token service of this namespace permits: at most 64, each name once. What none permits is refused.
	//
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Grants []ExchangeGrant `json:"grants,omitempty"`
}

// Exchange is what the waypoint asks a token service for.
type Exchange struct {
	// The token endpoint.
	//
	// +required
	Endpoint Endpoint `json:"endpoint"`

	// How the waypoint authenticates itself there. Default: by its certificate of the mesh.
	//
	// +optional
	// +kubebuilder:default={type: MutualTLS}
	ClientAuthentication ClientAuthentication `json:"clientAuthentication,omitzero"`

	// The audiences asked for: at most 8.
	//
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=512
	Audiences []string `json:"audiences"`

	// The resources asked for (RFC 8707), absolute URIs without fragment: at most 8. Default none.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=2048
	// +kubebuilder:validation:items:Pattern=`^[A-Za-z][A-Za-z0-9+.-]*:[^\s#]+$`
	Resources []string `json:"resources,omitempty"`

	// The scopes asked for: at most 64. Default: those of the caller's token.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Scopes []Scope `json:"scopes,omitempty"`

	// The type of the caller's token: JWT, AccessToken or IDToken. Default JWT.
	//
	// +optional
	// +kubebuilder:default=JWT
	// +kubebuilder:validation:Enum=JWT;AccessToken;IDToken
	SubjectTokenType string `json:"subjectTokenType,omitempty"`

	// The type of the token asked for: JWT or AccessToken. Default AccessToken.
	//
	// +optional
	// +kubebuilder:default=AccessToken
	// +kubebuilder:validation:Enum=JWT;AccessToken
	RequestedTokenType string `json:"requestedTokenType,omitempty"`

	// Whom the new token names as the new actor: Caller is the workload that calls, None asks for no delegation, so that the
	// token service decides whether it gives one. Default Caller.
	//
	// +optional
	// +kubebuilder:default=Caller
	// +kubebuilder:validation:Enum=Caller;None
	Actor string `json:"actor,omitempty"`

	// What becomes of a call without a token to exchange: Refuse, or Forward as it is. Default Refuse.
	//
	// +optional
	// +kubebuilder:default=Refuse
	// +kubebuilder:validation:Enum=Refuse;Forward
	OnMissingToken string `json:"onMissingToken,omitempty"`

	// What becomes of a call when the exchange fails: Refuse, or ForwardWithoutToken. The caller's own token is never sent
	// instead. Default Refuse.
	//
	// +optional
	// +kubebuilder:default=Refuse
	// +kubebuilder:validation:Enum=Refuse;ForwardWithoutToken
	OnFailure string `json:"onFailure,omitempty"`

	// Where the new token is put. Default: the header Authorization after "Bearer ".
	//
	// +optional
	// +kubebuilder:default={name: Authorization, prefix: "Bearer "}
	Header TokenHeader `json:"header,omitzero"`

	// How long a new token is used at most, 0s (for one call) to 24h, never longer than it lives. Default 5m.
	//
	// +optional
	// +kubebuilder:default="5m"
	// +kubebuilder:validation:XValidation:rule="duration(self) <= duration('24h')",message="cacheFor must be at most 24h"
	CacheFor Duration `json:"cacheFor,omitempty"`
}

// ClientAuthenticationType says how a client authenticates itself to an OAuth server.
//
// +kubebuilder:validation:Enum=MutualTLS;ServiceAccountToken;PrivateKeyJWT;ClientSecretBasic;ClientSecretPost
type ClientAuthenticationType string

// The types of client authentication.
const (
	ClientMutualTLS           ClientAuthenticationType = "MutualTLS"           // by the waypoint's certificate of the mesh
	ClientServiceAccountToken ClientAuthenticationType = "ServiceAccountToken" // by a token of the waypoint's service account
	ClientPrivateKeyJWT       ClientAuthenticationType = "PrivateKeyJWT"       // RFC 7523, by a private key
	ClientSecretBasic         ClientAuthenticationType = "ClientSecretBasic"   // by a secret in the Authorization header
	ClientSecretPost          ClientAuthenticationType = "ClientSecretPost"    // by a secret in the form
)

// ClientAuthentication says how the waypoint authenticates itself to an OAuth server.
//
// +kubebuilder:validation:XValidation:rule="has(self.secretRef) == (self.type in ['PrivateKeyJWT', 'ClientSecretBasic', 'ClientSecretPost'])",message="secretRef is needed for PrivateKeyJWT, ClientSecretBasic and ClientSecretPost, and only there",fieldPath=".secretRef"
// +kubebuilder:validation:XValidation:rule="has(self.clientID) || !(self.type in ['PrivateKeyJWT', 'ClientSecretBasic', 'ClientSecretPost'])",message="clientID is needed for PrivateKeyJWT, ClientSecretBasic and ClientSecretPost",fieldPath=".clientID"
// +kubebuilder:validation:XValidation:rule="!(has(self.algorithm) || has(self.keyID)) || self.type == 'PrivateKeyJWT'",message="algorithm and keyID belong to PrivateKeyJWT",fieldPath=".algorithm"
// +kubebuilder:validation:XValidation:rule="!has(self.audience) || !(self.type in ['ClientSecretBasic', 'ClientSecretPost'])",message="audience belongs to MutualTLS, PrivateKeyJWT and ServiceAccountToken",fieldPath=".audience"
type ClientAuthentication struct {
	// MutualTLS: by the waypoint's certificate of the mesh. ServiceAccountToken: by a token of its service account.
	// PrivateKeyJWT: by an assertion that a private key signs. ClientSecretBasic, ClientSecretPost: by a secret, in the
	// Authorization header or in the form. Default MutualTLS.
	//
	// +optional
	// +kubebuilder:default=MutualTLS
	Type ClientAuthenticationType `json:"type,omitempty"`

	// The client_id: at most 512 characters. Default: none.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	ClientID string `json:"clientID,omitempty"`

	// The private key (PEM, PKCS #8) or the secret.
	//
	// +optional
	SecretRef *SecretKeyRef `json:"secretRef,omitempty"`

	// The algorithm of the assertion. Default: what suits the key.
	//
	// +optional
	Algorithm SignatureAlgorithm `json:"algorithm,omitempty"`

	// The kid of the assertion: at most 256 characters. Default: none.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	KeyID string `json:"keyID,omitempty"`

	// The audience of what the waypoint signs (an assertion; with actor Caller, who calls) or of the service account's token: at
	// most 512 characters. Default: the endpoint's URL.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Audience string `json:"audience,omitempty"`
}

// Scope is one scope of OAuth: at most 256 printable characters without space, quote and backslash.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=256
// +kubebuilder:validation:Pattern=`^[!#-\[\]-~]+$`
type Scope string

// ExchangeGrant is one permission of the token service. Every field that is present has to match. What comes out is never
// more than what went in: scopes, audiences and lifetime are those of the tokens at most.
type ExchangeGrant struct {
	// What records call the grant.
	//
	// +required
	Name Name `json:"name"`

	// Who may ask: workloads by SPIFFE identity, with or without spiffe://, other clients by client_id: at most 64.
	//
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Clients []StringMatch `json:"clients"`

	// The audiences that they may ask for, exact: at most 64.
	//
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=512
	Audiences []string `json:"audiences"`

	// The scopes that they may ask for: at most 64. Default none.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Scopes []Scope `json:"scopes,omitempty"`

	// The issuers of subject tokens, exact: at most 16. Default: those that the token service itself accepts.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=512
	Issuers []string `json:"issuers,omitempty"`

	// The users for whom: at most 64. Default: all.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Subjects []StringMatch `json:"subjects,omitempty"`

	// Clients that may ask for the others, by SPIFFE identity or client_id: waypoints, which know by its certificate who calls. They
	// say with an actor token that they sign themselves for whom: at most 16. Default none.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Forwarders []StringMatch `json:"forwarders,omitempty"`

	// Whether the subject token has to say that the client may act (RFC 8693, may_act): Required refuses one that does not,
	// IfPresent only one that names somebody else. Default Required.
	//
	// +optional
	// +kubebuilder:default=Required
	// +kubebuilder:validation:Enum=Required;IfPresent
	MayAct string `json:"mayAct,omitempty"`

	// Who may exchange the new token in turn, as the sub of its may_act: at most 512 characters. Default: nobody by a grant that
	// asks for may_act.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	NextActor string `json:"nextActor,omitempty"`

	// What comes out: Delegation names the client as the actor, Impersonation is a token as if the user had asked. Default
	// Delegation.
	//
	// +optional
	// +kubebuilder:default=Delegation
	// +kubebuilder:validation:Enum=Delegation;Impersonation
	Semantics string `json:"semantics,omitempty"`

	// How many actors a new token may have, 1 to 16. Default 8.
	//
	// +optional
	// +kubebuilder:default=8
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=16
	MaxDepth *int32 `json:"maxDepth,omitempty"`

	// How long a new token lives at most, 1s to 24h. Default 5m.
	//
	// +optional
	// +kubebuilder:default="5m"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('24h')",message="maxLifetime must be between 1s and 24h"
	MaxLifetime Duration `json:"maxLifetime,omitempty"`

	// How many tokens one client gets by this grant in a minute, 1 to 1000000. Default 600.
	//
	// +optional
	// +kubebuilder:default=600
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	PerMinute *int32 `json:"perMinute,omitempty"`
}
