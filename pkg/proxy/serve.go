package proxy

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/mesh"
	"waymark.dev/waypoint/pkg/policy"
	"waymark.dev/waypoint/pkg/session"
)

// flow is one exchange on its way through the proxy.
type flow struct {
	p       *Proxy
	x       exchange
	t       *tunnel
	dest    *mesh.Destination
	pipe    *policy.Pipeline
	head    *head
	call    *call.Call
	codec   codec
	outcome *policy.Outcome
	shares  []*share      // what the call was divided into, if it was
	entry   *liveCall     // of the exchange, once it is under way
	key     *session.Key  // nil until it is asked for
	hold    *session.Hold // nil until something of it is kept
	hangUp  bool          // no further exchange may use this connection
}

// codec is what differs between protocols in one exchange.
type codec interface {
	// deny and unavailable render a refusal in the protocol's own idiom.
	deny(v policy.Verdict) *response
	unavailable(status int) *response
	// divide judges what the call asks for beyond its one target, and may refuse the call for it.
	divide(ctx context.Context, f *flow, began Rules)
	// replace reports whether a refused message goes on as one of our own that says so.
	replace(f *flow) bool
	// outbound is the request to send for the call as judged.
	outbound(f *flow) *outbound
	// relay carries the answer back.
	relay(ctx context.Context, f *flow, in *inbound)
}

// response is a finished answer of our own.
type response struct {
	status int
	header http.Header
	body   []byte
}

// serveHTTP is the straight line of one exchange: clean, decode, judge, forward, relay, observe.
func (p *Proxy) serveHTTP(x exchange, t *tunnel) {
	rules := p.cfg.Rules()
	dest, err := t.resolve(rules)
	if err != nil { // attached when the tunnel was opened, not any more
		t.refused(call.EntitlementDenied, http.StatusNotFound, err)
		send(x, plainResponse(http.StatusNotFound, "the destination is no longer served here"))
		return
	}
	f := &flow{p: p, x: x, t: t, dest: dest, pipe: rules.Pipeline(dest.Service), head: x.head(), call: t.newCall(dest)}
	defer f.observe()
	defer f.release()

	req, refusal := clean(f.head)
	if refusal != nil {
		f.refuse(refusal.code, refusal.cause, plainResponse(refusal.status, string(refusal.code)))
		return
	}
	f.call.HTTP = req
	if f.answered() || !f.decode() {
		return
	}
	entry, ctx, done := p.live.add(x.context(), t, f.call)
	defer done()
	f.entry = entry
	f.inspect(ctx, f.renew())
	if f.revoked(ctx) || !f.mayPass() && !f.codec.replace(f) {
		f.send(f.deny())
		return
	}
	in, err := p.forward(ctx, dest, f.codec.outbound(f))
	if err != nil {
		f.fail(ctx, err)
		return
	}
	defer in.body.Close()
	f.outcome.Backend = where(&in.endpoint)
	f.codec.relay(ctx, f, in)
}

// renew takes over what has changed while the message was read, and returns the rules to judge by: the service may have been
// detached, its annotations or its policies be others, its port no longer only observe. What changes from here on finds the
// exchange among what is under way.
func (f *flow) renew() Rules {
	now := f.p.cfg.Rules()
	f.pipe = now.Pipeline(f.dest.Service)
	switch dest, err := f.t.resolve(now); {
	case err != nil:
		f.entry.cut(detached(err))
	case f.dest.Mode == mesh.Observe && dest.Mode != mesh.Observe:
		stricter := *f.dest
		stricter.Mode = dest.Mode
		f.dest = &stricter
	}
	return now
}

// answered reports whether a stage of this service answers the request itself, as it does for the metadata that says how to
// get a token, and has done so.
func (f *flow) answered() bool {
	if f.dest.Mode == mesh.Observe {
		return false
	}
	a := f.pipe.Answer(f.call)
	if a == nil {
		return false
	}
	f.call.Protocol, f.call.Method, f.call.Intent = call.HTTP, f.head.Method, call.Plumbing
	f.outcome = f.pipe.Answered(f.call, a)
	f.send(&response{http.StatusOK, http.Header{"Content-Type": {a.ContentType}, "Cache-Control": {"no-store"}}, a.Body})
	return true
}

// deny renders the verdict. With a challenge it has the status that clients of OAuth wait for, whatever the protocol's own
// idiom is (contract mcp-a2a 9.1).
func (f *flow) deny() *response {
	v := f.outcome.Verdict
	r := f.codec.deny(v)
	switch {
	case v.Challenge != "" && r.status != http.StatusAccepted: // then the refusal is on another stream
	case r.status == http.StatusUnauthorized && r.header.Get("WWW-Authenticate") == "":
		r.header.Set("WWW-Authenticate", "Bearer") // RFC 9110 section 15.5.2 asks for one
		return r
	default:
		return r
	}
	r.status = http.StatusUnauthorized
	if v.Code == call.ScopeMissing {
		r.status = http.StatusForbidden
	}
	if r.header == nil {
		r.header = http.Header{}
	}
	r.header.Set("WWW-Authenticate", v.Challenge)
	return r
}

