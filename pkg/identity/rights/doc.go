// Package rights compares what tokens allow: scope, authorization details (RFC 9396) and lifetime, as sets of which one is within
// another or is not.
//
// A token service gives out no more than what it was shown: Narrow refuses to ask for more, and cuts nothing in silence but the
// lifetime. A rule asks whether an authorization detail covers a call: Details.Permit.
//
//	parent, err := rights.Of(claims)
//	granted, err := rights.Narrow(asked, parent)
//
// An authorization detail has the members of RFC 9396 section 2.2 and two of ours: tools, the tools that may be called, and
// arguments, which bounds their arguments by JSON pointer:
//
//	{"type": "payment", "tools": ["transfer"], "arguments": {"/amount": {"maximum": 100}, "/currency": {"enum": ["EUR"]}}}
//
// A member that is not there bounds nothing. One that is not known here is compared byte for byte, after canonical ordering.
package rights
