package proxy

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/mcp"
	"waymark.dev/waypoint/pkg/mesh"
	"waymark.dev/waypoint/pkg/policy"
	"waymark.dev/waypoint/pkg/session"
)

// relay shows each reply to the pipeline before the caller sees it, and reads no further until that one is written.
func (c *mcpCodec) relay(ctx context.Context, f *flow, in *inbound) {
	if f.dest.Mode == mesh.Observe {
		f.relayPlain(ctx, in)
		return
	}
	if err := c.settle(f, in); err != nil { // another caller's since the request was read
		f.outcome.Verdict = policy.Verdict{Action: policy.Deny, Code: call.EntitlementDenied, Reason: err.Error()}
		f.send(wire(c.msg.NoSession()))
		return
	}
	body := newMeter(in, f.budget(), isEvents(in.header), c.most(), f.p.cfg.Event)
	defer body.close()
	replies := c.msg.Replies(in.status, in.header, body)
	switch {
	case replies.Mode() == mcp.Passthrough:
		f.relayPlain(ctx, in)
	case replies.Stream():
		c.relayStream(ctx, f, in, replies, body)
	default:
		c.relayObject(ctx, f, in, replies)
	}
}

// most bounds an answer in all, unless its caller came to listen.
func (c *mcpCodec) most() int64 {
	if c.msg.Listens() {
		return 0
	}
	return maxAnswer
}

func isEvents(h http.Header) bool {
	return strings.HasPrefix(strings.ToLower(h.Get("Content-Type")), "text/event-stream")
}

