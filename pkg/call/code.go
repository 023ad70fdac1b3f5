package call

// Code is the stable reason of a refusal: the only part of a decision that a peer sees. Codes are documented in
// docs/refusals.md and never change their meaning.
type Code string

const (
	EntitlementDenied   Code = "entitlement_denied"
	ScopeMissing        Code = "scope_missing"
	Unauthenticated     Code = "unauthenticated"
	TokenInvalid        Code = "token_invalid"
	ChainInvalid        Code = "chain_invalid"
	ChainUnbound        Code = "chain_unbound"
	ActorNotAllowed     Code = "actor_not_allowed"
	Quarantined         Code = "quarantined"
	RateLimited         Code = "rate_limited"
	BudgetExhausted     Code = "budget_exhausted"
	LoopDetected        Code = "loop_detected"
	DepthExceeded       Code = "depth_exceeded"
	GuardRejected       Code = "guard_rejected"
	SchemaInvalid       Code = "schema_invalid"
	DefinitionChanged   Code = "definition_changed"
	ApprovalRequired    Code = "approval_required"
	ApprovalRefused     Code = "approval_refused"
	Malformed           Code = "malformed"
	Ambiguous           Code = "ambiguous"
	TooLarge            Code = "too_large"
	UnsupportedVersion  Code = "unsupported_version"
	UpstreamUnavailable Code = "upstream_unavailable"
	PolicyError         Code = "policy_error"
)

// Codes lists every code, in the order of design: tables that map codes are tested against it.
func Codes() []Code {
	return []Code{
		EntitlementDenied, ScopeMissing, Unauthenticated, TokenInvalid, ChainInvalid, ChainUnbound, ActorNotAllowed,
		Quarantined, RateLimited, BudgetExhausted, LoopDetected, DepthExceeded, GuardRejected, SchemaInvalid,
		DefinitionChanged, ApprovalRequired, ApprovalRefused, Malformed, Ambiguous, TooLarge, UnsupportedVersion,
		UpstreamUnavailable, PolicyError,
	}
}
