package mesh

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"

	"waymark.dev/waypoint/pkg/identity"
)

// Endpoint is one place that serves a destination.
type Endpoint struct {
	Address    netip.AddrPort // podIP:targetPort, as the workload's own ztunnel expects it in the authority
	Tunnel     netip.AddrPort // podIP:15008, where that ztunnel listens; zero means plaintext to Address
	Identities []identity.ID  // any of these may answer at Tunnel; never empty when Tunnel is set
	Workload   string         // namespace/name, for logs and metrics
	Weight     uint32         // share of the traffic relative to the other endpoints; 0 counts as 1
}

// Choice returns a number in [0, n). Tests make it predictable.
type Choice func(n uint64) uint64

// Pick chooses an endpoint at random by weight, leaving out those whose Address was tried already. Locality plays no part
// yet: an endpoint in another zone is as likely as one next door. The error wraps ErrNoEndpoint.
func (d *Destination) Pick(tried ...netip.AddrPort) (Endpoint, error) {
	var total uint64
	for i := range d.Endpoints {
		if !slices.Contains(tried, d.Endpoints[i].Address) {
			total += d.Endpoints[i].share()
		}
	}
	if total == 0 {
		return Endpoint{}, fmt.Errorf("%w of %s port %d: %d known, %d tried already",
			ErrNoEndpoint, d.Service, d.Service.Port, len(d.Endpoints), len(tried))
	}
	at := d.choose(total)
	for i := range d.Endpoints {
		if slices.Contains(tried, d.Endpoints[i].Address) {
			continue
		}
		share := d.Endpoints[i].share()
		if at < share {
			return d.Endpoints[i], nil
		}
		at -= share
	}
	panic("mesh: internal error: a choice outside its range")
}

func (d *Destination) choose(n uint64) uint64 {
	if d.Choice == nil {
		return rand.Uint64N(n)
	}
	return d.Choice(n)
}

func (e *Endpoint) share() uint64 { return uint64(max(e.Weight, 1)) }
