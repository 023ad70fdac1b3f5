package testmesh

import (
	"context"
	"log/slog"
	"net/netip"
	"time"

	"waymark.dev/waypoint/pkg/app"
	"waymark.dev/waypoint/pkg/identity"
)

// stopWithin is how long Close lets a waypoint drain before it is cut.
const stopWithin = 2 * time.Second

// WaypointConfig says which waypoint to run.
type WaypointConfig struct {
	ID  identity.ID  // the service account it runs under
	Dir string       // its configuration directory; watched
	Log *slog.Logger // nil discards

	Poll  time.Duration // how often Dir is looked at; 0 is the product's default
	Sniff time.Duration // how long an undeclared port waits for the client; 0 is the product's default
}

// Waypoint is the product, run as the binary runs it, with its audit records kept.
type Waypoint struct {
	id    identity.ID
	app   *app.App
	audit *Audit
}

// Waypoint starts a waypoint on a local port. ctx bounds the start only.
func (m *Mesh) Waypoint(ctx context.Context, c WaypointConfig) (*Waypoint, error) {
	w := &Waypoint{id: c.ID, audit: newAudit()}
	var err error
	w.app, err = app.New(app.Options{
		ConfigDir: c.Dir, Listen: "127.0.0.1:0", Certificates: m.Certificates(c.ID), TrustDomain: m.domain,
		Audit: w.audit, Log: quiet(c.Log), Poll: c.Poll, Sniff: c.Sniff,
	})
	if err != nil {
		return nil, err
	}
	if err := w.app.Start(ctx); err != nil {
		return nil, err
	}
	return w, m.keep(w)
}

// ID is the identity its callers must expect.
func (w *Waypoint) ID() identity.ID { return w.id }

// Addr is where it listens for HBONE.
func (w *Waypoint) Addr() netip.AddrPort { return w.app.Addr() }

// Audit is what it has recorded.
func (w *Waypoint) Audit() *Audit { return w.audit }

// Close drains it, for a moment, and stops it.
func (w *Waypoint) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopWithin)
	defer cancel()
	return w.app.Stop(ctx)
}
