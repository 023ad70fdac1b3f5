package delivery_test

import (
	"context"
	"fmt"
	"strings"
)

// hear takes one message of the server, on the exchange of a call, or of none. It is where everything is checked.
func (l *lane) hear(ctx context.Context, on *call, data []byte) {
	m, err := parse(data)
	if err != nil {
		l.book.report(broken, "%s got %q: %v", l.who, data, err)
		return
	}
	switch m.Method {
	case "":
		l.settle(on, m)
	case "notifications/progress":
		l.step(on, m)
	case "notifications/message", "notifications/resources/updated":
		l.news(m)
	case "notifications/subscriptions/acknowledged":
		if m.Params.Meta.Proof != l.prove.of(ofHello, l.who, l.session, 0) {
			l.book.report(stranger, "%s got the acknowledgement of another's subscription", l.who)
		}
	case "sampling/createMessage", "roots/list":
		l.question(m)
		l.beside.Go(func() { l.reply(ctx, m) })
	default:
		l.book.report(broken, "%s got %q", l.who, data)
	}
}

// find returns the call that has an id, which must be the one whose exchange it came on. mu is held.
func (l *lane) find(on *call, id, what string) *call {
	c := l.calls[id]
	if c == nil || on != nil && c != on {
		l.book.report(stranger, "%s (%s) got %s of %s on the exchange of another call", l.who, l.version, what, id)
		return nil
	}
	return c
}

func (l *lane) settle(on *call, m *message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if on == nil && string(m.ID) == subscription {
		l.book.report(broken, "%s's subscription is ended", l.who)
		return
	}
	c := l.find(on, string(m.ID), "the answer")
	if c == nil {
		return
	}
	switch {
	case m.Error != nil:
		l.refusal(c, m)
	case m.Result == nil:
		l.book.report(broken, "neither result nor error for %v", c)
	case m.Result.Meta.Proof != c.want:
		l.book.report(stranger, "the answer of another, for %v", c)
	case m.Result.Type == "input_required":
		l.inputRequired(c, m)
		return
	case l.server.refuses(l.who, c.tool):
		l.book.report(leaked, "a result for %v", c)
	}
	if c.answers++; c.answers > 1 {
		l.book.report(duplicate, "the answer to %v", c)
		return
	}
	if m.Result != nil {
		c.pushed = m.Result.Meta.N
	}
	close(c.ended)
}

// refusal checks that a refusal is due, and this call's own: it tells the name of the tool, which nobody else uses.
func (l *lane) refusal(c *call, m *message) {
	const unknown = "Unknown tool: "
	switch {
	case l.server.refuses(l.who, c.tool) && m.Error.Message == unknown+c.tool:
		c.refused = true
	case strings.HasPrefix(m.Error.Message, unknown+denied):
		l.book.report(stranger, "the refusal of another, for %v", c)
	default:
		l.book.report(broken, "error %d %q for %v", m.Error.Code, m.Error.Message, c)
	}
}

// inputRequired notes what a modern call has to come back with.
func (l *lane) inputRequired(c *call, m *message) {
	if c.state != "" {
		l.book.report(duplicate, "the question in %v", c)
	}
	asked := m.Result.InputRequests["ask"]
	l.question(&asked)
	c.state, c.asked = m.Result.RequestState, &asked
}

func (l *lane) step(on *call, m *message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.find(on, string(m.Params.Token), "progress")
	if c == nil {
		return
	}
	n := m.Params.Meta.N
	switch {
	case m.Params.Meta.Proof != l.prove.of(ofStep, l.who, l.session, c.order.Nonce<<8+n):
		l.book.report(stranger, "the progress of another, for %v", c)
	case n < c.steps:
		l.book.report(duplicate, "step %d of %v", n, c)
	case n > c.steps:
		l.book.report(lost, "step %d of %v", c.steps, c)
	}
	l.book.steps.Add(1)
	if c.steps++; c.steps == 1 {
		close(c.began)
	}
}

// news is what the server says beside the calls, in one order.
func (l *lane) news(m *message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := m.Params.Meta.N
	switch {
	case m.Params.Meta.Proof != l.prove.of(ofEvent, l.who, l.session, n),
		l.version == modern && string(m.Params.Meta.Subscription) != subscription:
		l.book.report(stranger, "%s (%s) got the news %d of another", l.who, l.version, n)
		return
	case n < l.heard:
		l.book.report(duplicate, "event %d of %s (%s)", n, l.who, l.version)
		return
	case n > l.heard:
		l.book.report(lost, "events %d to %d of %s (%s)", l.heard, n-1, l.who, l.version)
	}
	l.book.events.Add(1)
	l.heard = n + 1
	close(l.grown)
	l.grown = make(chan struct{})
}

// question checks that a server's request is meant for this lane.
func (l *lane) question(m *message) {
	l.book.asked.Add(1)
	if m.Params.Meta.Proof != l.prove.of(ofAsk, l.who, l.session, m.Params.Meta.N) {
		l.book.report(stranger, "%s (%s) is asked what another should be", l.who, l.version)
	}
}

// reply answers a server's request, to the end: the answer to the call may come before it is known that this one has arrived (alone).
func (l *lane) reply(ctx context.Context, m *message) {
	text := fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":%s}`, m.ID, l.wants(m))
	whole, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.patience)
	defer cancel()
	if err := l.post(whole, text); err != nil && ctx.Err() == nil {
		l.book.report(broken, "%s's answer to the server's request %s: %v", l.who, m.ID, err)
	}
}
