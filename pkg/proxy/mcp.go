package proxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/jsonrpc"
	"waymark.dev/waypoint/pkg/mcp"
	"waymark.dev/waypoint/pkg/mesh"
	"waymark.dev/waypoint/pkg/policy"
)

// mcpCodec is the codec of one MCP exchange: the request is whole, replies are judged one by one.
type mcpCodec struct{ msg *mcp.Message }

// decodeMCP reads an exchange on a port that carries MCP. It reports false if it has answered already.
func (f *flow) decodeMCP() bool {
	body, ok := f.readWhole()
	if !ok {
		return false
	}
	return f.decodeMessage(body)
}

// declaresMCP reports whether a request says by its headers that it is MCP.
func declaresMCP(h http.Header) bool {
	return len(h["Mcp-Session-Id"]) > 0 || len(h["Mcp-Protocol-Version"]) > 0 || len(h["Mcp-Method"]) > 0
}

// mayBeMCP reports whether the body has to be read to tell what an exchange on a port that is not pinned to MCP is.
func (f *flow) mayBeMCP() bool {
	return declaresMCP(f.call.HTTP.Header) || f.head.Method == http.MethodPost && f.head.ContentLength != 0 &&
		strings.Contains(strings.ToLower(strings.Join(f.call.HTTP.Header["Content-Type"], ",")), "json") // a backend may go by any of them
}

// detectMCP looks at a whole body on a port that is not pinned. What is not positively MCP passes as plain HTTP, byte for
// byte; so does a body over the limit that does not declare itself by its headers (docs/rough-edges.md). A port that only
// observes decodes what it can and refuses nothing.
func (f *flow) detectMCP() bool {
	if declaresMCP(f.call.HTTP.Header) && f.dest.Mode != mesh.Observe {
		return f.decodeMCP()
	}
	body, err := f.x.readBody(f.maxBody(), bodyTimeout)
	if errors.Is(err, errBodyTooLarge) {
		rest := f.x.body()
		return f.detectLarge(joined{io.MultiReader(bytes.NewReader(body), rest), rest}, f.head.ContentLength)
	}
	if err != nil {
		return f.unreadable(err)
	}
	if mcp.Matches(&f.call.HTTP, body) {
		if f.dest.Mode != mesh.Observe {
			return f.decodeMessage(body)
		}
		if msg, refusal := mcp.Decode(&f.call.HTTP, body, f.options()); refusal == nil {
			msg.Fill(f.call)
			f.codec = &mcpCodec{msg}
			return true
		}
	}
	f.decodePlain(io.NopCloser(bytes.NewReader(body)), int64(len(body)))
	return true
}

// detectLarge decides about a body that is too large to be looked at, by what only clients of MCP accept.
func (f *flow) detectLarge(body io.ReadCloser, length int64) bool {
	accept := strings.ToLower(strings.Join(f.call.HTTP.Header["Accept"], ","))
	if f.dest.Mode != mesh.Observe && strings.Contains(accept, "application/json") && strings.Contains(accept, "text/event-stream") {
		f.call.Protocol = call.MCP
		f.refuse(call.TooLarge, errBodyTooLarge.Error(), closing(plainResponse(http.StatusRequestEntityTooLarge, string(call.TooLarge))))
		return false
	}
	f.decodePlain(body, length)
	return true
}

type joined struct {
	io.Reader
	io.Closer
}

func (f *flow) decodeMessage(body []byte) bool {
	msg, refusal := mcp.Decode(&f.call.HTTP, body, f.options())
	if refusal != nil {
		f.call.Protocol = call.MCP
		f.refuse(refusal.Code, refusal.Reason, wire(refusal))
		return false
	}
	msg.Fill(f.call)
	f.codec = &mcpCodec{msg}
	return true
}

func (f *flow) options() mcp.Options {
	limits := jsonrpc.RequestLimits()
	limits.Bytes = int(f.maxBody())
	return mcp.Options{Style: mcp.Style(f.dest.Style), Request: limits}
}

func wire(r *mcp.Response) *response { return &response{r.Status, r.Header, r.Body} }

func denial(v policy.Verdict) mcp.Denial {
	return mcp.Denial{Code: v.Code, Retry: v.Retry, Ticket: v.Ticket}
}

func (c *mcpCodec) deny(v policy.Verdict) *response { return wire(c.msg.Deny(denial(v))) }

func (c *mcpCodec) unavailable(status int) *response { return wire(c.msg.Unavailable(status)) }

func (c *mcpCodec) outbound(f *flow) *outbound {
	var rewritten []byte
	if f.outcome.Rewritten {
		rewritten = f.outcome.Call.Arguments
	}
	req := f.call.HTTP
	req.Header = maps.Clone(req.Header) // a change of rules may judge the call's own at any time
	if f.dest.Mode != mesh.Observe {
		c.msg.Upstream(req.Header)
	}
	delete(req.Header, "Expect")
	return &outbound{
		Request: req,
		replay:  c.msg.Encode(rewritten),
		http2:   f.wantsHTTP2() || f.head.Proto == 2 && f.dest.Protocol == mesh.Unknown,
		inform:  f.x.inform,
	}
}

