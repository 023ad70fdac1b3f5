package delivery_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// mistake is what the server gets wrong on purpose, so that the checker has something to find.
type mistake string

// The mistakes.

const (
	crossesAnswers  mistake = "an answer goes to another caller"
	crossesEvents   mistake = "an event goes to another caller"
	crossesRequests mistake = "a server's request goes to another caller"
	crossesSteps    mistake = "progress goes to another caller"
	repeatsAnswers  mistake = "an answer comes twice"
	repeatsEvents   mistake = "an event comes twice"
	swallowsAnswers mistake = "an answer never comes"
	swallowsEvents  mistake = "an event never comes"
)

// seldom is how many opportunities to err there are for each that is taken.
const seldom = 5

// backend is the one server that everybody calls, by every transport.
type backend struct {
	prove   prover
	book    *ledger
	mistake mistake
	denies  bool // odd principals may not use every tool

	ctx     context.Context
	stop    context.CancelFunc
	runs    sync.WaitGroup
	waiting atomic.Int64 // modern calls that wait for their stream to be closed
	chances atomic.Int64

	mu       sync.Mutex
	sessions map[string]*session
	minted   int
}

func newBackend(p prover, book *ledger) *backend {
	b := &backend{prove: p, book: book, sessions: map[string]*session{}}
	b.ctx, b.stop = context.WithCancel(context.Background())
	return b
}

// close waits for all that is under way.
func (b *backend) close() {
	b.stop()
	b.runs.Wait()
}

func (b *backend) errs(m mistake) bool {
	return b.mistake == m && b.chances.Add(1)%seldom == 0
}

// receiver is whom something of a session is made for: its own caller, unless the server errs.
func (b *backend) receiver(s *session, m mistake) *session {
	if !b.errs(m) {
		return s
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, other := range b.sessions {
		if other.who != s.who {
			return other
		}
	}
	return s
}

func (b *backend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var m *message
	if r.Method == http.MethodPost {
		body, err := io.ReadAll(r.Body)
		if err != nil { // the caller left
			return
		}
		if m, err = parse(body); err != nil {
			b.book.report(broken, "the server got %q: %v", body, err)
			http.Error(w, "not read", http.StatusBadRequest)
			return
		}
	}
	switch {
	case r.URL.Path == "/sse" && r.Method == http.MethodGet:
		b.openClassic(w, r)
	case r.URL.Path == "/message" && m != nil:
		b.postClassic(w, r, m)
	case m != nil && r.Header.Get("Mcp-Protocol-Version") == modern:
		b.postModern(w, r, m)
	case m != nil && m.Method == "initialize":
		b.initialize(w, m)
	default:
		b.streamable(w, r, m)
	}
}

// mint opens a session.
func (b *backend) mint(who string) *session {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.minted++
	s := newSession(b.ctx, b.prove.of(ofSession, who, "", b.minted), who)
	s.out = newStream(0)
	b.sessions[s.id] = s
	return s
}

// session returns the one of an id, nil if there is none.
func (b *backend) session(id string) *session {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.sessions[id]
}

// subscribe makes what stands for a session in the modern form. It lasts as long as its stream.
func (b *backend) subscribe(who string) *session {
	s := newSession(b.ctx, modernSession(who), who)
	s.out = newStream(-1)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sessions[s.id] = s
	return s
}

func modernSession(who string) string { return modern + " " + who }

func (b *backend) end(s *session) {
	b.mu.Lock()
	delete(b.sessions, s.id)
	b.mu.Unlock()
	s.close(b)
}

// open is how many sessions there are.
func (b *backend) open() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.sessions)
}

