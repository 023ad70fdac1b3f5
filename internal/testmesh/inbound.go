package testmesh

import (
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"

	"waymark.dev/waypoint/pkg/hbone"
	"waymark.dev/waypoint/pkg/identity"
)

// InboundConfig says which workload an inbound stand-in protects.
type InboundConfig struct {
	Workload identity.ID      // whose certificate it presents
	App      netip.AddrPort   // the application; CONNECT must name exactly this address
	Allow    identity.Matcher // who may connect; nil: every workload of the mesh
	Log      *slog.Logger     // nil discards
}

// Inbound is the ztunnel next to a backend: an HBONE server in front of one application.
type Inbound struct {
	config   InboundConfig
	server   *hbone.Server
	listener net.Listener
	done     chan struct{}

	mu    sync.Mutex
	peers map[identity.ID]int
	last  http.Header
}

// Inbound starts the backend's end of the tunnel on a local port.
func (m *Mesh) Inbound(c InboundConfig) (*Inbound, error) {
	l, err := listen()
	if err != nil {
		return nil, err
	}
	c.Log = quiet(c.Log)
	if c.Allow == nil {
		c.Allow = m.trust()
	}
	i := &Inbound{config: c, listener: l, done: make(chan struct{}), peers: map[identity.ID]int{}}
	i.server = hbone.NewServer(hbone.ServerConfig{
		Certificates: m.Certificates(c.Workload), Trust: m.trust(), Handler: i.connect, Log: c.Log,
	})
	go i.serve()
	return i, m.keep(i)
}

// Addr is where the waypoint reaches the workload by HBONE.
func (i *Inbound) Addr() netip.AddrPort { return addrPort(i.listener.Addr()) }

// Peers says who opened how many tunnels to the application. In a working mesh that is the waypoint alone.
func (i *Inbound) Peers() map[identity.ID]int {
	i.mu.Lock()
	defer i.mu.Unlock()
	out := make(map[identity.ID]int, len(i.peers))
	for id, n := range i.peers {
		out[id] = n
	}
	return out
}

// Header returns the headers of the latest accepted CONNECT.
func (i *Inbound) Header() http.Header {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.last.Clone()
}

// Close cuts what is open and waits for it. It may be called twice.
func (i *Inbound) Close() error {
	err := i.server.Close()
	<-i.done
	return err
}

func (i *Inbound) serve() {
	defer close(i.done)
	if err := i.server.Serve(i.listener); err != nil && !errors.Is(err, hbone.ErrServerClosed) {
		i.config.Log.Error("inbound ended", "workload", i.config.Workload, "error", err)
	}
}

// connect judges one CONNECT as ztunnel does (contract ambient 4.6): 400 for an address that is not this workload's,
// 401 for a peer that may not connect, 503 when the application cannot be reached, and 200 only once it has been.
func (i *Inbound) connect(r *hbone.Request) {
	to, err := netip.ParseAddrPort(r.Authority())
	if err != nil || to != i.config.App {
		r.Refuse(http.StatusBadRequest)
		return
	}
	if err := i.config.Allow(r.Peer()); err != nil {
		r.Refuse(http.StatusUnauthorized)
		return
	}
	var d net.Dialer
	app, err := d.DialContext(r.Context(), "tcp", i.config.App.String())
	if err != nil {
		r.Refuse(http.StatusServiceUnavailable)
		return
	}
	defer app.Close()
	i.seen(r)
	tunnel, err := r.Accept(nil)
	if err != nil {
		return
	}
	defer tunnel.Close()
	if _, _, err := hbone.Splice(app.(*net.TCPConn), tunnel); err != nil {
		i.config.Log.Info("tunnel cut", "workload", i.config.Workload, "peer", r.Peer(), "error", err)
	}
}

func (i *Inbound) seen(r *hbone.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.peers[r.Peer()]++
	i.last = r.Header().Clone()
}
