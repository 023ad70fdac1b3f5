package v1alpha1

// Issuer is one issuer of JWTs, and what is asked of them.
//
// +kubebuilder:validation:XValidation:rule="has(self.audiences) != has(self.anyAudience)",message="exactly one of audiences and anyAudience",fieldPath=".audiences"
type Issuer struct {
	// The claim iss, compared byte for byte: at most 512 characters.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Issuer string `json:"issuer"`

	// The audiences of which the token has to have one: at most 64, compared byte for byte.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=512
	Audiences []string `json:"audiences,omitempty"`

	// Waives the audience, and says why. A token for anybody is then a token for this destination.
	//
	// +optional
	AnyAudience *Waiver `json:"anyAudience,omitempty"`

	// The algorithms that a signature may have. Symmetric ones and none do not exist here. Default RS256 and ES256.
	//
	// +optional
	// +listType=set
	// +kubebuilder:default={RS256,ES256}
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=10
	Algorithms []SignatureAlgorithm `json:"algorithms,omitempty"`

	// Where the issuer's public keys are.
	//
	// +required
	JWKS JWKS `json:"jwks"`

	// The values that the header typ may have, in any case, for example at+jwt: at most 8. Default: any, or none.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=64
	Types []string `json:"types,omitempty"`

	// How far the issuer's clock may be off, 0s to 30s. Default 10s.
	//
	// +optional
	// +kubebuilder:default="10s"
	// +kubebuilder:validation:XValidation:rule="duration(self) <= duration('30s')",message="clockSkew must be at most 30s"
	ClockSkew Duration `json:"clockSkew,omitempty"`

	// How long a token may live from iat to exp, 1s to 8760h. A token without iat is refused then. Default: any time.
	//
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('8760h')",message="maxLifetime must be between 1s and 8760h"
	MaxLifetime Duration `json:"maxLifetime,omitempty"`

	// Claims that the token has to have: at most 16. Every entry has to match.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	RequiredClaims []ClaimMatch `json:"requiredClaims,omitempty"`
}

// Waiver gives up a check, and says why.
type Waiver struct {
	// Why the check is given up: one sentence for whoever reviews the policy, at most 1024 characters.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Reason string `json:"reason"`
}

// SignatureAlgorithm is an asymmetric algorithm of JWS.
//
// +kubebuilder:validation:Enum=RS256;RS384;RS512;PS256;PS384;PS512;ES256;ES384;ES512;EdDSA
type SignatureAlgorithm string

// JWKS says where an issuer's public keys are.
//
// +kubebuilder:validation:XValidation:rule="[has(self.remote), has(self.inline), has(self.configMapRef)].filter(x, x).size() == 1",message="exactly one of remote, inline and configMapRef"
type JWKS struct {
	// Keys that are fetched.
	//
	// +optional
	Remote *RemoteJWKS `json:"remote,omitempty"`

	// The key set itself, as JSON: at most 65536 characters. Public keys only.
	//
	// +optional
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=65536
	// +kubebuilder:validation:XValidation:rule="!self.matches('\"(d|p|q|dp|dq|qi|k)\"[ \\\\t\\\\r\\\\n]*:')",message="inline must hold public keys only: it is readable by whoever may read the policy"
	Inline string `json:"inline,omitempty"`

	// A key set in a ConfigMap.
	//
	// +optional
	ConfigMapRef *ConfigMapKeyRef `json:"configMapRef,omitempty"`
}

// RemoteJWKS is a key set that is fetched.
type RemoteJWKS struct {
	// Where from.
	//
	// +required
	Endpoint Endpoint `json:"endpoint"`

	// How often the keys are fetched anew, 10s to 24h. Default 5m. An unknown key id fetches them earlier, at most once in ten
	// seconds.
	//
	// +optional
	// +kubebuilder:default="5m"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('10s') && duration(self) <= duration('24h')",message="refreshInterval must be between 10s and 24h"
	RefreshInterval Duration `json:"refreshInterval,omitempty"`

	// How long keys are used while they cannot be fetched anew, 0s to 168h. After that tokens of this issuer are refused.
	// Default 1h.
	//
	// +optional
	// +kubebuilder:default="1h"
	// +kubebuilder:validation:XValidation:rule="duration(self) <= duration('168h')",message="maxStale must be at most 168h"
	MaxStale Duration `json:"maxStale,omitempty"`
}

// ClaimMatch asks for a claim of a token.
type ClaimMatch struct {
	// Which claim: sub, or realm.roles.
	//
	// +required
	Claim ClaimPath `json:"claim"`

	// The claim is a string and one of these, or a list that has one of these: at most 64. The claims scope and permission are
	// taken apart at spaces.
	//
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Values []StringMatch `json:"values"`
}