// forwarded is the request as the stages leave it. A port that only observes changes nothing.
func (f *flow) forwarded() call.Request {
	if f.dest.Mode == mesh.Observe {
		return f.call.HTTP
	}
	return f.outcome.Call.HTTP
}

// mayPass applies the verdict. On a port that only observes, a refusal is recorded and not applied.
func (f *flow) mayPass() bool {
	if f.dest.Mode == mesh.Observe {
		observed(f.outcome)
		for _, s := range f.shares {
			observed(s.outcome)
		}
	}
	return f.outcome.Allowed()
}

// observed turns a refusal into a step of the outcome that says so.
func observed(o *policy.Outcome) {
	if o.Allowed() {
		return
	}
	v := o.Verdict
	o.Verdict = policy.Verdict{Action: policy.Pass, Policy: v.Policy, Rule: v.Rule, Notes: []policy.Note{
		{Kind: "observe", Policy: v.Policy, Rule: v.Rule, Text: "would be refused: " + string(v.Code) + ": " + v.Reason},
	}}
	o.Steps = append(o.Steps, policy.Step{Stage: "observe", Verdict: o.Verdict})
}

// inspect judges the call. Rules that changed while its body was read have not found it among what is under way, and judge
// it now.
func (f *flow) inspect(ctx context.Context, began Rules) {
	f.outcome = f.judge(ctx, began, f.call)
	if f.outcome.Allowed() && len(f.shares) > 0 {
		f.codec.divide(ctx, f, began)
	}
}

func (f *flow) judge(ctx context.Context, began Rules, c *call.Call) *policy.Outcome {
	o := f.pipe.Inspect(ctx, c)
	if now := f.p.cfg.Rules(); now != began && o.Allowed() {
		now.Pipeline(f.dest.Service).Recheck(ctx, o)
	}
	return o
}

// refuse records a request that could not be read and answers it.
func (f *flow) refuse(code call.Code, cause string, r *response) {
	f.outcome = f.pipe.Refused(f.call, policy.Verdict{Code: code, Reason: cause})
	f.send(r)
}

// fail answers a call that no endpoint took.
func (f *flow) fail(ctx context.Context, err error) {
	f.outcome.Err = err
	if f.revoked(ctx) {
		f.send(f.deny())
		return
	}
	if f.x.misframed() { // the caller's body broke off under the upstream's eyes; net/http then ends the context, too
		f.outcome.Verdict, f.outcome.Stage = policy.Verdict{Action: policy.Deny, Code: call.Ambiguous, Reason: "HTTP/1 framing in the body"}, "decode"
		f.send(closing(plainResponse(http.StatusBadRequest, string(call.Ambiguous))))
		return
	}
	if f.x.context().Err() != nil {
		f.outcome.Status = statusClientGone
		f.x.abort()
	}
	f.p.cfg.Log.Warn("upstream unavailable", "service", f.dest.Service.String(), "decision", f.call.ID, "cause", withheld(err))
	status := http.StatusServiceUnavailable
	if errors.Is(err, context.DeadlineExceeded) {
		status = http.StatusGatewayTimeout
	}
	f.send(f.codec.unavailable(status))
}

// statusClientGone is what access logs commonly write when the caller left before the answer.
const statusClientGone = 499

// revoked reports whether the rules changed against this call while it was under way, and records it.
func (f *flow) revoked(ctx context.Context) bool {
	var r *revokedError
	if !errors.As(context.Cause(ctx), &r) {
		return false
	}
	f.outcome.Verdict, f.outcome.Stage, f.outcome.Err = r.verdict, r.stage, r
	return true
}

// observe tells the stages, exactly once, that the exchange is over. It also runs when an exchange is aborted.
func (f *flow) observe() {
	if f.outcome == nil { // a panic: what is missing a verdict was refused
		f.outcome = f.pipe.Refused(f.call, policy.Verdict{Code: call.PolicyError, Reason: "the exchange ended without a verdict"})
	}
	ctx := context.WithoutCancel(f.x.context())
	f.pipe.Observe(ctx, f.outcome)
	for _, s := range f.shares {
		if s.outcome == nil { // the whole was refused before it was divided
			continue
		}
		s.outcome.Status, s.outcome.Backend = f.outcome.Status, f.outcome.Backend
		f.pipe.Observe(ctx, s.outcome)
	}
}

func (f *flow) send(r *response) {
	f.outcome.Status = r.status
	send(f.x, r)
}

