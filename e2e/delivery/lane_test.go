package delivery_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"
)

// transport is how a lane's calls travel.
type transport interface {
	open(ctx context.Context) error // returns once the stream beside the calls is open, if it must be
	carry(ctx context.Context, c *call)
	close(ctx context.Context) error
	plans() []plan
}

// lane is one session of a caller, or its modern calls.
type lane struct {
	*caller
	version string
	session string // the server's name for it
	by      transport
	say     func(ctx context.Context, text string) (*http.Response, error) // posts a message; the modern form has no such
	rng     *rand.Rand
	beside  sync.WaitGroup

	standing context.Context // of the stream beside the calls
	hangUp   context.CancelFunc
	vanishes bool // its connection is cut now and then

	mu     sync.Mutex
	issued int
	calls  map[string]*call // by id
	heard  int              // events beside the calls
	grown  chan struct{}
}

func newLane(c *caller, version string, seed uint64) *lane {
	l := &lane{
		caller: c, version: version, rng: rand.New(rand.NewPCG(seed, seed)), calls: map[string]*call{}, grown: make(chan struct{}),
	}
	switch version {
	case classic:
		f := &classicForm{lane: l}
		l.by, l.say = f, f.send
	case modern:
		l.by = &modernForm{l}
	default:
		f := &streamableForm{l}
		l.by, l.say = f, f.send
	}
	return l
}

// live opens the lane, does something with it, and ends it.
func (l *lane) live(ctx context.Context, do func()) {
	l.standing, l.hangUp = context.WithCancel(ctx)
	defer l.beside.Wait()
	defer l.hangUp()
	if err := l.atOnce(ctx, l.by.open); err != nil {
		l.book.report(lost, "%s cannot begin with %s: %v", l.who, l.version, err)
		return
	}
	do()
	l.finish(ctx)
}

// run makes calls, a few at a time.
func (l *lane) run(ctx context.Context, calls int) {
	l.live(ctx, func() {
		for calls > 0 {
			var burst sync.WaitGroup
			for range min(calls, 1+l.rng.IntN(4)) {
				calls--
				c := l.plan()
				burst.Go(func() { l.make(ctx, c) })
			}
			burst.Wait()
		}
	})
}

// finish asks the server how much it said beside the calls, waits for that, and ends the session.
func (l *lane) finish(ctx context.Context) {
	last := l.add(plan{}, 0, 0)
	l.make(ctx, last)
	l.drain(last.pushed)
	if err := l.atOnce(ctx, l.by.close); err != nil {
		l.book.report(broken, "%s cannot end its session: %v", l.who, err)
	}
}

// atOnce does something while not too many others do.
func (l *lane) atOnce(ctx context.Context, do func(context.Context) error) error {
	l.slots <- struct{}{}
	defer func() { <-l.slots }()
	ctx, cancel := context.WithTimeout(ctx, l.patience)
	defer cancel()
	return do(ctx)
}

func (l *lane) make(ctx context.Context, c *call) {
	l.atOnce(ctx, func(ctx context.Context) error {
		l.by.carry(ctx, c)
		return nil
	})
	l.over(c)
}

// plan draws the next call.
func (l *lane) plan() *call {
	draw := l.rng.IntN(100)
	for _, p := range l.by.plans() {
		if draw -= p.share; draw < 0 {
			return l.add(p, l.delay(), l.delay())
		}
	}
	panic("the shares of the plans are less than 100")
}

// delay is nothing for every other call, and long for a few.
func (l *lane) delay() time.Duration {
	switch draw := l.rng.IntN(50); {
	case draw == 0:
		return time.Duration(l.rng.IntN(20_000)) * time.Microsecond
	case draw < 25:
		return time.Duration(l.rng.IntN(3_000)) * time.Microsecond
	}
	return 0
}

