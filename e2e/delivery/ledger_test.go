package delivery_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// fault is a kind of what must not happen.
type fault string

// The faults. The last one is a failure that is no delivery: an error, or a message, that the protocol does not have there.
const (
	stranger  fault = "delivered to a stranger"
	lost      fault = "lost"
	duplicate fault = "delivered twice"
	trespass  fault = "reached the server on the session of another"
	leaked    fault = "refused, and reached the server"
	broken    fault = "not as the protocol has it"
)

// shown is how many faults of each kind a failing test describes.
const shown = 8

// ledger is what both ends write down. It is safe for concurrent use.
type ledger struct {
	calls, answered, refused, dropped, resumed, events, asked, steps atomic.Int64

	mu     sync.Mutex
	faults map[fault]int
	first  []string
}

func newLedger() *ledger { return &ledger{faults: map[fault]int{}} }

func (l *ledger) report(f fault, format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.faults[f]++
	if l.faults[f] <= shown {
		l.first = append(l.first, string(f)+": "+fmt.Sprintf(format, args...))
	}
}

// kinds returns the kinds of faults that happened, sorted.
func (l *ledger) kinds() []fault {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Sorted(maps.Keys(l.faults))
}

// clean fails the test if anything happened that must not.
func (l *ledger) clean(t *testing.T) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range slices.Sorted(maps.Keys(l.faults)) {
		t.Errorf("%d × %s, want none", l.faults[f], f)
	}
	if len(l.first) > 0 {
		slices.Sort(l.first)
		t.Errorf("the first of each kind:\n%s", strings.Join(l.first, "\n"))
	}
}

func (l *ledger) String() string {
	return fmt.Sprintf("%d calls: %d answered, %d refused, %d not waited for; %d streams resumed, %d events, %d steps, %d server requests",
		l.calls.Load(), l.answered.Load(), l.refused.Load(), l.dropped.Load(), l.resumed.Load(), l.events.Load(), l.steps.Load(), l.asked.Load())
}