// admit checks that a call is where it belongs.
func (b *backend) admit(s *session, m *message) {
	o := m.Params.Arguments
	switch {
	case o.Proof != b.prove.of(ofCall, o.Who, o.Session, o.Nonce):
		b.book.report(broken, "%s's call %d has a wrong proof", o.Who, o.Nonce)
	case o.Session != s.id || o.Who != s.who:
		b.book.report(trespass, "%s's call %d is in a session of %s", o.Who, o.Nonce, s.who)
	case !s.first(arrival{o.Nonce, m.Params.RequestState != ""}):
		b.book.report(duplicate, "%s's call %d, to the server", o.Who, o.Nonce)
	}
	if b.refuses(o.Who, m.Params.Name) {
		b.book.report(leaked, "%s's call %d of %s", o.Who, o.Nonce, m.Params.Name)
	}
}

// refuses reports whether policy has to refuse a call of a tool before it comes here.
func (b *backend) refuses(who, tool string) bool {
	return b.denies && odd(who) && strings.HasPrefix(tool, denied)
}

// work does what a call orders and returns the answer, nil if it was cancelled. What comes before the answer goes to out.
func (b *backend) work(ctx context.Context, s *session, m *message, out *stream) []byte {
	o := m.Params.Arguments
	for i := range o.Steps {
		b.step(s, m, i, out)
	}
	if !pause(ctx, time.Duration(o.Delay)*time.Microsecond) {
		return nil
	}
	for range o.Asks {
		if m.Params.RequestState == "" && !b.ask(ctx, s, out) {
			return nil
		}
	}
	for range o.Push {
		s.push(b)
	}
	if o.HangUp {
		s.out.hangUp()
	}
	if o.Hold {
		<-ctx.Done()
		return nil
	}
	return b.answer(s, m)
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (b *backend) answer(s *session, m *message) []byte {
	to := b.receiver(s, crossesAnswers)
	return fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%s,"result":{"resultType":"complete","content":[],"_meta":{"proof":%q,"n":%d}}}`,
		m.ID, b.prove.of(ofAnswer, to.who, to.id, m.Params.Arguments.Nonce), s.count())
}

// step tells of progress, under a token that is the same for everybody.
func (b *backend) step(s *session, m *message, i int, out *stream) {
	to := b.receiver(s, crossesSteps)
	out.add(fmt.Appendf(nil, `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":%s,"progress":%d,"_meta":{"proof":%q,"n":%d}}}`,
		m.ID, i+1, b.prove.of(ofStep, to.who, to.id, m.Params.Arguments.Nonce<<8+i), i))
}

// news is an event on a stream that stands beside the calls.
func (b *backend) news(s *session, n int) []byte {
	const form = `{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"news","_meta":{"proof":%q,"n":%d}}}`
	const updated = `{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":%q,"_meta":{"proof":%q,"n":%d,` +
		`"io.modelcontextprotocol/subscriptionId":%s}}}`
	proof := b.prove.of(ofEvent, s.who, s.id, n)
	if strings.HasPrefix(s.id, modern) {
		return fmt.Appendf(nil, updated, inbox, proof, n, subscription)
	}
	return fmt.Appendf(nil, form, proof, n)
}

// ask asks the client something, under an id that counts from 0 in every session, and waits for its answer.
func (b *backend) ask(ctx context.Context, s *session, out *stream) bool {
	id, answer := s.expect()
	out.add(fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%d,%s}`, id, b.request(s, id)))
	select {
	case got := <-answer:
		if got != b.prove.of(ofReply, s.who, s.id, id) {
			b.book.report(trespass, "an answer to request %d of the server to %s is another's", id, s.who)
		}
		return true
	case <-ctx.Done():
		return false
	}
}

// request is the method and params of a server's request: what a client's user has to say, or where it works.
func (b *backend) request(s *session, id int) string {
	to := b.receiver(s, crossesRequests)
	proof := b.prove.of(ofAsk, to.who, to.id, id)
	if id%2 == 0 {
		return fmt.Sprintf(`"method":"sampling/createMessage","params":{"messages":[],"maxTokens":1,"_meta":{"proof":%q,"n":%d}}`, proof, id)
	}
	return fmt.Sprintf(`"method":"roots/list","params":{"_meta":{"proof":%q,"n":%d}}`, proof, id)
}
