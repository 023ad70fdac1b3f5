package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"waymark.dev/waypoint/cmd/demo/company"
	"waymark.dev/waypoint/internal/testmesh"
	"waymark.dev/waypoint/pkg/identity"
)

// What examples/company-mcp calls things.
const (
	trustDomain   = "cluster.local"
	serviceURL    = "http://company-mcp:3000/mcp"
	serviceVIP    = "10.96.0.10:3000"
	workloadEntry = "company-mcp"
)

// world is the mesh of the demo.
type world struct {
	dir      string // everything it writes to disk; removed by close
	mesh     *testmesh.Mesh
	bank     *company.Bank
	web      *http.Server
	waypoint *testmesh.Waypoint
	teller   *agent
	intern   *agent
}

// agent is one caller: an identity, the ztunnel next to it, and an unmodified MCP client.
type agent struct {
	name    string
	id      identity.ID
	version string // the revision of MCP it asks for
	out     *testmesh.Outbound
	http    *http.Client
	session *mcp.ClientSession
}

// newWorld starts everything but the agents' sessions. What it started before an error is ended again.
func newWorld(ctx context.Context, configDir string, log *slog.Logger) (_ *world, err error) {
	w := &world{bank: company.New(), mesh: testmesh.New(identity.RequireTrustDomain(trustDomain))}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close())
		}
	}()
	if w.dir, err = os.MkdirTemp("", "waymark-demo-"); err != nil {
		return nil, err
	}
	app, err := w.serveBank()
	if err != nil {
		return nil, err
	}
	in, err := w.mesh.Inbound(testmesh.InboundConfig{Workload: w.mesh.ID("bank", "company-mcp"), App: app, Log: log})
	if err != nil {
		return nil, err
	}
	if err := os.Mkdir(w.configDir(), 0o700); err != nil {
		return nil, err
	}
	place := map[string]testmesh.Placement{workloadEntry: {App: app, Tunnel: in.Addr()}}
	if err := testmesh.CopyConfig(configDir, w.configDir(), place); err != nil {
		return nil, err
	}
	w.waypoint, err = w.mesh.Waypoint(ctx, testmesh.WaypointConfig{ID: w.mesh.ID("bank", "agents"), Dir: w.configDir(), Log: log})
	if err != nil {
		return nil, err
	}
	if w.teller, err = w.agent("teller-agent", "2026-07-28", log); err != nil {
		return nil, err
	}
	if w.intern, err = w.agent("intern-agent", "2025-11-25", log); err != nil {
		return nil, err
	}
	return w, nil
}

func (w *world) configDir() string { return filepath.Join(w.dir, "config") }

func (w *world) agents() []*agent { return []*agent{w.teller, w.intern} }

// serveBank starts the tool server, which knows nothing of any mesh.
func (w *world) serveBank() (netip.AddrPort, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return netip.AddrPort{}, err
	}
	w.web = &http.Server{Handler: w.bank.Handler(company.Options{}), ReadHeaderTimeout: 10 * time.Second}
	go w.web.Serve(l) // ends with Close
	return l.Addr().(*net.TCPAddr).AddrPort(), nil
}

// agent starts the ztunnel next to an agent of this name.
func (w *world) agent(name, version string, log *slog.Logger) (*agent, error) {
	a := &agent{name: name, id: w.mesh.ID("agents", name), version: version}
	var err error
	a.out, err = w.mesh.Outbound(testmesh.OutboundConfig{
		Caller: a.id, Waypoint: w.waypoint.Addr(), Expect: []identity.ID{w.waypoint.ID()}, Authority: serviceVIP, Log: log,
	})
	if err != nil {
		return nil, err
	}
	a.http = a.out.HTTPClient()
	return a, nil
}

// connect opens the agent's MCP session at the address it has always used.
func (a *agent) connect(ctx context.Context) error {
	client := mcp.NewClient(&mcp.Implementation{Name: a.name, Version: "1.0.0"}, nil)
	transport := &mcp.StreamableClientTransport{Endpoint: serviceURL, HTTPClient: a.http}
	var err error
	a.session, err = client.Connect(ctx, transport, &mcp.ClientSessionOptions{ProtocolVersion: a.version})
	if err != nil {
		return fmt.Errorf("%s cannot open a session: %w", a.name, err)
	}
	return nil
}

func (a *agent) close() error {
	if a == nil {
		return nil
	}
	var err error
	if a.session != nil {
		err = a.session.Close()
	}
	a.http.CloseIdleConnections()
	return err
}

// close ends everything, callers first, and removes the files. It may be called on a world that never fully started.
func (w *world) close() error {
	var errs []error
	for _, a := range w.agents() {
		errs = append(errs, a.close())
	}
	errs = append(errs, w.mesh.Close())
	if w.web != nil {
		errs = append(errs, w.web.Close())
	}
	if w.dir != "" {
		errs = append(errs, os.RemoveAll(w.dir))
	}
	return errors.Join(errs...)
}
