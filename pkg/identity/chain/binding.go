package chain

import (
	"slices"
	"strings"

	"waymark.dev/waypoint/pkg/api/v1alpha1"
	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/identity"
)

// binding says how the last actor of a chain is found to be the workload that holds the connection.
type binding struct {
	kind    v1alpha1.BindingType
	path    []string
	table   map[string]matches
	domains []identity.TrustDomain
}

func (c *compiler) binding(b v1alpha1.ActorBinding, domains []identity.TrustDomain) binding {
	out := binding{kind: b.Type, domains: domains}
	if out.kind == "" {
		out.kind = v1alpha1.BindSPIFFEID
	}
	if (b.Claim != "") != (out.kind == v1alpha1.BindClaim) {
		c.add("binding.claim", "is needed for type Claim, and only there")
	}
	if (len(b.Table) > 0) != (out.kind == v1alpha1.BindTable) {
		c.add("binding.table", "is needed for type Table, and only there")
	}
	if (b.Waiver != nil) != (out.kind == v1alpha1.BindNone) {
		c.add("binding.waiver", "is needed for type None, and only there")
	}
	switch out.kind {
	case v1alpha1.BindSPIFFEID, v1alpha1.BindServiceAccount:
	case v1alpha1.BindNone:
		if b.Waiver != nil && b.Waiver.Reason == "" {
			c.add("binding.waiver.reason", "is missing")
		}
	case v1alpha1.BindClaim:
		out.path = c.path("binding.claim", b.Claim)
	case v1alpha1.BindTable:
		out.table = map[string]matches{}
		for _, row := range b.Table {
			if out.table[row.Actor] != nil {
				c.add("binding.table", "has %q twice", row.Actor)
			}
			out.table[row.Actor] = c.matches("binding.table.principals", row.Principals)
		}
	default:
		c.add("binding.type", "must be SPIFFEID, ServiceAccount, Claim, Table or None, got %q", string(b.Type))
	}
	return out
}

// check compares an actor with the presenter. Nobody is bound to a presenter without an identity.
func (b *binding) check(p Presenter, a *identity.Actor) *Refusal {
	if b.kind == v1alpha1.BindNone {
		return nil
	}
	if p.ID.IsZero() {
		return refuse(call.ChainUnbound, "the caller has no identity that the actor could be bound to")
	}
	if !b.matches(p.ID, a) {
		return refuse(call.ChainUnbound, "the last actor %q is not the caller %s (binding %s)", clip(a.Subject), p.ID, b.kind)
	}
	return nil
}

func (b *binding) matches(id identity.ID, a *identity.Actor) bool {
	switch b.kind {
	case v1alpha1.BindSPIFFEID:
		return spells(a.Subject, id)
	case v1alpha1.BindServiceAccount:
		ns, ok := id.Namespace()
		sa, _ := id.ServiceAccount()
		return ok && slices.Contains(b.domains, id.TrustDomain()) && (a.Subject == sa || a.Subject == ns+"/"+sa)
	case v1alpha1.BindClaim:
		return Has(a.Raw, b.path, func(s string) bool { return spells(s, id) })
	case v1alpha1.BindTable:
		row := b.table[a.Subject]
		return row.match(id.String()) || row.match(strings.TrimPrefix(id.String(), "spiffe://"))
	}
	return false
}

// spells reports whether a text is an identity, with its scheme or, as Istio writes principals, without.
func spells(s string, id identity.ID) bool {
	return s == id.String() || s == strings.TrimPrefix(id.String(), "spiffe://")
}