// relayObject relays an answer in one piece.
func (c *mcpCodec) relayObject(ctx context.Context, f *flow, in *inbound, replies *mcp.Replies) {
	for item, err := range replies.All() { // one, at most
		var out []byte
		var v policy.Verdict
		if err == nil {
			out, v, err = c.judge(ctx, f, in, item)
		}
		if err != nil {
			f.fault(ctx, err)
			f.send(wire(c.msg.Faulty()))
			return
		}
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
func (c *mcpCodec) relayStream(ctx context.Context, f *flow, in *inbound, replies *mcp.Replies, body *meter) {
	if in.header.Get("X-Accel-Buffering") == "" { // for proxies behind us: an event held back is an event lost (2026-07-28, transports)
		in.header.Set("X-Accel-Buffering", "no")
	}
	f.respond(in, -1)
	if err := f.x.flush(); err != nil {
		f.interrupt(ctx, err)
	}
	c.relayEvents(ctx, f, in, replies, body)
}

// relayEvents relays what comes after the head of an event stream.
func (c *mcpCodec) relayEvents(ctx context.Context, f *flow, in *inbound, replies *mcp.Replies, body *meter) {
	if c.msg.Listens() { // answers to calls are as many as the calls that an agent makes at once
		c.place = f.p.held.Stream(f.sessionKey(), f.t.peer, f.crowdedOut)
		defer c.place.Done()
	}
	s := &streaming{mcpCodec: c, f: f, in: in, out: &eventStream{x: f.x}}
	defer s.end()
	n := 0
	for item, err := range replies.All() {
		if n++; err == nil && n > maxEvents && c.most() > 0 {
			err = errAnswerTooLarge
		}
		if last := s.relay(ctx, replies, item, err); last {
			return
		}
		body.next()
		if c.place != nil {
			c.place.Touch()
		}
	}
}

// crowdedOut ends this exchange's event stream, because its caller opened too many after it.
func (f *flow) crowdedOut(err error) {
	f.entry.cut(&revokedError{policy.Verdict{Action: policy.Deny, Code: call.RateLimited, Reason: err.Error()}, "limits"})
}

// streaming is an answer of events under way.
type streaming struct {
	*mcpCodec
	f      *flow
	in     *inbound
	out    *eventStream
	forget func() // ends the announcement of a 2024-11-05 endpoint

	resumable bool // the caller can ask for the rest
}

// relay judges and writes one item, and reports whether it was the last one the caller gets.
func (s *streaming) relay(ctx context.Context, replies *mcp.Replies, item *mcp.Item, err error) (last bool) {
	var out []byte
	var v policy.Verdict
	if err == nil {
		err = s.announceEndpoint(item)
	}
	if err == nil {
		out, v, err = s.judge(ctx, s.f, s.in, item)
	}
	switch {
	case err != nil && s.resumable && brokeOff(err): // the answer may still come, on another stream (contract mcp-a2a 3.2)
		s.f.interrupt(ctx, err)
	case err != nil:
		s.f.fault(ctx, err)
		out, last = s.msg.Cut(replies, mcp.Denial{Code: call.UpstreamUnavailable}), true
	case v.Action == policy.Deny:
		out, last = s.msg.Cut(replies, denial(v)), true
	}
	if item != nil && item.Resumable() {
		s.resumable = true
	}
	if len(out) > 0 {
		if err := s.out.write(out); err != nil {
			s.f.interrupt(ctx, err)
		}
	}
	return last
}

// brokeOff reports whether a stream ended by an accident of the connection, and not because of what it carried.
func brokeOff(err error) bool {
	for _, ours := range [...]error{mcp.ErrUpstream, errTooSlow, errAnswerTooLarge, errEndpointTaken, session.ErrBytes, session.ErrStranger} {
		if errors.Is(err, ours) {
			return false
		}
	}
	return true
}

// announceEndpoint makes this stream the place where answers to POSTs to an endpoint appear. It comes before the caller learns
// of the endpoint.
func (s *streaming) announceEndpoint(item *mcp.Item) (err error) {
	if uri, ok := item.Endpoint(); ok && s.forget == nil {
		s.posts = uri
		s.forget, err = s.f.p.endpoints.add(&endpoint{s.f.t.peer, s.out, marksOf(s.f.dest.Service, uri)})
	}
	return err
}

func (s *streaming) end() {
	if s.forget != nil {
		s.forget()
	}
	s.out.end()
}

// fault records that an answer could not be read, or cuts the exchange if that was our own or the caller's doing.
func (f *flow) fault(ctx context.Context, err error) {
	if ctx.Err() != nil {
		f.interrupt(ctx, err)
	}
	f.outcome.Err = err
	f.p.cfg.Log.Warn("faulty answer", "service", f.dest.Service.String(), "decision", f.call.ID, "cause", withheld(err))
}

// judge returns the bytes to write for one item, Deny if the answer must end instead, or an error if it must because of the
// server.
func (c *mcpCodec) judge(ctx context.Context, f *flow, in *inbound, item *mcp.Item) ([]byte, policy.Verdict, error) {
	if items := item.Batch(); items != nil {
		return c.judgeBatch(ctx, f, in, item, items)
	}
	r := item.Reply
	if r == nil {
		return item.Bytes(), policy.Verdict{Action: policy.Pass}, nil
	}
	for _, asks := range r.Asks {
		v := f.mayAsk(ctx, asks)
		switch {
		case v.Action == policy.Pass:
		case r.Final: // a result that asks cannot be cut to size: the server would ask again (contract mcp-a2a 6.3)
			f.outcome.Verdict, f.outcome.Stage = v, "reply"
			return nil, v, nil
		default:
			f.answer(ctx, in, c.posts, item.Answer())
			return nil, policy.Verdict{Action: policy.Pass}, nil
		}
	}
	if r.Notice != nil && f.mayAsk(ctx, r.Notice).Action != policy.Pass {
		return nil, policy.Verdict{Action: policy.Pass}, nil
	}
	v := f.pipe.InspectReply(ctx, c.outcomeOf(f, item), r)
	if v.Action == policy.Deny {
		f.outcome.Verdict, f.outcome.Stage = v, c.outcomeOf(f, item).Stage
		return nil, v, nil
	}
	if err := c.greet(f, in, item); err != nil {
		return nil, policy.Verdict{}, err
	}
	if v.Action == policy.Rewrite {
		return item.With(v.Body), v, nil
	}
	return item.Bytes(), v, nil
}

// judgeBatch judges the elements of an array one by one, and refuses it whole if it must refuse one.
func (c *mcpCodec) judgeBatch(ctx context.Context, f *flow, in *inbound, whole *mcp.Item, items []*mcp.Item) ([]byte, policy.Verdict, error) {
	texts := make([][]byte, len(items))
	for i, item := range items {
		text, v, err := c.judge(ctx, f, in, item)
		if err != nil || v.Action == policy.Deny {
			return nil, v, err
		}
		texts[i] = text
	}
	return whole.Join(texts), policy.Verdict{Action: policy.Pass}, nil
}

// mayAsk judges what travels from the server to the client, as a call of its own. Progress and its like is on record only where
// it is refused.
func (f *flow) mayAsk(ctx context.Context, asks *call.Call) policy.Verdict {
	c := *f.call
	c.ID, c.Received = newID(), f.p.cfg.Now()
	c.Direction, c.Method, c.Intent = call.ToClient, asks.Method, asks.Intent
	c.Target, c.Arguments = asks.Target, asks.Arguments
	o := f.pipe.Inspect(ctx, &c)
	if o.Allowed() && c.Intent == call.Plumbing {
		return policy.Verdict{Action: policy.Pass}
	}
	f.pipe.Observe(context.WithoutCancel(ctx), o)
	if o.Allowed() {
		return policy.Verdict{Action: policy.Pass}
	}
	v := o.Verdict
	v.Action = policy.Deny // nobody can be asked for approval in the middle of an answer
	return v
}

// answer tells a server that its request was refused: otherwise it would wait for the client for ever (contract mcp-a2a 6.5).
// It goes to the endpoint that asked, on the session and with the credentials of the exchange it asked in, and to the URI that a
// 2024-11-05 server has named for it.
func (f *flow) answer(ctx context.Context, in *inbound, uri string, body []byte) {
	if len(body) == 0 {
		return
	}
	req := f.forwarded()
	req.Method, req.Header = http.MethodPost, req.Header.Clone()
	if uri != "" {
		req.Path, req.Query, _ = strings.Cut(uri, "?")
	}
	delete(req.Header, "Last-Event-Id")
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	resp, err := f.p.upstream.roundTrip(ctx, &destination{in.endpoint, f.dest.Service}, &outbound{Request: req, replay: body}, false)
	if err != nil {
		f.p.cfg.Log.Warn("a refusal did not reach the server that asked", "service", f.dest.Service.String(), "decision", f.call.ID, "cause", withheld(err))
		return
	}
	_ = resp.body.Close()
}
