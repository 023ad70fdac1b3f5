package hbone

import (
	"net"
	"sync"
)

// wire stands between TLS and the socket. While a batch is being written it gathers the TLS records, so that the batch
// becomes one system call; at all other times (handshake, alerts, close) it writes through.
type wire struct {
	net.Conn
	mu  sync.Mutex
	out *batch // non-nil while gathering
}

func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.out == nil {
		return w.Conn.Write(p)
	}
	return w.out.Write(p)
}

// gather begins to collect what TLS writes.
func (w *wire) gather() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.out = getBatch()
}

// release sends what was collected.
func (w *wire) release() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	b := w.out
	w.out = nil
	_, err := w.Conn.Write(b.buf)
	b.put()
	return err
}
