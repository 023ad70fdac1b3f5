package session

import (
	"fmt"

	"waymark.dev/waypoint/pkg/identity"
)

// bytes counts what is in memory right now.
type bytes struct {
	all         int64
	ofPrincipal map[identity.ID]int64
	ofSession   map[Key]int64
}

// Hold is what one exchange holds in memory. It is not safe for concurrent use.
type Hold struct {
	table     *Table
	key       Key
	principal identity.ID
	size      int64
}

// Hold starts with nothing held.
func (t *Table) Hold(k Key, p identity.ID) *Hold { return &Hold{table: t, key: k, principal: p} }

// Grow charges n bytes more, all or none. The error wraps ErrBytes and says whose limit it was.
func (h *Hold) Grow(n int) error {
	h.table.mu.Lock()
	defer h.table.mu.Unlock()
	b, l, more := &h.table.bytes, &h.table.limits, int64(n)
	switch {
	case h.key != (Key{}) && b.ofSession[h.key]+more > l.BytesPerSession:
		return fmt.Errorf("%w: over %d for %s", ErrBytes, l.BytesPerSession, scopes["session"])
	case b.ofPrincipal[h.principal]+more > l.BytesPerPrincipal:
		return fmt.Errorf("%w: over %d for %s", ErrBytes, l.BytesPerPrincipal, scopes["principal"])
	case b.all+more > l.Bytes:
		return fmt.Errorf("%w: over %d for %s", ErrBytes, l.Bytes, scopes["all"])
	}
	h.add(more)
	return nil
}

// Shrink gives n bytes back, or what is left if that is less.
func (h *Hold) Shrink(n int) {
	h.table.mu.Lock()
	defer h.table.mu.Unlock()
	h.add(-min(int64(n), h.size))
}

// Release gives back what is left. It may be called twice.
func (h *Hold) Release() {
	h.table.mu.Lock()
	defer h.table.mu.Unlock()
	h.add(-h.size)
}

func (h *Hold) add(n int64) {
	b := &h.table.bytes
	h.size += n
	b.all += n
	charge(b.ofPrincipal, h.principal, n)
	if h.key != (Key{}) {
		charge(b.ofSession, h.key, n)
	}
}

// charge keeps no entry that is zero.
func charge[K comparable](m map[K]int64, k K, n int64) {
	if m[k] += n; m[k] == 0 {
		delete(m, k)
	}
}
