package authz

import (
	"net/netip"
	"slices"
	"strings"

	"waymark.dev/waypoint/pkg/api/v1alpha1"
	"waymark.dev/waypoint/pkg/identity"
)

const spiffeScheme = "spiffe://"

// account is a service account in its namespace. Names are compared, never interpolated (CVE-2026-39350).
type account struct{ namespace, name string }

// source is one compiled entry of from.
type source struct {
	principals, notPrincipals *patterns
	namespaces, notNamespaces *patterns
	accounts, notAccounts     []account
	blocks, notBlocks         []netip.Prefix
	requests, notRequests     *patterns // principals of the token
	actors, notActors         *patterns
}

func (s *source) match(j *judgment) bool {
	if s.principals != nil || s.notPrincipals != nil {
		if !within(j.principal(), s.principals, s.notPrincipals) {
			return false
		}
	}
	if s.namespaces != nil || s.notNamespaces != nil {
		if ns, _ := j.c.Principal.Namespace(); !within(ns, s.namespaces, s.notNamespaces) {
			return false
		}
	}
	if s.accounts != nil || s.notAccounts != nil {
		a := accountOf(j.c.Principal)
		if s.accounts != nil && !slices.Contains(s.accounts, a) || slices.Contains(s.notAccounts, a) {
			return false
		}
	}
	if s.blocks != nil || s.notBlocks != nil {
		addr := j.address()
		if s.blocks != nil && !inBlocks(addr, s.blocks) || inBlocks(addr, s.notBlocks) {
			return false
		}
	}
	return s.matchToken(j)
}

// matchToken compares what the token says of the caller. An actor for whom nobody vouches counts against the caller only. On a raw
// connection nobody sees a token, see unseen.
func (s *source) matchToken(j *judgment) bool {
	if s.requests == nil && s.notRequests == nil && s.actors == nil && s.notActors == nil {
		return true
	}
	if j.blind() {
		return j.against
	}
	if s.requests != nil || s.notRequests != nil {
		name := ""
		if c := j.c.Claims; c != nil && c.Issuer != "" && c.Subject != "" {
			name = c.Issuer + "/" + c.Subject
		}
		if !within(name, s.requests, s.notRequests) {
			return false
		}
	}
	if s.actors == nil && s.notActors == nil {
		return true
	}
	found := s.actors == nil
	for _, hop := range j.c.Chain[min(1, len(j.c.Chain)):] { // the first one is the user
		if s.notActors != nil && s.notActors.match(hop.Subject) && (hop.Verified || !j.against) {
			return false
		}
		found = found || s.actors.match(hop.Subject) && (hop.Verified || j.against)
	}
	return found
}

// accountOf returns the zero account, which no policy can name, for an identity of another form.
func accountOf(id identity.ID) account {
	ns, _ := id.Namespace()
	sa, _ := id.ServiceAccount()
	return account{ns, sa}
}

func inBlocks(a netip.Addr, blocks []netip.Prefix) bool {
	for _, b := range blocks {
		if b.Contains(a) {
			return true
		}
	}
	return false
}

// compileSource reads one entry of from; namespace is the policy's own.
func (k *compiler) compileSource(field string, s *v1alpha1.Source) source {
	if !sourceFields(s) {
		k.add(field, "must have at least one field; leave from out to match every caller")
	}
	if (s.ServiceAccounts != nil || s.NotServiceAccounts != nil) &&
		(s.Principals != nil || s.NotPrincipals != nil || s.Namespaces != nil || s.NotNamespaces != nil) {
		k.add(field, "serviceAccounts cannot be combined with principals or namespaces")
	}
	return source{
		principals:    k.principals(field+".principals", s.Principals),
		notPrincipals: k.principals(field+".notPrincipals", s.NotPrincipals),
		namespaces:    k.strings(field+".namespaces", s.Namespaces),
		notNamespaces: k.strings(field+".notNamespaces", s.NotNamespaces),
		accounts:      k.accounts(field+".serviceAccounts", s.ServiceAccounts),
		notAccounts:   k.accounts(field+".notServiceAccounts", s.NotServiceAccounts),
		blocks:        k.blocks(field+".ipBlocks", s.IPBlocks),
		notBlocks:     k.blocks(field+".notIpBlocks", s.NotIPBlocks),
		requests:      k.strings(field+".requestPrincipals", s.RequestPrincipals),
		notRequests:   k.strings(field+".notRequestPrincipals", s.NotRequestPrincipals),
		actors:        k.strings(field+".actors", s.Actors),
		notActors:     k.strings(field+".notActors", s.NotActors),
	}
}

