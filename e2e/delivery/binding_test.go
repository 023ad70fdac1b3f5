package delivery_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// pairs is how many strangers try.
const pairs = 100

// 013_98: a session belongs to the principal that opened it. To anybody else it does not exist, by no method and no transport,
// and the server never hears of them.
func TestSessionsAreBound(t *testing.T) {
	tryPairs(t, false, "2025-03-26", "2025-06-18", "2025-11-25", classic)
}

// A session that is older than the waypoint belongs to the first principal that uses it.
func TestSessionsInUseAreBound(t *testing.T) {
	tryPairs(t, true, "2025-03-26", "2025-06-18", "2025-11-25")
}

// pair is the owner of a session and somebody else.
type pair struct {
	owner, other *caller
	version      string
	older        bool // the session than the waypoint
}

func tryPairs(t *testing.T, older bool, versions ...string) {
	t.Helper()
	seed := setting(t, "DELIVERY_SEED", rand.Uint64()>>1)
	t.Logf("DELIVERY_SEED=%d", seed)
	var seen visits
	w := newWorld(t, seed, seen.count)
	w.throughWaypoint(t)
	rng := rand.New(rand.NewPCG(seed, 0))
	for n := range pairs {
		owner := rng.IntN(principals)
		other := (owner + 1 + rng.IntN(principals-1)) % principals
		p := pair{w.caller(owner), w.caller(other).to(w.service(owner)), versions[n%len(versions)], older}
		t.Run(fmt.Sprintf("%03d-%03d/%s", owner, other, p.version), func(t *testing.T) {
			p.try(t, &seen)
		})
	}
	w.settled(t)
	w.book.clean(t)
}

// visits counts the requests that reached the server, by the session that they presented.
type visits struct {
	mu sync.Mutex
	by map[string]int
}

func (v *visits) count(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v.mu.Lock()
		if v.by == nil {
			v.by = map[string]int{}
		}
		v.by[r.Header.Get("Mcp-Session-Id")+r.URL.Query().Get("sessionId")]++
		v.mu.Unlock()
		h.ServeHTTP(w, r)
	})
}

func (v *visits) of(session string) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.by[session]
}

// try lets the owner open a session and the other one use it. Then the owner's still works.
func (p pair) try(t *testing.T, seen *visits) {
	t.Helper()
	defer p.other.close()
	defer p.owner.close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	l := newLane(p.owner, p.version, 0)
	l.standing, l.hangUp = context.WithCancel(ctx)
	defer l.beside.Wait()
	defer l.hangUp()
	if p.older {
		l.session = l.server.mint(l.who).id
	}
	if err := l.by.open(ctx); err != nil {
		t.Fatal(err)
	}
	l.make(ctx, l.add(plan{order: order{Push: 1}}, 0, 0))
	l.drain(1) // all that the owner has open is open now
	before := seen.of(l.session)
	for _, a := range attempts(l, p.other) {
		a.refused(ctx, t, p.other)
	}
	if got := seen.of(l.session); got != before {
		t.Errorf("%d requests of a stranger reached the server, want none", got-before)
	}
	l.make(ctx, l.add(plan{}, 0, 0))
	if got := seen.of(l.session); got != before+1 {
		t.Errorf("%d requests of the owner reached the server, want one more than %d", got, before)
	}
	if err := l.by.close(ctx); err != nil {
		t.Error(err)
	}
}

// attempt is one way to use a session.
type attempt struct {
	name               string
	method, path, body string
	header             []string
	id                 string // of the request in the body, "" if there is none
}

// attempts are all the ways to use what a lane has open, as another caller would.
func attempts(l *lane, by *caller) []attempt {
	path, header := "/mcp", []string{"Mcp-Session-Id", l.session}
	if f, ok := l.by.(*classicForm); ok {
		path, header = f.path, nil
	} else if l.version != "2025-03-26" {
		header = append(header, "Mcp-Protocol-Version", l.version)
	}
	o := order{Who: by.who, Session: l.session, Proof: l.prove.of(ofCall, by.who, l.session, 0)}
	all := []attempt{
		{name: "a call", id: "1", body: fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":%q,"arguments":%s}}`, tool, arguments(o))},
		{name: "a listing", id: `"1"`, body: `{"jsonrpc":"2.0","id":"1","method":"tools/list"}`},
		{name: "a ping", id: "0", body: `{"jsonrpc":"2.0","id":0,"method":"ping"}`},
		{name: "a cancellation", body: l.cancellation(l.calls["1"])},
		{name: "an answer", body: `{"jsonrpc":"2.0","id":0,"result":{"roots":[]}}`},
		{name: "a second handshake", id: "0", body: l.handshake()},
	}
	for i := range all {
		all[i].method, all[i].path, all[i].header = http.MethodPost, path, header
	}
	if l.version == classic {
		return all
	}
	return append(all,
		attempt{name: "the stream", method: http.MethodGet, path: path, header: append(header, "Accept", "text/event-stream")},
		attempt{name: "a resumption", method: http.MethodGet, path: path, header: append(header, "Accept", "text/event-stream", "Last-Event-Id", "1-0")},
		attempt{name: "the end", method: http.MethodDelete, path: path, header: header})
}

// refused checks that the attempt meets a session that does not exist.
func (a attempt) refused(ctx context.Context, t *testing.T, by *caller) {
	t.Helper()
	resp, err := (&lane{caller: by}).exchange(ctx, a.method, a.path, a.body, a.header...)
	if err != nil {
		t.Errorf("%s: %v", a.name, err)
		return
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusNotFound {
		t.Errorf("%s: got %s, want 404", a.name, resp.Status)
		return
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Errorf("%s: %v", a.name, err)
	}
	if a.id == "" {
		return
	}
	m, err := parse(body)
	if err != nil || m.Error == nil || string(m.ID) != a.id || strings.Contains(string(body), "session "+by.who) {
		t.Errorf("%s: got %q, want an error with the id %s", a.name, body, a.id)
	}
}