// add gives a call its id and its proofs.
func (l *lane) add(p plan, delay, wait time.Duration) *call {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.issued
	c := &call{version: l.version, tool: tool, order: p.order, stop: p.stop, wait: wait, began: make(chan struct{}), ended: make(chan struct{})}
	c.id = l.nextID(c)
	if p.named {
		c.tool = fmt.Sprintf("%s%s_%d", denied, l.who, n)
	}
	c.order.Who, c.order.Session, c.order.Nonce, c.order.Delay = l.who, l.session, n, int(delay.Microseconds())
	c.order.Proof = l.prove.of(ofCall, l.who, l.session, n)
	c.want = l.prove.of(ofAnswer, l.who, l.session, n)
	return c
}

// nextID is the same series in every lane. mu is held.
func (l *lane) nextID(c *call) string {
	id := written(l.issued)
	l.issued++
	l.calls[id] = c
	return id
}

// over writes down what became of a call.
func (l *lane) over(c *call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.book.calls.Add(1)
	switch {
	case c.refused:
		l.book.refused.Add(1)
	case c.answers > 0:
		l.book.answered.Add(1)
	case c.dropped():
		l.book.dropped.Add(1)
	default:
		l.book.report(lost, "the answer to %v: %v", c, c.fruitless)
	}
}

// drain waits until everything arrived that the server said beside the calls.
func (l *lane) drain(want int) {
	deadline := time.NewTimer(l.patience)
	defer deadline.Stop()
	for {
		l.mu.Lock()
		got, grown := l.heard, l.grown
		l.mu.Unlock()
		if got >= want {
			return
		}
		select {
		case <-grown:
		case <-deadline.C:
			l.book.report(lost, "%s (%s) heard %d of %d events", l.who, l.version, got, want)
			return
		}
	}
}

// exchange makes one HTTP exchange.
func (l *lane) exchange(ctx context.Context, method, path, body string, header ...string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, l.base+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header["Accept"] = []string{"application/json, text/event-stream"}
	if method == http.MethodPost {
		r.Header["Content-Type"] = []string{"application/json"}
	}
	for i := 0; i < len(header); i += 2 {
		if header[i+1] != "" {
			r.Header[header[i]] = []string{header[i+1]}
		}
	}
	r.Close = ctx.Value(aloneKey{}) != nil && l.client.Transport.(*http.Transport).Protocols.HTTP1()
	return l.client.Do(r)
}

type aloneKey struct{}

// alone marks exchanges that may be left before the header of their answer is there. Such an exchange gets an HTTP/1.1 connection of
// its own: net/http has put the connection back by then, and leaving would end whatever came to use it next, as "context canceled".
func alone(ctx context.Context) context.Context { return context.WithValue(ctx, aloneKey{}, true) }

// accepted checks the answer to a message that has none.
func accepted(resp *http.Response, err error) error {
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body)
	if resp.StatusCode/100 != 2 {
		return errors.New(resp.Status)
	}
	return nil
}

// cancellation is the message that gives a call up.
func (l *lane) cancellation(c *call) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":%s,"reason":%q}}`,
		c.id, l.prove.of(ofCancel, l.who, l.session, c.order.Nonce))
}

// wants is the answer to a server's request.
func (l *lane) wants(m *message) string {
	proof := l.prove.of(ofReply, l.who, l.session, m.Params.Meta.N)
	if m.Method == "roots/list" {
		return fmt.Sprintf(`{"roots":[],"_meta":{"proof":%q}}`, proof)
	}
	return fmt.Sprintf(`{"role":"assistant","content":{"type":"text","text":"yes"},"model":"none","_meta":{"proof":%q}}`, proof)
}

const initialized = `{"jsonrpc":"2.0","method":"notifications/initialized"}`

// handshake opens a session, under the id that everybody's has.
func (l *lane) handshake() string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":%q,"capabilities":{"sampling":{},"roots":{}},`+
		`"clientInfo":{"name":%q,"version":"1"}}}`, l.version, l.who)
}
