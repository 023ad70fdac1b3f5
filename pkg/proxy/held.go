package proxy

import (
	"context"
	"net/http"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/mcp"
	"waymark.dev/waypoint/pkg/policy"
	"waymark.dev/waypoint/pkg/session"
)

// sessionKey names the session that a request presents. The modern era has none, whatever a header says; two header lines are
// refused by the codec.
func (f *flow) sessionKey() session.Key {
	if f.key == nil {
		k := f.readSessionKey()
		f.key = &k
	}
	return *f.key
}

func (f *flow) readSessionKey() session.Key {
	h := f.call.HTTP.Header
	ids, version := h["Mcp-Session-Id"], h["Mcp-Protocol-Version"]
	if len(ids) != 1 || ids[0] == "" || len(version) == 1 && mcp.ParseVersion(version[0]).Modern() {
		return session.Key{}
	}
	return session.KeyOf(f.dest.Service, ids[0])
}

// endpoint finds the event stream on which the answer to a POST will appear, nil if there is none, and whether the POST goes to
// another caller's.
func (f *flow) endpoint() (own *endpoint, stranger bool) {
	if f.head.Method != http.MethodPost || f.p.endpoints.none() {
		return nil, false
	}
	return f.p.endpoints.find(marksIn(f.dest.Service, f.call.HTTP.Path+"?"+f.call.HTTP.Query), f.t.peer)
}

// budget is what this exchange may hold in memory of what its two ends send.
func (f *flow) budget() *session.Hold {
	if f.hold == nil {
		f.hold = f.p.held.Hold(f.sessionKey(), f.t.peer)
	}
	return f.hold
}

// release gives back what is left of the budget when the exchange is over.
func (f *flow) release() {
	if f.hold != nil {
		f.hold.Release()
	}
}

// settle keeps the book of sessions by what the server said: a session is its principal's from the first answer to it on, and
// it ends when the server says so.
func (c *mcpCodec) settle(f *flow, in *inbound) error {
	key := f.sessionKey()
	switch {
	case key == session.Key{}:
	case in.status == http.StatusNotFound, c.msg.Ends() && success(in.status):
		f.p.held.Close(key)
	case success(in.status):
		_, err := f.p.held.Use(key, f.t.peer)
		return err
	}
	return nil
}

// greet records the session that an answered handshake opened. A server that gives two callers one session would let one read
// what is meant for the other.
func (c *mcpCodec) greet(f *flow, in *inbound, item *mcp.Item) error {
	hello, ok := item.Handshake()
	if !ok {
		return nil
	}
	id := in.header.Get("Mcp-Session-Id")
	if id == "" {
		return nil
	}
	now := f.p.cfg.Now()
	return f.p.held.Open(session.KeyOf(f.dest.Service, id), session.Record{
		Principal: f.t.peer, Version: hello.Version.String(), Client: hello.Client, Server: hello.Server,
		Path: f.call.HTTP.Path, Opened: now, Seen: now,
	})
}

func success(status int) bool { return status >= 200 && status < 300 }

// evicted records what was given up to stay within a limit.
func (p *Proxy) evicted(e session.Eviction) {
	p.cfg.Log.Warn("a limit was reached", "what", e.What, "scope", e.Scope, "limit", e.Limit, "caller", e.Principal, "service", e.Service.String())
	if e.What == "stream" { // the exchange that is cut has a record of its own
		return
	}
	pipe := p.cfg.Rules().Pipeline(e.Service)
	o := pipe.Refused(&call.Call{
		ID: newID(), Received: p.cfg.Now(), Protocol: call.MCP, Direction: call.ToServer, Principal: e.Principal,
		Route: call.Route{Name: e.Service.String(), Service: e.Service},
	}, policy.Verdict{Code: call.RateLimited, Reason: e.String()})
	o.Stage = "limits"
	pipe.Observe(context.Background(), o)
}