// respond sends the head of the upstream's answer.
func (f *flow) respond(in *inbound, length int64) {
	if in.length < 0 { // an event stream, for all we know
		f.p.last(f.entry)
		if f.besideCalls() {
			f.p.outlive(f.entry, f.outcome.Call.Claims)
		}
	}
	f.outcome.Status = in.status
	h := in.header
	dropResponseFields(h)
	if f.hangUp {
		h.Set("Connection", "close")
	}
	f.x.respond(in.status, h, length)
}

// besideCalls reports whether the exchange is a stream that stands beside calls: what a server has to say there has no end. The stream of
// 2024-11-05 is not one, which brings the answers to calls; it has neither a session nor a version in its head.
func (f *flow) besideCalls() bool {
	c := f.call
	return c.Protocol == call.MCP && c.Intent == call.Plumbing && (c.Session != "" || c.Version != "" || c.Method == "subscriptions/listen")
}

// interrupt ends an exchange whose answer is incomplete, so that the caller can tell.
func (f *flow) interrupt(ctx context.Context, err error) {
	if !f.revoked(ctx) {
		f.outcome.Err = err
	}
	f.x.abort()
}

func send(x exchange, r *response) {
	h := r.header
	if h == nil {
		h = http.Header{}
	}
	x.respond(r.status, h, int64(len(r.body)))
	if bodyAllowed(r.status) {
		_, _ = x.Write(r.body)
	}
}

func plainResponse(status int, text string) *response {
	return &response{status, http.Header{"Content-Type": {"text/plain; charset=utf-8"}}, []byte(text + "\n")}
}

// dropResponseFields removes what speaks about the upstream connection only.
func dropResponseFields(h http.Header) {
	for _, line := range h["Connection"] {
		for name := range splitList(line) {
			if !protected(name) {
				delete(h, name)
			}
		}
	}
	for _, k := range hopByHop {
		delete(h, k)
	}
	delete(h, "Content-Length") // respond sets it
}

// decode chooses the codec and reads the message. It reports false if it has answered already.
func (f *flow) decode() bool {
	switch {
	case f.dest.Protocol == mesh.TCP || f.dest.Protocol == mesh.TLS: // the port was declared raw since the tunnel was opened
		f.refuse(call.Malformed, "HTTP on a port that is not HTTP", plainResponse(http.StatusBadRequest, string(call.Malformed)))
		return false
	case f.dest.Protocol == mesh.MCP && f.dest.Mode == mesh.Enforce:
		return f.decodeMCP()
	}
	return f.detect()
}

// readWhole reads the body up to the route's limit. It reports false if it has answered instead.
func (f *flow) readWhole() ([]byte, bool) {
	body, err := f.x.readBody(f.maxBody(), bodyTimeout, f.budget().Grow)
	if err != nil {
		return nil, f.unreadable(err)
	}
	return body, true
}

// unreadable answers a request whose body could not be read. It returns false, for decoders to return.
func (f *flow) unreadable(err error) bool {
	switch {
	case errors.Is(err, errBodyTooLarge):
		f.refuse(call.TooLarge, err.Error(), closing(plainResponse(http.StatusRequestEntityTooLarge, string(call.TooLarge))))
	case errors.Is(err, session.ErrBytes):
		f.refuse(call.RateLimited, err.Error(), closing(plainResponse(http.StatusTooManyRequests, string(call.RateLimited))))
	case errors.Is(err, errFraming):
		f.refuse(call.Ambiguous, err.Error(), closing(plainResponse(http.StatusBadRequest, string(call.Ambiguous))))
	case errors.Is(err, os.ErrDeadlineExceeded): // net/http ends the context after it
		f.refuse(call.Malformed, "the body took too long", closing(plainResponse(http.StatusRequestTimeout, string(call.Malformed))))
	case f.x.context().Err() != nil || errors.Is(err, io.ErrUnexpectedEOF):
		f.outcome = f.pipe.Refused(f.call, policy.Verdict{Code: call.Malformed, Reason: "the caller left before the body ended"})
		f.outcome.Status = statusClientGone
		f.x.abort()
	default:
		f.refuse(call.Malformed, "the body could not be read", closing(plainResponse(http.StatusBadRequest, string(call.Malformed))))
	}
	return false
}

func (f *flow) maxBody() int64 {
	if f.dest.MaxBody > 0 {
		return f.dest.MaxBody
	}
	return defaultMaxBody
}

// closing marks an answer after which the connection cannot go on, because the request was not read to its end.
func closing(r *response) *response {
	r.header.Set("Connection", "close")
	return r
}

// splitList yields the members of a comma-separated field value, canonical.
func splitList(line string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for member := range strings.SplitSeq(line, ",") {
			if !yield(http.CanonicalHeaderKey(strings.TrimSpace(member))) {
				return
			}
		}
	}
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }
