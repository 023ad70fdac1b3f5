package proxy

import (
	"context"
	"errors"
	"net/http"
	"net/netip"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/hbone"
	"waymark.dev/waypoint/pkg/mesh"
	"waymark.dev/waypoint/pkg/policy"
)

// serveRaw judges a connection, dials, and only then says 200: a refused backend is a failed connection for the caller and
// not an empty success (contract ambient 4.6).
func (p *Proxy) serveRaw(r *hbone.Request, t *tunnel, dest *mesh.Destination) {
	raw := p.judgeRaw(r.Context(), t, dest)
	defer raw.finish()
	if !raw.outcome.Allowed() {
		raw.outcome.Status = http.StatusForbidden
		_ = r.Refuse(http.StatusForbidden)
		return
	}
	server, err := p.dialAny(r.Context(), dest, t.origin(r, dest), raw.outcome)
	if err != nil {
		raw.outcome.Err, raw.outcome.Status = err, http.StatusServiceUnavailable
		p.cfg.Log.Warn("upstream unavailable", "service", dest.Service.String(), "decision", raw.outcome.Call.ID, "cause", err)
		_ = r.Refuse(http.StatusServiceUnavailable)
		return
	}
	client, err := r.Accept(nil)
	if err != nil {
		raw.outcome.Err = err
		_ = server.Close()
		return
	}
	raw.splice(client, server)
}

// serveSniffed connects, says 200, and lets the caller's first bytes decide. Server-first protocols show themselves by the
// caller's silence.
func (p *Proxy) serveSniffed(r *hbone.Request, t *tunnel, dest *mesh.Destination) {
	if mesh.ServerFirst(dest.Service.Port) {
		p.serveRaw(r, t, dest)
		return
	}
	probe := &policy.Outcome{}
	server, err := p.dialAny(r.Context(), dest, t.origin(r, dest), probe)
	if err != nil {
		p.cfg.Log.Warn("upstream unavailable", "service", dest.Service.String(), "caller", t.peer, "cause", err)
		_ = r.Refuse(http.StatusServiceUnavailable)
		return
	}
	conn, err := r.Accept(nil)
	if err != nil {
		_ = server.Close()
		return
	}
	first, isHTTP, err := sniff(conn, p.cfg.Sniff)
	if err != nil {
		_ = server.Close()
		conn.Abort(err)
		return
	}
	client := &prefixed{conn, first}
	if isHTTP { // the probe served its purpose: HTTP exchanges choose endpoints one by one
		_ = server.Close()
		p.inner.serve(r.Context(), t, client)
		return
	}
	raw := p.judgeRaw(r.Context(), t, dest)
	defer raw.finish()
	raw.outcome.Backend = probe.Backend
	if !raw.outcome.Allowed() {
		_ = server.Close()
		conn.Abort(errors.New("proxy: refused by policy"))
		return
	}
	raw.splice(client, server)
}

// rawFlow is one raw connection on its way through the proxy.
type rawFlow struct {
	ctx     context.Context // ends when the rules turn against the connection, and not when the tunnel does: what it still holds is to be delivered
	pipe    *policy.Pipeline
	outcome *policy.Outcome
	done    func()
}

func (p *Proxy) judgeRaw(ctx context.Context, t *tunnel, dest *mesh.Destination) *rawFlow {
	c := t.newCall(dest)
	c.Protocol, c.Intent = call.TCP, call.Use
	entry, live, done := p.live.add(context.WithoutCancel(ctx), t, c)
	p.last(entry)
	pipe := p.cfg.Rules().Pipeline(dest.Service) // after add: what changes from here on finds the call
	o := pipe.Inspect(ctx, c)
	if dest.Mode == mesh.Observe {
		observed(o)
	}
	return &rawFlow{live, pipe, o, done}
}

func (f *rawFlow) finish() {
	f.done()
	f.pipe.Observe(context.WithoutCancel(f.ctx), f.outcome)
}

// splice copies until both sides have ended, or the rules turn against the connection.
func (f *rawFlow) splice(client, server duplex) {
	f.outcome.Status = http.StatusOK
	stop := context.AfterFunc(f.ctx, func() {
		_ = client.SetDeadline(past)
		_ = server.SetDeadline(past)
	})
	defer stop()
	_, _, err := hbone.Splice(client, server)
	var r *revokedError
	if errors.As(context.Cause(f.ctx), &r) {
		f.outcome.Verdict, f.outcome.Stage, err = r.verdict, r.stage, r
	}
	f.outcome.Err = err
	_ = client.Close()
	_ = server.Close()
}

// dialAny connects to an endpoint of dest, trying others while connections fail.
func (p *Proxy) dialAny(ctx context.Context, dest *mesh.Destination, from *origin, o *policy.Outcome) (duplex, error) {
	var last error
	var tried = make([]netip.AddrPort, 0, maxAttempts)
	for range maxAttempts {
		ep, err := dest.Pick(tried...)
		if err != nil {
			return nil, errors.Join(err, last)
		}
		conn, err := p.dial(ctx, ep, from)
		if err == nil {
			o.Backend = where(&ep)
			return conn, nil
		}
		last = err
		tried = append(tried, ep.Address)
	}
	return nil, last
}
