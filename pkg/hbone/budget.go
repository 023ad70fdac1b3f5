package hbone

import "time"

// budget bounds how often something may happen in a span of time. Spans do not overlap, so that at a boundary up to
// twice the limit passes; what it protects against is off by orders of magnitude.
type budget struct {
	limit int
	start time.Time
	used  int
}

// spend takes n and reports whether the budget allows it.
func (b *budget) spend(now time.Time, n int) bool {
	if now.Sub(b.start) >= floodWindow {
		b.start, b.used = now, 0
	}
	b.used += n
	return b.used <= b.limit
}

// earn gives one back, for work that was done to its end. At most ten limits can be saved up.
func (b *budget) earn() { b.used = max(b.used-1, -10*b.limit) }
