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

	// Host is a DNS name to connect to in plain text, resolved at each connection; the address in Address is then
	// meaningless and only its port counts.
	Host string

	// Gateway stands in front of an endpoint on another network. Address is then that of the gateway's tunnel, Tunnel is
	// zero, and Identities may answer inside the gateway's tunnel.
	Gateway *Gateway
}

// Gateway is the east-west gateway of another network. It passes on, unread, a second tunnel inside the first (contract
// ambient, section 4.8).
type Gateway struct {
	Tunnel     netip.AddrPort
	Identities []identity.ID // any of these may answer at Tunnel; never empty
	Authority  string        // hostname:port of the service, which both tunnels name

	// Host is a DNS name of a gateway whose address is not known, resolved at each connection; of Tunnel only the port
	// counts then.
	Host string
}

// Choice returns a number in [0, n). Tests make it predictable.
type Choice func(n uint64) uint64

// Pick chooses an endpoint, leaving out those whose Address was tried already: by the Picker if there is one, else at random
// by weight. The error wraps ErrNoEndpoint.
func (d *Destination) Pick(tried ...netip.AddrPort) (Endpoint, error) {
	if d.Picker != nil {
		return d.Picker.Pick(tried)
	}
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
