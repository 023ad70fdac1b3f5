package v1alpha1

// DelegationChain is what the token has to prove about who acts for whom: the user (sub), and the actors (act, nested), of
// which the last is the workload that holds the connection.
type DelegationChain struct {
	// The actors between the user and the destination, in the order in which they acted: the first one was asked by the user,
	// the last one calls us. At most 16.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Actors []ActorStep `json:"actors,omitempty"`

	// How actors are compared with the token's: Exact asks for these and no others, InOrder for these in this order with
	// others between them. Default Exact.
	//
	// +optional
	// +kubebuilder:default=Exact
	// +kubebuilder:validation:Enum=Exact;InOrder
	Match string `json:"match,omitempty"`

	// How many actors a token may have, 0 (no delegation) to 16. Default 8.
	//
	// +optional
	// +kubebuilder:default=8
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=16
	MaxDepth *int32 `json:"maxDepth,omitempty"`

	// Actors that may stand nowhere in the chain: at most 64.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	ForbiddenActors []StringMatch `json:"forbiddenActors,omitempty"`

	// What is asked of the user, who is the subject of the token.
	//
	// +optional
	User *ChainUser `json:"user,omitempty"`

	// How the last actor is found to be the workload that holds the connection. Default: its SPIFFE identity.
	//
	// +optional
	// +kubebuilder:default={type: SPIFFEID}
	Binding ActorBinding `json:"binding,omitzero"`

	// How old the token may be, by iat, 1s to 24h. Default: any age.
	//
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('24h')",message="maxAge must be between 1s and 24h"
	MaxAge Duration `json:"maxAge,omitempty"`

	// The claim that holds the transaction, for a token service that takes tokens of these issuers (waypoint sts): a subject token and an
	// actor token have to be of the same one, and so is what it gives out. Default txn.
	//
	// +optional
	// +kubebuilder:default=txn
	TransactionClaim ClaimPath `json:"transactionClaim,omitempty"`
}

// ActorStep is one place in a chain.
type ActorStep struct {
	// Who may stand here, by the sub of the act claim: at most 64.
	//
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	AnyOf []StringMatch `json:"anyOf"`
}

// ChainUser is what is asked of the user of a chain.
//
// +kubebuilder:validation:MinProperties=1
type ChainUser struct {
	// The claim sub is one of these: at most 64.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Subjects []StringMatch `json:"subjects,omitempty"`

	// Claims that the token has to have: at most 16. Every entry has to match.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	RequiredClaims []ClaimMatch `json:"requiredClaims,omitempty"`
}

// BindingType says how an actor of a token is compared with the workload that holds the connection.
//
// +kubebuilder:validation:Enum=SPIFFEID;ServiceAccount;Claim;Table;None
type BindingType string

// The types of binding.
const (
	BindSPIFFEID       BindingType = "SPIFFEID"       // act.sub is the SPIFFE identity, with or without spiffe://
	BindServiceAccount BindingType = "ServiceAccount" // act.sub is the name of the service account, or namespace/name
	BindClaim          BindingType = "Claim"          // a claim of the actor is the SPIFFE identity
	BindTable          BindingType = "Table"          // a table says which identities an actor has
	BindNone           BindingType = "None"           // the actor is believed without proof
)

// ActorBinding says how the last actor is found to be the workload that holds the connection.
//
// +kubebuilder:validation:XValidation:rule="has(self.claim) == (self.type == 'Claim')",message="claim is needed for type Claim, and only there",fieldPath=".claim"
// +kubebuilder:validation:XValidation:rule="has(self.table) == (self.type == 'Table')",message="table is needed for type Table, and only there",fieldPath=".table"
// +kubebuilder:validation:XValidation:rule="has(self.waiver) == (self.type == 'None')",message="waiver is needed for type None, and only there",fieldPath=".waiver"
type ActorBinding struct {
	// SPIFFEID: the actor is the caller's SPIFFE identity. ServiceAccount: it is the name of the caller's service account.
	// Claim: a claim of the actor is the identity. Table: a table says which identities the actor has. None: the actor is
	// believed without proof. Default SPIFFEID.
	//
	// +optional
	// +kubebuilder:default=SPIFFEID
	Type BindingType `json:"type,omitempty"`

	// The claim beside the actor's sub that holds the identity.
	//
	// +optional
	Claim ClaimPath `json:"claim,omitempty"`

	// Which identities actors have: at most 128, each actor once.
	//
	// +optional
	// +listType=map
	// +listMapKey=actor
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=128
	Table []ActorPrincipals `json:"table,omitempty"`

	// Why the actor is believed without proof.
	//
	// +optional
	Waiver *Waiver `json:"waiver,omitempty"`
}

// ActorPrincipals says which identities an actor has.
type ActorPrincipals struct {
	// The sub of the act claim, compared byte for byte: at most 512 characters.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Actor string `json:"actor"`

	// Its SPIFFE identities: at most 16.
	//
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Principals []StringMatch `json:"principals"`
}
