package proxy

import (
	"sync"
)

// noticed is an HTTP/2 connection on which we can say that we are about to leave. net/http says GOAWAY once, and names the
// last stream right away: requests that are on their way at that moment are refused, and a client that cannot send them again
// loses them. RFC 9113, section 6.8, has the remedy: first a GOAWAY that names no stream, so that clients stop; then, when what
// was on its way has come, the one that counts. The first one is ours. It goes between two frames of net/http's, which is all
// that is to be known of them.
type noticed struct {
	duplex

	mu     sync.Mutex
	head   [frameHead]byte
	n      int  // bytes of head that are known
	left   int  // bytes of the frame that are to come
	frames int  // complete ones; the first must be SETTINGS
	wanted bool // the notice is to be given
	given  bool
}

// frameHead is the size of a frame header (RFC 9113, section 4.1).
const frameHead = 9

// farewell is a GOAWAY with NO_ERROR and the highest stream id there is.
var farewell = []byte{0, 0, 8, 7, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0}

func (c *noticed) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, err := c.duplex.Write(b)
	c.follow(b[:n])
	if err == nil {
		err = c.say()
	}
	return n, err
}

// follow keeps track of where frames end.
func (c *noticed) follow(b []byte) {
	for len(b) > 0 {
		if c.n < frameHead {
			k := copy(c.head[c.n:], b)
			c.n, b = c.n+k, b[k:]
			if c.n < frameHead {
				return
			}
			c.left = int(c.head[0])<<16 | int(c.head[1])<<8 | int(c.head[2])
		}
		k := min(c.left, len(b))
		c.left, b = c.left-k, b[k:]
		if c.left == 0 {
			c.n = 0
			c.frames++
		}
	}
}

// say gives the notice if this is the place for it.
func (c *noticed) say() error {
	if !c.wanted || c.given || c.n > 0 || c.frames == 0 {
		return nil
	}
	c.given = true
	_, err := c.duplex.Write(farewell)
	return err
}

// notice gives notice as soon as it can. It waits for a write that is under way.
func (c *noticed) notice() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wanted = true
	_ = c.say()
}
