package proxy

import (
	"context"
	"fmt"
	"net"

	"waymark.dev/waypoint/pkg/mesh"
)

// DialService opens a connection of our own to a port of a service, attached or not: to whoever has keys, gives tokens or
// decides. It goes through the mesh as a call would, and who answers is proven in the same way.
func (p *Proxy) DialService(ctx context.Context, host string, port uint16) (net.Conn, error) {
	directory, ok := p.cfg.Rules().View().(mesh.Directory)
	if !ok {
		return nil, fmt.Errorf("proxy: %s:%d: the view of the mesh has no directory of services", host, port)
	}
	dest, err := directory.Locate(host, port)
	if err != nil {
		return nil, err
	}
	ep, err := dest.Pick()
	if err != nil {
		return nil, err
	}
	conn, err := p.dial(ctx, ep, &origin{service: dest.Service})
	if err != nil {
		return nil, fmt.Errorf("proxy: %s:%d at %s: %w", host, port, where(&ep), err)
	}
	return conn, nil
}
