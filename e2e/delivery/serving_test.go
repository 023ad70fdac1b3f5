package delivery_test

import (
	"fmt"
	"io"
	"net/http"
)

// initialize opens a session of the legacy form.
func (b *backend) initialize(w http.ResponseWriter, m *message) {
	s := b.mint(m.Params.ClientInfo.Name)
	w.Header().Set("Mcp-Session-Id", s.id)
	sendJSON(w, b.hello(s, m))
}

func (b *backend) hello(s *session, m *message) []byte {
	return fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":%q,"capabilities":{"tools":{},"logging":{}},`+
		`"serverInfo":{"name":"everybody's","version":"1"},"_meta":{"proof":%q}}}`,
		m.ID, m.Params.ProtocolVersion, b.prove.of(ofHello, s.who, s.id, 0))
}

func sendJSON(w http.ResponseWriter, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Write(body)
}

// streamable serves what is within a session of the legacy form.
func (b *backend) streamable(w http.ResponseWriter, r *http.Request, m *message) {
	s := b.session(r.Header.Get("Mcp-Session-Id"))
	switch {
	case s == nil:
		http.Error(w, "no such session", http.StatusNotFound)
	case r.Method == http.MethodDelete:
		b.end(s)
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodGet:
		b.resume(w, r, s)
	case m.Method == "tools/call":
		b.callStreamable(w, r, s, m)
	default:
		b.takeIn(s, m)
		w.WriteHeader(http.StatusAccepted)
	}
}

// takeIn takes what no answer belongs to.
func (b *backend) takeIn(s *session, m *message) {
	switch m.Method {
	case "":
		s.reply(b, m)
	case "notifications/cancelled":
		s.cancel(b, m)
	}
}

// resume plays a stream of the session on from where the client was, or the one that stands beside the calls from its start.
func (b *backend) resume(w http.ResponseWriter, r *http.Request, s *session) {
	var number, seen int
	from := 0
	if id := r.Header.Get("Last-Event-Id"); id != "" {
		if _, err := fmt.Sscanf(id, "%d-%d", &number, &seen); err != nil {
			b.book.report(broken, "%s resumes from %q", s.who, id)
		}
		from = seen + 1
	}
	st := s.find(number)
	if st == nil {
		http.Error(w, "no such stream", http.StatusBadRequest)
		return
	}
	st.play(r.Context(), w, from, 0, 0)
}

// callStreamable answers as the call asks: in one piece, or by events. The call goes on if its caller leaves.
func (b *backend) callStreamable(w http.ResponseWriter, r *http.Request, s *session, m *message) {
	b.admit(s, m)
	ctx, done := s.begin(s.ctx, m)
	o := m.Params.Arguments
	if !o.Events {
		defer done()
		sendJSON(w, b.work(ctx, s, m, nil))
		return
	}
	st := s.stream()
	st.add(nil)
	b.runs.Go(func() {
		defer done()
		b.finish(st, b.work(ctx, s, m, st))
	})
	st.play(r.Context(), w, 0, 2, o.Cut)
}

// finish ends the stream of a call with its answer, or without if it was cancelled.
func (b *backend) finish(st *stream, answer []byte) {
	defer st.end()
	if answer == nil || b.errs(swallowsAnswers) {
		return
	}
	st.add(answer)
	if b.errs(repeatsAnswers) {
		st.add(answer)
	}
}

// openClassic opens a session of 2024-11-05. It lasts as long as its stream.
func (b *backend) openClassic(w http.ResponseWriter, r *http.Request) {
	s := b.mint("")
	defer b.end(s)
	s.out.number = -1
	s.out.name("/message?sessionId=" + s.id)
	s.out.play(r.Context(), w, 0, 0, 0)
}

func (b *backend) postClassic(w http.ResponseWriter, r *http.Request, m *message) {
	s := b.session(r.URL.Query().Get("sessionId"))
	if s == nil {
		http.Error(w, "no such session", http.StatusNotFound)
		return
	}
	switch m.Method {
	case "initialize":
		s.mu.Lock()
		s.who = m.Params.ClientInfo.Name
		s.mu.Unlock()
		s.out.add(b.hello(s, m))
	case "tools/call":
		b.callClassic(s, m)
	default:
		b.takeIn(s, m)
	}
	w.WriteHeader(http.StatusAccepted)
	io.WriteString(w, "Accepted")
}

func (b *backend) callClassic(s *session, m *message) {
	b.admit(s, m)
	ctx, done := s.begin(s.ctx, m)
	b.runs.Go(func() {
		defer done()
		if answer := b.work(ctx, s, m, s.out); answer != nil && !b.errs(swallowsAnswers) {
			s.out.add(answer)
		}
	})
}

// postModern serves the form without sessions. Whoever closes the stream of a call has cancelled it.
func (b *backend) postModern(w http.ResponseWriter, r *http.Request, m *message) {
	switch {
	case m.Method == "subscriptions/listen":
		b.listen(w, r, m)
		return
	case m.Method != "tools/call":
		w.WriteHeader(http.StatusNotFound)
		return
	}
	o := m.Params.Arguments
	s := b.session(modernSession(o.Who))
	if s == nil { // a call that its caller left, and all others with it
		http.Error(w, "nobody listens", http.StatusServiceUnavailable)
		return
	}
	b.admit(s, m)
	ctx, done := s.begin(r.Context(), m)
	if o.Hold {
		b.waiting.Add(1)
		defer b.waiting.Add(-1)
	}
	switch {
	case o.Asks > 0 && !b.answered(s, m):
		done()
		sendJSON(w, b.needsInput(s, m))
	case !o.Events:
		defer done()
		if answer := b.work(ctx, s, m, nil); answer != nil {
			sendJSON(w, answer)
		}
	default:
		st := newStream(-1)
		b.runs.Go(func() {
			defer done()
			b.finish(st, b.work(ctx, s, m, st))
		})
		st.play(r.Context(), w, 0, 0, 0)
	}
}

// needsInput asks the client in the modern form: by an answer that it has to come back with.
func (b *backend) needsInput(s *session, m *message) []byte {
	n := m.Params.Arguments.Nonce
	return fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%s,"result":{"resultType":"input_required","inputRequests":{"ask":{%s}},"requestState":%q,"_meta":{"proof":%q}}}`,
		m.ID, b.request(s, n), b.prove.of(ofState, s.who, s.id, n), b.prove.of(ofAnswer, s.who, s.id, n))
}

// answered reports whether a call brings what the server asked for.
func (b *backend) answered(s *session, m *message) bool {
	state, n := m.Params.RequestState, m.Params.Arguments.Nonce
	if state == "" {
		return false
	}
	if state != b.prove.of(ofState, s.who, s.id, n) || m.Params.InputResponses["ask"].Meta.Proof != b.prove.of(ofReply, s.who, s.id, n) {
		b.book.report(trespass, "%s's call %d comes back with what is another's", s.who, n)
	}
	return true
}

// listen opens the stream on which a modern caller hears of what it subscribed to, until it is closed.
func (b *backend) listen(w http.ResponseWriter, r *http.Request, m *message) {
	s := b.subscribe(m.Params.Meta.Who)
	defer b.end(s)
	s.out.add(fmt.Appendf(nil, `{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"notifications":{"resourceSubscriptions":[%q]},`+
		`"_meta":{"io.modelcontextprotocol/subscriptionId":%s,"proof":%q}}}`, inbox, m.ID, b.prove.of(ofHello, s.who, s.id, 0)))
	s.out.play(r.Context(), w, 0, 0, 0)
}
