package fetch

import (
	"net/netip"
	"slices"
)

// forbidden are the IPv4 addresses that nothing is fetched from, whatever an operator writes: this machine, the link, what is
// reserved or shared, multicast, and the metadata services of clouds.
func forbidden() []netip.Prefix {
	return prefixes("0.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24",
		"192.88.99.0/24", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3", "168.63.129.16/32",
		"100.100.100.200/32")
}

// forbidden6 are the parts of the IPv6 space in use (2000::/3) that are translations, tunnels or documentation. They embed an
// IPv4 address, or lead nowhere. What lies outside of that space is forbidden but for ULA: unspecified, mapped, NAT64, link and
// site local, multicast.
func forbidden6() []netip.Prefix {
	return prefixes("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "2620:4f:8000::/48")
}

// private are the networks of organisations (RFC 1918, RFC 4193), without the metadata service that AWS has in one.
func private() []netip.Prefix {
	return prefixes("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
}

func loopback() []netip.Prefix { return prefixes("127.0.0.0/8", "::1/128") }

var (
	public6   = netip.MustParsePrefix("2000::/3")
	metadata6 = netip.MustParsePrefix("fd00:ec2::/32")
	never     = append(forbidden(), append(forbidden6(), metadata6)...)
)

func prefixes(list ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(list))
	for i, s := range list {
		out[i] = netip.MustParsePrefix(s)
	}
	return out
}

func within(a netip.Addr, list []netip.Prefix) bool {
	return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(a) })
}

// reachable reports whether something may be fetched from an address. It is the address that is connected to.
func (o *Options) reachable(a netip.Addr) bool {
	switch {
	case !a.IsValid(), a.Zone() != "", within(a, never):
		return false
	case within(a, loopback()):
		return o.AllowLoopback
	case within(a, private()):
		return o.AllowPrivate
	case a.Is4():
		return true
	}
	return public6.Contains(a)
}
