package proxy

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
)

// unreachable are the places where no name may lead, whoever answers for it in DNS: this machine and what is next to it, and
// the ways to spell such an address in another family (security, section 3.5). Private ranges and the cluster's own are not
// among them: a name stands in an object of an operator's because something behind it is to be reached, which often is a
// server in the next rack, and what the waypoint can reach beyond that is a matter of NetworkPolicy.
var unreachable = []struct {
	prefix netip.Prefix
	what   string
}{
	{netip.MustParsePrefix("0.0.0.0/8"), "this host"},
	{netip.MustParsePrefix("127.0.0.0/8"), "loopback"},
	{netip.MustParsePrefix("169.254.0.0/16"), "link-local: metadata services are there"},
	{netip.MustParsePrefix("192.0.0.0/24"), "protocol assignments: metadata services are there"},
	{netip.MustParsePrefix("192.88.99.0/24"), "a 6to4 relay"},
	{netip.MustParsePrefix("198.18.0.0/15"), "for benchmarks"},
	{netip.MustParsePrefix("224.0.0.0/4"), "multicast"},
	{netip.MustParsePrefix("240.0.0.0/4"), "reserved or broadcast"},
	{netip.MustParsePrefix("100.100.100.200/32"), "a metadata service"},
	{netip.MustParsePrefix("168.63.129.16/32"), "a metadata service"},
	{netip.MustParsePrefix("::/96"), "unspecified, loopback or an IPv4 address in disguise"},
	{netip.MustParsePrefix("::ffff:0:0/96"), "an IPv4 address in disguise"},
	{netip.MustParsePrefix("64:ff9b::/96"), "an IPv4 address in disguise (NAT64)"},
	{netip.MustParsePrefix("64:ff9b:1::/48"), "an IPv4 address in disguise (NAT64)"},
	{netip.MustParsePrefix("2001::/32"), "an IPv4 address in disguise (Teredo)"},
	{netip.MustParsePrefix("2002::/16"), "an IPv4 address in disguise (6to4)"},
	{netip.MustParsePrefix("fd00:ec2::/32"), "metadata services are there"},
	{netip.MustParsePrefix("fe80::/10"), "link-local"},
	{netip.MustParsePrefix("fec0::/10"), "site-local"},
	{netip.MustParsePrefix("ff00::/8"), "multicast"},
}

// mayReach reports why a name must not lead to an address. A waypoint on somebody's own machine may reach that machine, if it
// was told so; in a pod that would be the waypoint's own ports.
func (p *Proxy) mayReach(a netip.Addr) error {
	if !a.IsValid() {
		return errors.New("the name leads nowhere")
	}
	if p.cfg.Loopback && (a.IsLoopback() || isOwn(a)) {
		return nil
	}
	for _, u := range unreachable {
		if u.prefix.Contains(a) {
			return fmt.Errorf("the name leads to %s, where no name may lead: %s", a, u.what)
		}
	}
	if isOwn(a) {
		return fmt.Errorf("the name leads to %s, where no name may lead: the waypoint itself", a)
	}
	return nil
}

// isOwn reports whether an address is one of this pod's. They are asked for each time, as names are resolved rarely.
func isOwn(a netip.Addr) bool {
	own, err := net.InterfaceAddrs()
	if err != nil {
		return true // what cannot be told is not dialled
	}
	return slices.ContainsFunc(own, func(o net.Addr) bool {
		prefix, ok := o.(*net.IPNet)
		if !ok {
			return false
		}
		ip, ok := netip.AddrFromSlice(prefix.IP)
		return ok && ip.Unmap() == a
	})
}
