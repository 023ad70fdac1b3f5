package proxy

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"time"

	"waymark.dev/waypoint/pkg/hbone"
	"waymark.dev/waypoint/pkg/mesh"
)

type addrPort = netip.AddrPort

// past is a deadline that ends every read and write at once.
var past = time.Unix(1, 0)

// dialDuplex opens a connection to an endpoint: through its ztunnel if it has one, else in plain text.
func (p *Proxy) dialDuplex(ctx context.Context, ep mesh.Endpoint) (duplex, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	if ep.Tunnel.IsValid() {
		conn, err := p.cfg.Tunnels.Dial(ctx, hbone.Target{
			Addr:      ep.Tunnel,
			Expect:    ep.Identities,
			Authority: ep.Address.String(),
			Header:    http.Header{},
		})
		if err != nil {
			return nil, err
		}
		return conn, nil
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", ep.Address.String())
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
