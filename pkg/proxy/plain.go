package proxy

import (
	"context"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/mesh"
	"waymark.dev/waypoint/pkg/policy"
)

// plain is the codec of ordinary HTTP: the head is judged, the bodies pass unread and unbuffered.
type plain struct {
	body    io.ReadCloser // nil if there is none
	length  int64
	upgrade string
	grpc    bool
}

func (f *flow) decodePlain(body io.ReadCloser, length int64) {
	c := f.call
	c.Protocol, c.Method, c.Intent = call.HTTP, f.head.Method, call.Use
	if length == 0 {
		body = nil
	}
	f.codec = &plain{
		body: body, length: length,
		upgrade: websocket(f.head),
		grpc:    strings.HasPrefix(f.head.Header.Get("Content-Type"), "application/grpc"),
	}
}

// websocket returns "websocket" if the head asks to switch to it. Every other upgrade is ignored, as HTTP allows: h2c by
// upgrade in particular would carry requests past us.
func websocket(h *head) string {
	if h.Proto != 1 || h.Method != http.MethodGet || !strings.EqualFold(h.Header.Get("Upgrade"), "websocket") {
		return ""
	}
	for _, line := range h.Header["Connection"] {
		for name := range splitList(line) {
			if name == "Upgrade" {
				return "websocket"
			}
		}
	}
	return ""
}

func (c *plain) deny(v policy.Verdict) *response {
	if c.grpc { // trailers-only
		return &response{http.StatusOK, http.Header{
			"Content-Type": {"application/grpc"}, "Grpc-Status": {grpcStatus(v.Code)}, "Grpc-Message": {string(v.Code)},
		}, nil}
	}
	status := http.StatusForbidden
	switch v.Code {
	case call.Unauthenticated, call.TokenInvalid:
		status = http.StatusUnauthorized
	case call.UpstreamUnavailable:
		status = http.StatusServiceUnavailable
	case call.RateLimited, call.BudgetExhausted:
		status = http.StatusTooManyRequests
	}
	return plainResponse(status, "denied: "+string(v.Code))
}

// grpcStatus is UNAUTHENTICATED for who has not said, or not proven, who is asking, and PERMISSION_DENIED for all others.
func grpcStatus(code call.Code) string {
	if code == call.Unauthenticated || code == call.TokenInvalid {
		return "16"
	}
	return "7"
}

func (c *plain) unavailable(status int) *response {
	if c.grpc { // 14 is UNAVAILABLE
		return &response{http.StatusOK, http.Header{
			"Content-Type": {"application/grpc"}, "Grpc-Status": {"14"}, "Grpc-Message": {string(call.UpstreamUnavailable)},
		}, nil}
	}
	return plainResponse(status, string(call.UpstreamUnavailable))
}

// A request of plain HTTP is one thing, and there is nobody to tell of a refusal but its caller.
func (c *plain) divide(context.Context, *flow, Rules) {}
func (c *plain) replace(*flow) bool                   { return false }

func (c *plain) outbound(f *flow) *outbound {
	req := f.forwarded()
	req.Header = maps.Clone(req.Header) // a change of rules may judge the call's own at any time
	return &outbound{
		Request: req,
		body:    c.body,
		length:  c.length,
		trailer: f.head.Trailer,
		http2:   f.wantsHTTP2() || f.head.Proto == 2 && f.dest.Protocol != mesh.HTTP,
		upgrade: c.upgrade,
		inform:  f.x.inform,
	}
}

// wantsHTTP2 reports whether the port is declared to speak HTTP/2 only.
func (f *flow) wantsHTTP2() bool {
	return f.dest.HTTP2 || f.dest.Protocol == mesh.HTTP2 || f.dest.Protocol == mesh.GRPC
}

func (c *plain) relay(ctx context.Context, f *flow, in *inbound) {
	if in.status == http.StatusSwitchingProtocols {
		f.relayUpgrade(ctx, in)
		return
	}
	if c.body != nil {
		f.x.overlap()
	}
	if f.mayListen(in) {
		f.relayUnknownStream(ctx, in)
		return
	}
	f.hangUp = c.upgrade != "" // the connection may hold bytes for a protocol that was not accepted
	f.relayPlain(ctx, in)
}

var chunks = sync.Pool{New: func() any { b := make([]byte, copyChunk); return &b }}

// relayPlain passes an answer on unread: every read is written and, unless the length is known, flushed at once.
func (f *flow) relayPlain(ctx context.Context, in *inbound) {
	length := in.length
	if len(in.trailer()) > 0 { // HTTP/1 has trailers in chunked bodies only
		length = -1
	}
	f.respond(in, length)
	if err := f.copyBody(in.body, in.length < 0); err != nil {
		f.interrupt(ctx, err)
	}
	f.x.trailer(in.trailer())
}

// copyBody relays a body of any length through one pooled buffer.
func (f *flow) copyBody(body io.Reader, flush bool) error {
	if flush { // the head goes out before the first byte: event streams wait for their first event
		if err := f.x.flush(); err != nil {
			return err
		}
	}
	buf := chunks.Get().(*[]byte)
	defer chunks.Put(buf)
	for {
		n, err := body.Read(*buf)
		if n > 0 {
			if _, werr := f.x.Write((*buf)[:n]); werr != nil {
				return werr
			}
			if flush {
				if werr := f.x.flush(); werr != nil {
					return werr
				}
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
