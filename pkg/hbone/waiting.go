package hbone

import (
	"container/list"
	"net"
	"sync"
)

// waiting holds the accepted connections whose handshake is not complete. When there are too many the oldest one gives
// way: a healthy handshake takes milliseconds, so what is old is stuck, and a crowd of stuck peers cannot keep a healthy
// one out as a queue would let it.
type waiting struct {
	limit int
	mu    sync.Mutex
	line  list.List // of net.Conn, oldest first
}

// place is one connection's place in the line.
type place = list.Element

func (w *waiting) add(conn net.Conn) *place {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.line.Len() >= w.limit {
		w.line.Remove(w.line.Front()).(net.Conn).Close()
	}
	return w.line.PushBack(conn)
}

// remove takes a connection out of the line, if it is still there.
func (w *waiting) remove(p *place) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.line.Remove(p)
}

func (w *waiting) closeAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for e := w.line.Front(); e != nil; e = e.Next() {
		e.Value.(net.Conn).Close()
	}
}
