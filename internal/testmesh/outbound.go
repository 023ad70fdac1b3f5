package testmesh

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"

	"waymark.dev/waypoint/pkg/hbone"
	"waymark.dev/waypoint/pkg/identity"
)

// OutboundConfig says whose connections an outbound stand-in carries, and where.
type OutboundConfig struct {
	Caller    identity.ID    // the workload whose certificate opens the tunnels
	Waypoint  netip.AddrPort // where the waypoint listens for HBONE
	Expect    []identity.ID  // the identities the waypoint may have
	Authority string         // the original destination, "VIP:port"; contract ambient 4.2
	Log       *slog.Logger   // nil discards
}

// Outbound is the ztunnel next to a caller: it accepts plain TCP and carries each connection through a CONNECT of its
// own.
type Outbound struct {
	config   OutboundConfig
	pool     *hbone.Pool
	listener net.Listener
	conns    connections

	mu      sync.Mutex
	refused error
}

// Outbound starts the caller's end of the tunnel on a local port.
func (m *Mesh) Outbound(c OutboundConfig) (*Outbound, error) {
	l, err := listen()
	if err != nil {
		return nil, err
	}
	c.Log = quiet(c.Log)
	o := &Outbound{config: c, listener: l}
	o.pool = hbone.NewPool(hbone.PoolConfig{Certificates: m.Certificates(c.Caller), Trust: m.trust(), Log: c.Log})
	o.conns.start(l, o.carry)
	return o, m.keep(o)
}

// Addr is where the caller connects instead of the service.
func (o *Outbound) Addr() netip.AddrPort { return addrPort(o.listener.Addr()) }

// Refused returns why the latest tunnel could not be opened, or nil if none ever failed. An application only ever sees
// its connection closed; this is what ztunnel would write to its log.
func (o *Outbound) Refused() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.refused
}

// Dial opens one tunnel without going through the local port.
func (o *Outbound) Dial(ctx context.Context) (*hbone.Conn, error) {
	conn, err := o.pool.Dial(ctx, hbone.Target{
		Addr: o.config.Waypoint, Expect: o.config.Expect, Authority: o.config.Authority, Header: o.header(),
	})
	if err != nil {
		o.mu.Lock()
		o.refused = err
		o.mu.Unlock()
	}
	return conn, err
}

// HTTPClient returns a client that ignores the host it is asked for and connects to the local port, as the redirection
// in a pod does. Close its idle connections when done.
func (o *Outbound) HTTPClient() *http.Client {
	return &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", o.Addr().String())
		},
	}}
}

// Close stops accepting, cuts what is open and waits for it.
func (o *Outbound) Close() error {
	err := o.conns.stop(o.listener)
	return errors.Join(err, o.pool.Close())
}

// carry is one connection of the application, from accept to close.
func (o *Outbound) carry(ctx context.Context, app *net.TCPConn) {
	tunnel, err := o.Dial(ctx)
	if err != nil {
		o.config.Log.Info("tunnel refused", "caller", o.config.Caller, "authority", o.config.Authority, "error", err)
		return
	}
	defer tunnel.Close()
	stop := context.AfterFunc(ctx, func() { tunnel.Abort(context.Cause(ctx)) })
	defer stop()
	if _, _, err := hbone.Splice(app, tunnel); err != nil {
		o.config.Log.Info("tunnel cut", "caller", o.config.Caller, "authority", o.config.Authority, "error", err)
	}
}

// header is what ztunnel adds to CONNECT: a hint at the caller's workload, the caller's address, a trace of the
// connection (contract ambient 4.2 and 4.3).
func (o *Outbound) header() http.Header {
	h := http.Header{}
	ns, _ := o.config.Caller.Namespace()
	sa, _ := o.config.Caller.ServiceAccount()
	h.Set("baggage", fmt.Sprintf("k8s.namespace.name=%s,k8s.pod.name=%s,service.name=%s,service.version=latest", ns, sa, sa))
	h.Set("forwarded", fmt.Sprintf("for=%q", o.Addr()))
	var id [24]byte
	rand.Read(id[:])
	h.Set("traceparent", "00-"+hex.EncodeToString(id[:16])+"-"+hex.EncodeToString(id[16:])+"-00")
	return h
}
