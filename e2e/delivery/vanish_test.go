package delivery_test

import (
	"context"
	"sync"
	"time"
)

// Of those whose connection is cut in the middle of everything, how many there are, what part of all calls they make, and how
// many of them at once.
const (
	onePrincipalIn = 5
	oneCallIn      = 50
	callsAtOnce    = 3
)

// vanishing starts some callers whose connections are cut, beside those of a crowd, and returns how many calls they make.
func (w *world) vanishing(ctx context.Context, all *sync.WaitGroup, seed uint64, many, calls int) int {
	cuts := calls / oneCallIn / callsAtOnce / (many / onePrincipalIn)
	made := 0
	for i := 0; i < many; i += onePrincipalIn {
		l := newLane(w.caller(i), "2025-06-18", seed-uint64(i+1)<<32)
		l.vanishes = true
		all.Go(func() { l.vanish(ctx, cuts) })
		made += cuts*callsAtOnce + 1
	}
	return made
}

// vanish makes calls and cuts the connection before most of them are answered, again and again. The session outlives that, and
// what is said beside the calls arrives once, whatever connection it takes.
func (l *lane) vanish(ctx context.Context, cuts int) {
	defer l.caller.close()
	l.live(ctx, func() {
		for range cuts {
			l.vanishOnce(ctx)
		}
	})
}

func (l *lane) vanishOnce(ctx context.Context) {
	var burst sync.WaitGroup
	defer burst.Wait()
	for _, o := range [callsAtOnce]order{{}, {Events: true, Steps: 2}, {Push: 1}} {
		c := l.add(plan{order: o, stop: leaves}, l.delay(), l.patience)
		burst.Go(func() { l.make(ctx, c) })
	}
	pause(ctx, time.Duration(l.rng.IntN(10_000))*time.Microsecond)
	l.join()
}