func sourceFields(s *v1alpha1.Source) bool {
	return s.Principals != nil || s.NotPrincipals != nil || s.Namespaces != nil || s.NotNamespaces != nil ||
		s.ServiceAccounts != nil || s.NotServiceAccounts != nil || s.IPBlocks != nil || s.NotIPBlocks != nil ||
		s.RequestPrincipals != nil || s.NotRequestPrincipals != nil || s.Actors != nil || s.NotActors != nil
}

// principals compiles SPIFFE identities, written with or without their scheme. A value in one of the mesh's trust domains,
// or in the literal "cluster.local", holds for all of them (contract ambient 3.2).
func (k *compiler) principals(field string, values []string) *patterns {
	k.list(field, values, maxEntries, checkPattern)
	if values == nil {
		return nil
	}
	expanded := make([]string, 0, len(values))
	for _, v := range values {
		expanded = append(expanded, k.aliases(strings.TrimPrefix(v, spiffeScheme))...)
	}
	return newPatterns(expanded)
}

func (k *compiler) aliases(principal string) []string {
	td, path, ok := strings.Cut(principal, "/")
	if !ok || len(k.trustDomains) == 0 {
		return []string{principal}
	}
	own := td == "cluster.local" || slices.ContainsFunc(k.trustDomains, func(d identity.TrustDomain) bool { return d.String() == td })
	if !own {
		return []string{principal}
	}
	out := make([]string, len(k.trustDomains))
	for i, d := range k.trustDomains {
		out[i] = d.String() + "/" + path
	}
	return out
}

// accounts compiles "namespace/name" and "name"; the latter is in the policy's own namespace.
func (k *compiler) accounts(field string, values []string) []account {
	k.list(field, values, maxAccounts, func(v string) string {
		ns, name, ok := strings.Cut(v, "/")
		switch {
		case strings.Contains(v, "*"):
			return "service accounts are exact names without *"
		case v == "" || ok && (ns == "" || name == "") || strings.Contains(name, "/"):
			return "must be namespace/name or name"
		}
		return ""
	})
	if values == nil {
		return nil
	}
	out := make([]account, len(values))
	for i, v := range values {
		ns, name, ok := strings.Cut(v, "/")
		if !ok {
			ns, name = k.namespace, v
		}
		out[i] = account{ns, name}
	}
	return out
}

// blocks compiles addresses and CIDR blocks.
func (k *compiler) blocks(field string, values []string) []netip.Prefix {
	k.list(field, values, maxEntries, func(v string) string {
		_, why := parseBlock(v)
		return why
	})
	if values == nil {
		return nil
	}
	out := make([]netip.Prefix, 0, len(values))
	for _, v := range values {
		if b, why := parseBlock(v); why == "" {
			out = append(out, b)
		}
	}
	return out
}

// parseBlock reads an address or a CIDR block and masks it, as Envoy does. IPv4 inside IPv6 is refused: callers' addresses
// are compared as IPv4, so that such a block would never match.
func parseBlock(v string) (netip.Prefix, string) {
	if a, err := netip.ParseAddr(v); err == nil && a.Zone() == "" && !a.Is4In6() {
		return netip.PrefixFrom(a, a.BitLen()), ""
	}
	b, err := netip.ParsePrefix(v)
	switch {
	case err != nil:
		return netip.Prefix{}, "must be an IP address or a CIDR block"
	case b.Addr().Is4In6():
		return netip.Prefix{}, "an IPv4 block must be written as IPv4"
	}
	return b.Masked(), ""
}
