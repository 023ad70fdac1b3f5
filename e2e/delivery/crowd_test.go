package delivery_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"
)

const (
	principals = 500
	ordinary   = 100_000 // calls, if nothing else is said
	chunk      = 100_000 // calls, after which everybody opens new connections and sessions
)

// lanes is what each principal has open at once.
var lanes = []string{"2025-11-25", "2025-03-26", classic, modern}

// Everybody calls at once, under the same ids, and everybody gets what is theirs.
func TestCrossDelivery(t *testing.T) {
	calls := int(setting(t, "DELIVERY_CALLS", ordinary))
	seed := setting(t, "DELIVERY_SEED", rand.Uint64()>>1)
	t.Logf("DELIVERY_SEED=%d", seed)
	w := newWorld(t, seed, nil)
	w.throughWaypoint(t)
	began := time.Now()
	for n := 0; n*chunk < calls; n++ {
		t.Run(fmt.Sprint("chunk-", n), func(t *testing.T) {
			w.crowd(t, seed+uint64(n), principals, min(chunk, calls-n*chunk))
			w.settled(t)
			w.book.clean(t)
		})
	}
	took := time.Since(began)
	t.Logf("%v\n%.0f calls/s for %v, %d refusals on record", w.book, float64(w.book.calls.Load())/took.Seconds(), took.Round(time.Millisecond),
		w.mesh.denials.n.Load())
	if got, want := w.mesh.denials.n.Load(), w.book.refused.Load(); got < want {
		t.Errorf("%d refusals are on record, want all %d", got, want)
	}
}

// setting reads a number from the environment.
func setting(t *testing.T, name string, ordinarily uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return ordinarily
	}
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// crowd lets a number of principals make calls, in all the sessions that each has, and then end them.
func (w *world) crowd(t *testing.T, seed uint64, many, calls int) {
	t.Helper()
	var all sync.WaitGroup
	if w.mesh != nil {
		calls -= w.vanishing(t.Context(), &all, seed, many, calls)
	}
	callers := make([]*caller, many)
	for i := range callers {
		callers[i] = w.caller(i)
		for j, version := range lanes {
			n := i*len(lanes) + j
			l := newLane(callers[i], version, seed+uint64(n)<<32)
			all.Go(func() { l.run(t.Context(), share(calls, many*len(lanes), n)) })
		}
	}
	all.Wait()
	for _, c := range callers {
		if err := c.close(); err != nil {
			t.Errorf("%s's connection does not end: %v", c.who, err)
		}
	}
}

// share is the n-th of so many parts of a whole, less the last call that each lane makes anyway.
func share(whole, parts, n int) int {
	return max(0, (n+1)*whole/parts-n*whole/parts-1)
}

// settled waits until the server knows of every call that was left and every stream that was closed.
func (w *world) settled(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(w.patience); w.server.open() > 0 || w.server.waiting.Load() > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Errorf("%d sessions are open and %d calls wait for their cancellation, want none", w.server.open(), w.server.waiting.Load())
			return
		}
	}
}
