package hbone

import (
	"sync"
	"time"
)

// SetDeadline sets both deadlines; the zero time means none.
func (c *Conn) SetDeadline(t time.Time) error {
	c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

// SetReadDeadline bounds pending and later calls of Read.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.setDeadline(&c.readTimer, &c.rcond, t) }

// SetWriteDeadline bounds pending and later calls of Write.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.setDeadline(&c.writeTimer, &c.wcond, t) }

func (c *Conn) setDeadline(d *deadline, cond *sync.Cond, t time.Time) error {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	d.stop()
	d.at, d.set, d.expired = t, !t.IsZero(), false
	if !d.set {
		return nil
	}
	left := time.Until(t)
	switch {
	case left <= 0:
		d.expired = true
		cond.Broadcast()
	case d.timer == nil:
		d.timer = time.AfterFunc(left, func() { c.expire(d, cond) })
	default:
		d.timer.Reset(left)
	}
	return nil
}

// expire is called by the timer, and may be about a deadline that was moved meanwhile.
func (c *Conn) expire(d *deadline, cond *sync.Cond) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if d.due() {
		cond.Broadcast()
	}
}

// deadline is a point in time after which calls fail.
type deadline struct {
	at      time.Time
	timer   *time.Timer
	set     bool
	expired bool
}

func (d *deadline) due() bool {
	if d.set && !time.Now().Before(d.at) {
		d.expired = true
	}
	return d.expired
}

func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
	}
}
