package v1alpha1

// Name is the name of an entry of a list: at most 63 characters of a-z, 0-9 and -. It is what records and metrics call the
// entry, and unique in its list.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=63
// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
type Name string

// Duration is a length of time as Gateway API writes it: whole numbers with the units h, m, s and ms, for example 30s or
// 1h30m.
//
// +kubebuilder:validation:MinLength=2
// +kubebuilder:validation:MaxLength=32
// +kubebuilder:validation:Pattern=`^([0-9]{1,5}(h|m|s|ms)){1,4}$`
type Duration string

// StringMatch is exact, "prefix*", "*suffix", or "*" for anything that is there. It is compared byte for byte. A star
// anywhere else is refused.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=1024
// +kubebuilder:validation:Pattern=`^(\*|\*?[^*]+|[^*]+\*)$`
type StringMatch string

// CEL is an expression of the Common Expression Language over the variables of docs/policy.md. It is compiled when the
// policy is loaded; an unknown variable, function or field is refused then.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=8192
type CEL string

// Digest is a SHA-256 in hexadecimal: sha256: and 64 digits in lower case.
//
// +kubebuilder:validation:MaxLength=71
// +kubebuilder:validation:Pattern=`^sha256:[0-9a-f]{64}$`
type Digest string

// HeaderName is the name of an HTTP header, in any case: at most 128 characters.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=128
// +kubebuilder:validation:Pattern=`^[A-Za-z0-9!#$%&'*+.^_|~-]+$`
type HeaderName string

// HTTPSURL is an absolute https URL without user information and fragment: at most 2048 characters.
//
// +kubebuilder:validation:MaxLength=2048
// +kubebuilder:validation:Pattern=`^https://([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?([/?][^\s#]*)?$`
type HTTPSURL string

// ClaimPath leads to a claim of a token: names with dots between them, sub or realm.roles. A dot inside a name is written
// as \. and a backslash as \\. At most 256 characters.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=256
// +kubebuilder:validation:Pattern=`^([^.\\]|\\[.\\])+(\.([^.\\]|\\[.\\])+)*$`
type ClaimPath string

// JSONPointer leads to a value in JSON, as RFC 6901 writes it: /amount or /items/0/name. At most 1024 characters.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=1024
// +kubebuilder:validation:Pattern=`^(/([^~/]|~[01])*)+$`
type JSONPointer string

// Unit is a span of time in which something is counted.
//
// +kubebuilder:validation:Enum=Second;Minute;Hour;Day
type Unit string

// The units.
const (
	Second Unit = "Second"
	Minute Unit = "Minute"
	Hour   Unit = "Hour"
	Day    Unit = "Day"
)

// RiskTier is how much harm a tool can do, by the judgment of whoever wrote the ToolCatalog.
//
// +kubebuilder:validation:Enum=Low;Medium;High;Critical
type RiskTier string

// The tiers.
const (
	RiskLow      RiskTier = "Low"
	RiskMedium   RiskTier = "Medium"
	RiskHigh     RiskTier = "High"
	RiskCritical RiskTier = "Critical"
)
