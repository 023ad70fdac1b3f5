package session

import (
	"fmt"
	"sync"

	"waymark.dev/waypoint/pkg/identity"
)

// accounts count what is in memory right now. There are none with nothing in them.
type accounts struct {
	mu          sync.Mutex
	all         int64
	ofPrincipal map[identity.ID]*account
	ofSession   map[owned]*account
}

type account struct{ held int64 }

// Hold is what one exchange holds in memory. It is safe for concurrent use.
type Hold struct {
	table *Table
	of    owned

	// The rest is guarded by the lock of accounts. The accounts are looked up when something is held and left when nothing is.
	size            int64
	own, ownSession *account
}

// Hold starts with nothing held.
func (t *Table) Hold(k Key, p identity.ID) *Hold { return &Hold{table: t, of: owned{k, p}} }

// Grow charges n bytes more, all or none. The error wraps ErrBytes and says whose limit it was.
func (h *Hold) Grow(n int) error {
	if n <= 0 {
		return nil
	}
	h.table.bytes.mu.Lock()
	scope, limit := h.charge(int64(n))
	h.table.bytes.mu.Unlock()
	if scope != "" {
		return fmt.Errorf("%w: over %d for %s", ErrBytes, limit, nameOf(scope))
	}
	return nil
}

// Shrink gives n bytes back, or what is left if that is less.
func (h *Hold) Shrink(n int) {
	if n <= 0 {
		return
	}
	h.table.bytes.mu.Lock()
	defer h.table.bytes.mu.Unlock()
	h.add(-min(int64(n), h.size))
}

// Release gives back what is left. It may be called twice.
func (h *Hold) Release() {
	h.table.bytes.mu.Lock()
	defer h.table.bytes.mu.Unlock()
	h.add(-h.size)
}

// charge adds n bytes, or says whose limit stands against them.
func (h *Hold) charge(n int64) (scope string, limit int64) {
	h.join()
	if scope, limit = h.full(n); scope != "" {
		n = 0
	}
	h.add(n)
	return scope, limit
}

// full says whose limit n bytes more would break, "" if nobody's. It compares what is left, because a sum could overflow.
func (h *Hold) full(n int64) (scope string, limit int64) {
	l := &h.table.limits
	switch {
	case h.ownSession != nil && n > l.BytesPerSession-h.ownSession.held:
		return "session", l.BytesPerSession
	case n > l.BytesPerPrincipal-h.own.held:
		return "principal", l.BytesPerPrincipal
	case n > l.Bytes-h.table.bytes.all:
		return "all", l.Bytes
	}
	return "", 0
}

// join finds the accounts to charge.
func (h *Hold) join() {
	if h.own != nil {
		return
	}
	h.own = open(h.table.bytes.ofPrincipal, h.of.principal)
	if h.of.Key != (Key{}) {
		h.ownSession = open(h.table.bytes.ofSession, h.of)
	}
}

func open[K comparable](accounts map[K]*account, k K) *account {
	a := accounts[k]
	if a == nil {
		a = &account{}
		accounts[k] = a
	}
	return a
}

// add changes what is held. With nothing held it leaves the accounts, and the last one out closes them.
func (h *Hold) add(n int64) {
	if h.own == nil {
		return
	}
	b := &h.table.bytes
	h.size += n
	b.all += n
	if h.own.held += n; h.own.held == 0 {
		delete(b.ofPrincipal, h.of.principal)
	}
	if h.ownSession != nil {
		if h.ownSession.held += n; h.ownSession.held == 0 {
			delete(b.ofSession, h.of)
		}
	}
	if h.size == 0 {
		h.own, h.ownSession = nil, nil
	}
}
