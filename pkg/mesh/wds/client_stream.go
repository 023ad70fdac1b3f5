package wds

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	rpc "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
)

// maxRequest keeps a request below the 4 MiB that istiod accepts. One that tells more names than fit would be refused each
// time, for ever.
const maxRequest = 3 << 20

// maxDetail bounds what a refusal of resources says, in bytes.
const maxDetail = 64 << 10

// subscription is one type of resource, all of it.
type subscription struct {
	typeURL string
	what    string // the resources are, for people
	apply   func(full bool, changed []resource, removed []string) []rejected

	// held has the version of each resource that the sink holds, by name; "" where it may hold another one than istiod sent
	// last. It outlives streams, so that istiod answers a new one with what is different only. nil for a type without
	// versions: istiod answers each new stream with all of it.
	held map[string]string
	full bool // the next response on this stream is everything
}

// request is the first one of a stream. That it names no resource subscribes to all.
func (s *subscription) request() *discovery.DeltaDiscoveryRequest {
	req := &discovery.DeltaDiscoveryRequest{TypeUrl: s.typeURL, InitialResourceVersions: s.held}
	if proto.Size(req) > maxRequest {
		req.InitialResourceVersions = nil
	}
	s.full = len(req.InitialResourceVersions) == 0
	return req
}

// follow runs one stream until it ends, and says since when it was answered; zero: never.
func (c *Client) follow(ctx context.Context) (answered time.Time, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	md, err := c.metadata()
	if err != nil {
		return answered, err
	}
	conn, err := c.connect()
	if err != nil {
		return answered, err
	}
	defer conn.Close()
	stream, err := discovery.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(metadata.NewOutgoingContext(ctx, md))
	if err != nil {
		return answered, err
	}
	for i, t := range c.types {
		req := t.request()
		if i == 0 {
			req.Node = c.node
		}
		if err := send(stream, req); err != nil {
			return answered, err
		}
	}
	for {
		resp, err := stream.Recv()
		if err != nil {
			return answered, err
		}
		if answered.IsZero() {
			answered = time.Now()
			c.answered()
		}
		if ack := c.take(resp); ack != nil {
			if err := send(stream, ack); err != nil {
				return answered, err
			}
		}
	}
}

// send leaves the end of the stream to the next Recv, which knows why it ended.
func send(stream discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesClient, req *discovery.DeltaDiscoveryRequest) error {
	if err := stream.Send(req); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// take applies a response and returns what to answer. A response of a type that nobody asked for gets no answer: to refuse
// it would name a type that we do not watch, and istiod takes for granted that whoever refuses does (pilot/pkg/xds/delta.go,
// shouldRespondDelta).
func (c *Client) take(resp *discovery.DeltaDiscoveryResponse) *discovery.DeltaDiscoveryRequest {
	for _, t := range c.types {
		if t.typeURL != resp.GetTypeUrl() {
			continue
		}
		refused := t.take(resp)
		c.applied(t.what)
		ack := &discovery.DeltaDiscoveryRequest{TypeUrl: t.typeURL, ResponseNonce: resp.GetNonce()}
		if len(refused) > 0 {
			detail := refusal(refused)
			c.refused(t.what, len(refused), detail)
			ack.ErrorDetail = &rpc.Status{Code: int32(codes.InvalidArgument), Message: detail}
		}
		return ack
	}
	c.opt.Log.Warn("istiod sent what was not asked for", "type", brief(resp.GetTypeUrl()), "resources", len(resp.GetResources()))
	return nil
}

// take applies a response to the sink and keeps the versions.
func (s *subscription) take(resp *discovery.DeltaDiscoveryResponse) []rejected {
	changed, removed, refused := s.sort(resp)
	full := s.full
	s.full = false
	if full || len(changed) > 0 || len(removed) > 0 {
		refused = append(refused, s.apply(full, changed, removed)...)
	}
	if s.held == nil {
		return refused
	}
	if full {
		s.held = make(map[string]string, len(changed))
	}
	for _, r := range changed {
		s.held[r.name] = r.version
	}
	for _, name := range removed {
		delete(s.held, name)
	}
	for _, r := range refused {
		if r.name != "" {
			s.held[r.name] = ""
		}
	}
	return refused
}

// sort takes a response apart. What has no name, or not the body of its type, is refused without asking the sink. A name that
// is both changed and removed was changed.
func (s *subscription) sort(resp *discovery.DeltaDiscoveryResponse) (changed []resource, removed []string, refused []rejected) {
	changed = make([]resource, 0, len(resp.GetResources()))
	there := make(map[string]bool)
	for _, r := range resp.GetResources() {
		name, body := r.GetName(), r.GetResource()
		if len(resp.GetRemovedResources()) > 0 {
			there[name] = true
		}
		switch {
		case name == "":
			refused = append(refused, rejected{err: errors.New("it has no name")})
		case body == nil:
			refused = append(refused, rejected{name: name, err: errors.New("it has no body")})
		case body.GetTypeUrl() != s.typeURL:
			refused = append(refused, rejected{name: name, err: fmt.Errorf("its body is a %q", brief(body.GetTypeUrl()))})
		default:
			changed = append(changed, resource{name: name, version: r.GetVersion(), body: body})
		}
	}
	for _, name := range resp.GetRemovedResources() {
		if !there[name] {
			removed = append(removed, name)
		}
	}
	return changed, removed, refused
}

// refusal names each resource that could not be used and why, as far as there is room.
func refusal(refused []rejected) string {
	var b strings.Builder
	for i, r := range refused {
		line := fmt.Sprintf("%q: %s", brief(r.name), brief(r.err.Error()))
		if b.Len()+len(line) > maxDetail {
			fmt.Fprintf(&b, "; and %d more", len(refused)-i)
			break
		}
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(line)
	}
	return strings.ToValidUTF8(b.String(), "\uFFFD")
}

// brief cuts what somebody else wrote to a length that a log can bear.
func brief(text string) string {
	const most = 512
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}
