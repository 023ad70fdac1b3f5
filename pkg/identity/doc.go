// Package identity holds the values that say who is calling: SPIFFE IDs, trust domains, verified token claims and
// delegation hops.
//
// Everything here is a small value without behaviour beyond parsing and matching. A non-zero [ID] is valid: there is
// no way to obtain one except through a parser that refuses every spelling two readers could understand differently
// (upper case, percent-encoding, empty or dot segments, ports, user information, queries, fragments).
//
//	id, err := identity.ParseID("spiffe://cluster.local/ns/bank/sa/teller")
//	id.Namespace()      // "bank", true
//	id.ServiceAccount() // "teller", true
//
// The package imports the standard library only; see the layer table in ARCHITECTURE.md.
package identity