// relay shows each reply to the pipeline before the caller sees it, and reads no further until that one is written.
func (c *mcpCodec) relay(ctx context.Context, f *flow, in *inbound) {
	replies := c.msg.Replies(in.status, in.header, in.body)
	if replies.Mode() == mcp.Passthrough || f.dest.Mode == mesh.Observe {
		f.relayPlain(ctx, in)
		return
	}
	if replies.Stream() {
		c.relayStream(ctx, f, in, replies)
		return
	}
	for item, err := range replies.All() { // one, at most
		if err != nil {
			f.fault(ctx, err)
			f.send(wire(c.msg.Faulty()))
			return
		}
		out, v := c.judge(ctx, f, in, item)
		if v.Action == policy.Deny {
			f.send(wire(c.msg.Deny(denial(v))))
			return
		}
		f.respond(in, int64(len(out)))
		if _, err := f.x.Write(out); err != nil {
			f.interrupt(ctx, err)
		}
		return
	}
	f.respond(in, 0)
}

// relayStream relays events one by one. The caller learns at once that the answer will come piece by piece.
func (c *mcpCodec) relayStream(ctx context.Context, f *flow, in *inbound, replies *mcp.Replies) {
	if in.header.Get("X-Accel-Buffering") == "" { // for proxies behind us: an event held back is an event lost (2026-07-28, transports)
		in.header.Set("X-Accel-Buffering", "no")
	}
	f.respond(in, -1)
	if err := f.x.flush(); err != nil {
		f.interrupt(ctx, err)
	}
	for item, err := range replies.All() {
		var out []byte
		last := false
		if err != nil {
			f.fault(ctx, err)
			out, last = c.msg.Cut(replies, mcp.Denial{Code: call.UpstreamUnavailable}), true
		} else {
			var v policy.Verdict
			if out, v = c.judge(ctx, f, in, item); v.Action == policy.Deny {
				out, last = c.msg.Cut(replies, denial(v)), true
			}
		}
		if len(out) > 0 {
			if _, err := f.x.Write(out); err != nil {
				f.interrupt(ctx, err)
			}
			if err := f.x.flush(); err != nil {
				f.interrupt(ctx, err)
			}
		}
		if last {
			return
		}
	}
}

// fault records that an answer could not be read, or cuts the exchange if that was our own or the caller's doing.
func (f *flow) fault(ctx context.Context, err error) {
	if ctx.Err() != nil {
		f.interrupt(ctx, err)
	}
	f.outcome.Err = err
	f.p.cfg.Log.Warn("faulty answer", "service", f.dest.Service.String(), "decision", f.call.ID, "cause", withheld(err))
}

// judge returns the bytes to write for one item, and Deny if the answer must end instead.
func (c *mcpCodec) judge(ctx context.Context, f *flow, in *inbound, item *mcp.Item) ([]byte, policy.Verdict) {
	r := item.Reply
	if r == nil {
		return item.Bytes(), policy.Verdict{Action: policy.Pass}
	}
	for _, asks := range r.Asks {
		v := f.mayAsk(ctx, asks)
		switch {
		case v.Action == policy.Pass:
		case r.Final: // a result that asks cannot be cut to size: the server would ask again (contract mcp-a2a 6.3)
			return nil, v
		default:
			f.answer(ctx, in, item.Answer())
			return nil, policy.Verdict{Action: policy.Pass}
		}
	}
	v := f.pipe.InspectReply(ctx, f.outcome, r)
	if v.Action == policy.Rewrite {
		return item.With(v.Body), v
	}
	return item.Bytes(), v
}

// mayAsk judges a request that travels from the server to the client, as a call of its own.
func (f *flow) mayAsk(ctx context.Context, asks *call.Call) policy.Verdict {
	c := *f.call
	c.ID, c.Received = newID(), f.p.cfg.Now()
	c.Direction, c.Method, c.Intent = call.ToClient, asks.Method, asks.Intent
	c.Target, c.Arguments = asks.Target, asks.Arguments
	o := f.pipe.Inspect(ctx, &c)
	f.pipe.Observe(context.WithoutCancel(ctx), o)
	if o.Allowed() {
		return policy.Verdict{Action: policy.Pass}
	}
	v := o.Verdict
	v.Action = policy.Deny // nobody can be asked for approval in the middle of an answer
	return v
}

// answer tells a server that its request was refused: otherwise it would wait for the client for ever (contract mcp-a2a 6.5).
// It goes to the endpoint that asked, on the session and with the credentials of the exchange it asked in.
func (f *flow) answer(ctx context.Context, in *inbound, body []byte) {
	i := slices.IndexFunc(f.dest.Endpoints, func(ep mesh.Endpoint) bool { return ep.Address == in.backend })
	if i < 0 || len(body) == 0 {
		return
	}
	req := f.call.HTTP
	req.Method, req.Header = http.MethodPost, req.Header.Clone()
	delete(req.Header, "Last-Event-Id")
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	resp, err := f.p.upstream.roundTrip(ctx, f.dest.Endpoints[i], &outbound{Request: req, replay: body})
	if err != nil {
		f.p.cfg.Log.Warn("a refusal did not reach the server that asked", "service", f.dest.Service.String(), "decision", f.call.ID, "cause", withheld(err))
		return
	}
	_ = resp.body.Close()
}
