package proxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/mcp"
	"waymark.dev/waypoint/pkg/mesh"
	"waymark.dev/waypoint/pkg/session"
	"waymark.dev/waypoint/pkg/sse"
)

// mayBeMCP reports whether the body has to be read to tell what an exchange on a port that is not pinned to MCP is.
func (f *flow) mayBeMCP() bool {
	return mcp.Declares(f.call.HTTP.Header) || f.head.Method == http.MethodPost && f.head.ContentLength != 0 &&
		strings.Contains(strings.ToLower(strings.Join(f.call.HTTP.Header["Content-Type"], ",")), "json") // a backend may go by any of them
}

// detect looks at an exchange on a port that is not pinned to MCP. What is not positively MCP passes as plain HTTP, byte for
// byte; so does a body over the limit that does not declare itself by its headers (docs/rough-edges.md). A port that only
// observes decodes what it can and refuses nothing.
func (f *flow) detect() bool {
	if own, stranger := f.endpoint(); (own != nil || stranger) && f.dest.Mode != mesh.Observe { // of a 2024-11-05 session: all of it is MCP
		return f.decodeMCP()
	}
	if !f.mayBeMCP() {
		f.count(mcp.Classify(&f.call.HTTP, nil))
		f.decodePlain(f.x.body(), f.head.ContentLength)
		return true
	}
	if mcp.Declares(f.call.HTTP.Header) && f.dest.Mode != mesh.Observe {
		f.count(mcp.MCP)
		return f.decodeMCP()
	}
	body, err := f.x.readBody(f.maxBody(), bodyTimeout, f.budget().Grow)
	if errors.Is(err, errBodyTooLarge) {
		rest := f.x.body()
		return f.detectLarge(joined{io.MultiReader(bytes.NewReader(body), rest), rest}, f.head.ContentLength)
	}
	if err != nil {
		return f.unreadable(err)
	}
	return f.decodeShape(body)
}

// decodeShape chooses the decoder of a whole body by what the message is.
func (f *flow) decodeShape(body []byte) bool {
	shape := mcp.Classify(&f.call.HTTP, body)
	f.count(shape)
	// What is unclear is refused, as two servers would read two things, unless the port says whose it is.
	ours := shape == mcp.MCP || shape == mcp.Unclear && f.dest.Protocol != mesh.A2A
	switch {
	case ours && f.dest.Mode != mesh.Observe:
		return f.decodeMessage(body)
	case ours && f.observeMessage(body):
		return true
	}
	f.decodePlain(io.NopCloser(bytes.NewReader(body)), int64(len(body)))
	return true
}

// observeMessage decodes a message on a port that only observes, if it can be read at all.
func (f *flow) observeMessage(body []byte) bool {
	msg, refusal := mcp.Decode(&f.call.HTTP, body, f.options(session.Record{}))
	if refusal != nil {
		return false
	}
	msg.Fill(f.call)
	f.codec = &mcpCodec{msg: msg}
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

// mayListen reports whether an answer could be the event stream of a 2024-11-05 server, on a port that is not pinned.
func (f *flow) mayListen(in *inbound) bool {
	return f.dest.Mode == mesh.Auto && f.head.Method == http.MethodGet && in.status == http.StatusOK && isEvents(in.header)
}

// firstEvents bounds what is held back of an event stream to see what it is.
const firstEvents = 8 << 10

// relayUnknownStream relays an event stream that is MCP if its first event is the endpoint of a 2024-11-05 session. Anything
// else passes as it is.
func (f *flow) relayUnknownStream(ctx context.Context, in *inbound) {
	f.respond(in, -1)
	if err := f.x.flush(); err != nil {
		f.interrupt(ctx, err)
	}
	var held bytes.Buffer
	is := beginsWithEndpoint(io.TeeReader(in.body, &held))
	rest := in.body
	in.body = joined{io.MultiReader(&held, rest), rest}
	if !is {
		if err := f.copyBody(in.body, true); err != nil {
			f.interrupt(ctx, err)
		}
		return
	}
	f.count(mcp.MCP)
	msg, refusal := mcp.Decode(&f.call.HTTP, nil, f.options(session.Record{}))
	if refusal != nil {
		f.interrupt(ctx, errors.New("proxy: an endpoint on a stream that MCP does not have: "+refusal.Reason))
	}
	c := *f.outcome.Call
	msg.Fill(&c)
	f.outcome.Call = &c
	body := newMeter(in, f.budget(), true, 0, f.p.cfg.Event)
	defer body.close()
	codec := &mcpCodec{msg: msg}
	codec.relayEvents(ctx, f, in, msg.Replies(in.status, in.header, body), body)
}

// beginsWithEndpoint reads up to the first event.
func beginsWithEndpoint(r io.Reader) bool {
	events := sse.NewReader(io.LimitReader(r, firstEvents), firstEvents)
	for {
		e, err := events.Next()
		switch {
		case err != nil:
			return false
		case !e.Comment:
			return e.Name == "endpoint"
		}
	}
}

// enough is how many messages of a protocol a port must have carried before we suggest to pin it.
const enough = 10

// census counts what ports that are not pinned carry, so that an operator learns what to pin.
type census struct {
	mu   sync.Mutex
	seen map[sighting]int
}

// sighting is a protocol on a port. Services come from configuration, so there are only so many.
type sighting struct {
	service call.Service
	shape   mcp.Shape
}

func newCensus() *census { return &census{seen: map[sighting]int{}} }

// count reports whether this was the one that makes it worth a word.
func (c *census) count(s sighting) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seen[s] < enough {
		c.seen[s]++
		return c.seen[s] == enough
	}
	return false
}

func (f *flow) count(shape mcp.Shape) {
	name := shape.String()
	if name == "" || f.dest.Protocol.Agent() || !f.p.seen.count(sighting{f.dest.Service, shape}) {
		return
	}
	f.p.cfg.Log.Info("a port carries an agent protocol and does not say so: declare it", "service", f.dest.Service.String(),
		"port", f.dest.Service.Port, "annotation", "waymark.dev/protocol: "+name, "messages", enough)
}
