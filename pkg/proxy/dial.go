package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"waymark.dev/waypoint/pkg/hbone"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/mesh"
)

// past is a deadline that ends every read and write at once.
var past = time.Unix(1, 0)

// dial opens a connection to an endpoint: through the gateway of its network or its ztunnel if it has one, else in plain
// text.
func (p *Proxy) dial(ctx context.Context, ep mesh.Endpoint, from *origin) (duplex, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	switch {
	case ep.Gateway != nil:
		return p.dialThrough(ctx, ep, from)
	case ep.Tunnel.IsValid():
		return tunnelOrError(p.cfg.Tunnels.Dial(ctx, hbone.Target{
			Addr: ep.Tunnel, Expect: p.expect(ep.Identities), TrustDomainOnly: p.cfg.TrustDomainOnly,
			Authority: ep.Address.String(), Header: from.fields(),
		}))
	case ep.Host != "":
		return p.dialHost(ctx, ep.Host, ep.Address.Port(), dialTCP)
	}
	return dialTCP(ctx, ep.Address)
}

// dialThrough reaches an endpoint on another network. The outer CONNECT says that a waypoint has already judged what comes,
// so that the other side does not do so twice; the inner one says which network it comes from (contract ambient, section 4.8).
func (p *Proxy) dialThrough(ctx context.Context, ep mesh.Endpoint, from *origin) (duplex, error) {
	outer, inner := from.fields(), from.fields()
	outer["X-Istio-Source"] = []string{"waypoint"}
	if p.cfg.Network != "" {
		inner["X-Forwarded-Network"] = []string{p.cfg.Network}
	}
	gateway := func(ctx context.Context, tunnel netip.AddrPort) (duplex, error) {
		return tunnelOrError(p.cfg.Tunnels.DialThrough(ctx, hbone.Target{
			Addr: tunnel, Expect: p.expect(ep.Gateway.Identities), TrustDomainOnly: p.cfg.TrustDomainOnly,
			Authority: ep.Gateway.Authority, Header: outer,
		}, hbone.Target{
			Expect: p.expect(ep.Identities), TrustDomainOnly: p.cfg.TrustDomainOnly,
			Authority: ep.Gateway.Authority, Header: inner,
		}))
	}
	if ep.Gateway.Host != "" {
		return p.dialHost(ctx, ep.Gateway.Host, ep.Gateway.Tunnel.Port(), gateway)
	}
	return gateway(ctx, ep.Gateway.Tunnel)
}

// expect returns who may answer at a tunnel: nobody in particular if the trust domain is all that counts.
func (p *Proxy) expect(ids []identity.ID) []identity.ID {
	if p.cfg.TrustDomainOnly {
		return nil
	}
	return ids
}

// tunnelOrError keeps a nil tunnel from becoming a connection that is not nil.
func tunnelOrError(c *hbone.Conn, err error) (duplex, error) {
	if err != nil {
		return nil, err
	}
	return c, nil
}

func dialTCP(ctx context.Context, a netip.AddrPort) (duplex, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", a.String())
	if err != nil {
		return nil, err
	}
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		_ = conn.Close()
		return nil, errors.New("proxy: dialled something that is not TCP")
	}
	return tcp, nil
}

// dialHost resolves a name and connects to the first of its addresses that can be reached. They are checked and dialled as
// they were resolved: nobody can change the answer in between.
func (p *Proxy) dialHost(ctx context.Context, host string, port uint16, dial func(context.Context, netip.AddrPort) (duplex, error),
) (duplex, error) {
	addrs, err := p.cfg.Lookup(ctx, host)
	if err != nil {
		return nil, fmt.Errorf("proxy: resolve %s: %w", host, err)
	}
	last := fmt.Errorf("proxy: resolve %s: no address", host)
	for i, a := range addrs {
		a = a.Unmap().WithZone("")
		if err := p.mayReach(a); err != nil {
			last = fmt.Errorf("proxy: %s: %w", host, err)
			continue
		}
		attempt, cancel := withShare(ctx, len(addrs)-i)
		conn, err := dial(attempt, netip.AddrPortFrom(a, port))
		cancel()
		if err == nil {
			return conn, nil
		}
		last = err
	}
	return nil, last
}

// withShare gives one of n attempts its share of the time that is left.
func withShare(ctx context.Context, n int) (context.Context, context.CancelFunc) {
	end, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Until(end)/time.Duration(n))
}

// lookup asks the system's resolver. A name with a dot is complete: the search list of a pod would otherwise let whoever owns
// a namespace named like a domain answer for it.
func lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	for i := range len(host) {
		if host[i] == '.' && host[len(host)-1] != '.' {
			host += "."
			break
		}
	}
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

// where names an endpoint in records and logs.
func where(ep *mesh.Endpoint) string {
	if ep.Host != "" {
		return net.JoinHostPort(ep.Host, strconv.Itoa(int(ep.Address.Port())))
	}
	return ep.Address.String()
}

// refusalStatus maps a resolution error to the status of the CONNECT response (contract ambient 4.6).
func refusalStatus(err error) int {
	switch {
	case errors.Is(err, mesh.ErrAuthority), errors.Is(err, mesh.ErrOwnPort):
		return http.StatusBadRequest
	case errors.Is(err, mesh.ErrNotAttached), errors.Is(err, mesh.ErrUnknownPort):
		return http.StatusNotFound
	}
	return http.StatusServiceUnavailable
}
