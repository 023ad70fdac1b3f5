package kube

import (
	"context"
	"math/rand/v2"
	"time"
)

// Between two attempts.
const (
	firstPause   = 100 * time.Millisecond
	longestPause = 5 * time.Second
)

// pause is how long to wait before the next attempt: longer each time, and not at the same moment as other waypoints.
type pause struct{ last time.Duration }

func (p *pause) reset() { p.last = 0 }

func (p *pause) sleep(ctx context.Context) {
	p.last = min(max(2*p.last, firstPause), longestPause)
	sleep(ctx, p.last/2+rand.N(p.last/2+1))
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
