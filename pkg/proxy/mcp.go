package proxy

import (
	"maps"
	"net/http"
	"slices"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/jsonrpc"
	"waymark.dev/waypoint/pkg/mcp"
	"waymark.dev/waypoint/pkg/mesh"
	"waymark.dev/waypoint/pkg/policy"
	"waymark.dev/waypoint/pkg/session"
	"waymark.dev/waypoint/pkg/sse"
)

// mcpCodec is the codec of one MCP exchange: the request is whole, replies are judged one by one.
type mcpCodec struct {
	msg       *mcp.Message
	session   session.Record  // what is on record of the exchange's session; zero if nothing is
	elsewhere *endpoint       // of a 2024-11-05 POST: where its caller hears the answer
	posts     string          // of a 2024-11-05 stream: the URI that its server named for POSTs
	place     *session.Stream // of a stream that its caller listens on, while it is open
	replaced  bool            // what goes on is our word that policy refused the caller's
}

// decodeMCP reads an exchange on a port that carries MCP. It reports false if it has answered already.
func (f *flow) decodeMCP() bool {
	body, ok := f.readWhole()
	if !ok {
		return false
	}
	return f.decodeMessage(body)
}

// decodeMessage reads a whole message, with what is on record of its session. It reports false if it has answered already.
func (f *flow) decodeMessage(body []byte) bool {
	c := &mcpCodec{}
	var stranger error
	c.session, stranger = f.p.held.Find(f.sessionKey(), f.t.peer)
	own, others := f.endpoint()
	if c.elsewhere = own; others {
		stranger = session.ErrStranger
	}
	msg, refusal := mcp.Decode(&f.call.HTTP, body, f.options(c.session))
	if refusal != nil {
		f.call.Protocol = call.MCP
		if stranger == nil {
			refusal = c.redirect(refusal)
		}
		f.refuse(refusal.Code, refusal.Reason, wire(refusal))
		return false
	}
	if body == nil && c.session.Path != "" && c.session.Path != f.call.HTTP.Path { // the session does not live there
		f.decodePlain(nil, 0)
		return true
	}
	msg.Fill(f.call)
	if stranger != nil {
		f.refuse(call.EntitlementDenied, stranger.Error(), wire(msg.NoSession()))
		return false
	}
	c.msg, f.codec, f.shares = msg, c, f.sharesOf(msg)
	return f.turn(c)
}

// turn counts the pages of a listing. A server that always has one more keeps a client busy for ever. It reports false if it
// has answered.
func (f *flow) turn(c *mcpCodec) bool {
	for _, msg := range append(slices.Clip(c.msg.Parts()), c.msg) {
		method, page := msg.Listing()
		if method == "" {
			continue
		}
		if err := f.p.held.Turn(f.sessionKey(), f.t.peer, f.dest.Service, method, page); err != nil {
			f.refuse(call.RateLimited, err.Error(), c.deny(policy.Verdict{Code: call.RateLimited}))
			return false
		}
	}
	return true
}

func (f *flow) options(on session.Record) mcp.Options {
	limits := jsonrpc.RequestLimits()
	limits.Bytes = int(f.maxBody())
	return mcp.Options{
		Style: mcp.Style(f.dest.Style), Request: limits, Batches: f.dest.Batches, Assumed: mcp.ParseVersion(on.Version),
	}
}

func wire(r *mcp.Response) *response { return &response{r.Status, r.Header, r.Body} }

func denial(v policy.Verdict) mcp.Denial {
	return mcp.Denial{Code: v.Code, Retry: v.Retry, Ticket: v.Ticket, Challenge: v.Challenge}
}

func (c *mcpCodec) deny(v policy.Verdict) *response {
	if r := c.announce(denial(v)); r != nil {
		return r
	}
	return wire(c.msg.Deny(denial(v)))
}

func (c *mcpCodec) unavailable(status int) *response {
	if r := c.announce(mcp.Denial{Code: call.UpstreamUnavailable}); r != nil {
		return r
	}
	return wire(c.msg.Unavailable(status))
}

// announce puts a refusal where a 2024-11-05 caller waits for it: on its event stream (contract mcp-a2a 8.4). It returns nil if
// there is no such stream any more.
func (c *mcpCodec) announce(d mcp.Denial) *response {
	if c.elsewhere == nil {
		return nil
	}
	event, accepted := c.msg.Inject(d)
	if event != nil && c.elsewhere.stream.write(event) != nil {
		return nil
	}
	return wire(accepted)
}

// redirect puts the answer to a message that names nothing on the event stream, if that is where its caller waits for answers.
func (c *mcpCodec) redirect(r *mcp.Response) *mcp.Response {
	if c.elsewhere == nil || r.Status != http.StatusOK {
		return r
	}
	event := sse.Event{Data: r.Body, HasData: true}
	if c.elsewhere.stream.write(event.Append(nil)) != nil {
		return r
	}
	return &mcp.Response{Status: http.StatusAccepted, Header: http.Header{}, Code: r.Code, Reason: r.Reason}
}

// replace sends the server an error where policy refused a client's answer: it would wait for one for ever (contract mcp-a2a
// 6.5). Only a server that this caller has a session with hears anything at all.
func (c *mcpCodec) replace(f *flow) bool {
	c.replaced = c.msg.Instead() != nil && (c.session.Version != "" || c.elsewhere != nil)
	return c.replaced
}

func (c *mcpCodec) outbound(f *flow) *outbound {
	var rewritten []byte
	if f.outcome.Rewritten {
		rewritten = f.outcome.Call.Arguments
	}
	req := f.forwarded()
	req.Header = maps.Clone(req.Header) // a change of rules may judge the call's own at any time
	if f.dest.Mode != mesh.Observe {
		c.msg.Upstream(req.Header)
	}
	delete(req.Header, "Expect")
	body := c.msg.Encode(rewritten)
	if c.replaced {
		body = c.msg.Instead()
	}
	return &outbound{
		Request: req,
		replay:  body,
		http2:   f.wantsHTTP2() || f.head.Proto == 2 && f.dest.Protocol == mesh.Unknown,
		inform:  f.x.inform,
	}
}
