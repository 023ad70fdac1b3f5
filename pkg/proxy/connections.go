package proxy

import (
	"context"
	"errors"
	"hash/maphash"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/mesh"
)

// connections are the HTTP connections to endpoints. They are our own, and not those of an http.Transport, for two reasons.
// A connection to a workload that has gone must take nothing new from that moment on: whether an exchange is on it, or it is
// about to be given to one, or it is closed, is decided here under one lock. And whether bytes of a request went out, so that
// another endpoint may be tried, is counted, not guessed from an error.
type connections struct {
	dial         func(context.Context, mesh.Endpoint, *origin) (duplex, error)
	http1, http2 *http.Transport // make connections; their own pools stay empty
	seed         maphash.Seed

	mu     sync.Mutex
	groups map[uint64]*group
	closed bool
}

// group is the connections to one endpoint on behalf of one service. What is verified once holds for all of them: its key
// covers the identities that are expected, so that a pod that takes over an address never gets a connection that was verified
// for its predecessor. All fields are guarded by connections.mu.
type group struct {
	key     uint64
	at      [3]netip.Addr // of the endpoint, its tunnel and its gateway
	users   int           // exchanges that have, or wait for, a connection
	gone    bool          // evicted: its connections take nothing new
	idle    []*connection // HTTP/1 without an exchange, the latest last
	shared  []*connection // HTTP/2
	opening *opening      // HTTP/2: a connect under way
}

// opening is a connect that others wait for.
type opening struct {
	done chan struct{}
	err  error // set before done is closed
}

// connection is one HTTP connection to an endpoint.
type connection struct {
	*http.ClientConn
	group *group
	wire  *countedConn // of HTTP/1
	timer *time.Timer  // while it is idle

	exchanges int  // guarded by connections.mu
	used      bool // by an earlier exchange: the endpoint may be about to close it; HTTP/1
}

// countedConn counts what goes out and comes in.
type countedConn struct {
	duplex
	written, read atomic.Int64
}

func (c *countedConn) Write(b []byte) (int, error) {
	n, err := c.duplex.Write(b)
	c.written.Add(int64(n))
	return n, err
}

func (c *countedConn) Read(b []byte) (int, error) {
	n, err := c.duplex.Read(b)
	c.read.Add(int64(n))
	return n, err
}

func newConnections(dial func(context.Context, mesh.Endpoint, *origin) (duplex, error)) *connections {
	c := &connections{dial: dial, seed: maphash.MakeSeed(), groups: map[uint64]*group{}}
	var h1, h2 http.Protocols
	h1.SetHTTP1(true)
	h2.SetUnencryptedHTTP2(true)
	c.http1, c.http2 = c.transport(&h1), c.transport(&h2)
	return c
}

func (c *connections) transport(protocols *http.Protocols) *http.Transport {
	return &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			wanted, ok := ctx.Value(wantedKey{}).(*wanted)
			if !ok {
				return nil, errors.New("proxy: dial without an endpoint")
			}
			conn, err := c.dial(ctx, wanted.endpoint, wanted.origin)
			if err != nil {
				return nil, err
			}
			wanted.wire = &countedConn{duplex: conn}
			return wanted.wire, nil
		},
		Protocols:              protocols,
		DisableCompression:     true, // bytes go on as they came
		ExpectContinueTimeout:  headTimeout,
		MaxResponseHeaderBytes: maxUpstreamHead,
		ReadBufferSize:         8 << 10,
		WriteBufferSize:        8 << 10,
	}
}

type wantedKey struct{}

// wanted says what to dial, and hears what came of it.
type wanted struct {
	endpoint mesh.Endpoint
	origin   *origin
	wire     *countedConn
}

// take returns a connection for one exchange; give must be called with it when that is over. With fresh, it is a new one.
func (c *connections) take(ctx context.Context, to *destination, http2, fresh bool) (*connection, error) {
	g := c.enter(to)
	var conn *connection
	var err error
	switch {
	case http2:
		conn, err = c.takeShared(ctx, g, to)
	default:
		if !fresh {
			conn = c.takeIdle(g)
		}
		if conn == nil {
			conn, err = c.open(ctx, c.http1, g, to)
		}
	}
	if err != nil {
		c.leave(g)
		return nil, err
	}
	return conn, nil
}

func (c *connections) enter(to *destination) *group {
	key := c.key(to)
	c.mu.Lock()
	defer c.mu.Unlock()
	g := c.groups[key]
	if g == nil {
		g = &group{key: key, at: [3]netip.Addr{to.endpoint.Address.Addr(), to.endpoint.Tunnel.Addr()}}
		if gateway := to.endpoint.Gateway; gateway != nil {
			g.at[2] = gateway.Tunnel.Addr()
		}
		c.groups[key] = g
	}
	g.users++
	return g
}

func (c *connections) leave(g *group) {
	c.mu.Lock()
	defer c.mu.Unlock()
	g.users--
	c.tidy(g)
}

// tidy forgets a group of which nothing is left. Called with mu held.
func (c *connections) tidy(g *group) {
	if g.users == 0 && len(g.idle) == 0 && len(g.shared) == 0 && c.groups[g.key] == g {
		delete(c.groups, g.key)
	}
}

// takeIdle returns an idle HTTP/1 connection that is still open, or nil. From here on an eviction finds it in use.
func (c *connections) takeIdle(g *group) *connection {
	for {
		c.mu.Lock()
		last := len(g.idle) - 1
		if last < 0 {
			c.mu.Unlock()
			return nil
		}
		conn := g.idle[last]
		g.idle[last] = nil
		g.idle = g.idle[:last]
		conn.exchanges = 1
		conn.timer.Stop()
		c.mu.Unlock()
		if conn.Reserve() == nil {
			conn.used = true
			return conn
		}
		_ = conn.Close() // the endpoint hung up meanwhile
	}
}

// takeShared returns an HTTP/2 connection with room, and opens one if there is none. One connect at a time serves everybody
// who waits for it.
func (c *connections) takeShared(ctx context.Context, g *group, to *destination) (*connection, error) {
	for {
		c.mu.Lock()
		conn := c.roomIn(g)
		under := g.opening
		if conn == nil && under == nil {
			g.opening = &opening{done: make(chan struct{})}
		}
		c.mu.Unlock()
		switch {
		case conn != nil:
			return conn, nil
		case under == nil:
			return c.openShared(ctx, g, to)
		}
		select {
		case <-under.done:
			if under.err != nil {
				return nil, under.err
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// roomIn reserves a stream on a connection of g, and drops those that take none any more. Called with mu held.
func (c *connections) roomIn(g *group) *connection {
	for i := len(g.shared) - 1; i >= 0; i-- {
		conn := g.shared[i]
		switch {
		case conn.Reserve() == nil:
			conn.exchanges++
			conn.timer.Stop()
			return conn
		case conn.exchanges == 0: // the endpoint said GOAWAY, or hung up
			g.shared = slices.Delete(g.shared, i, i+1)
			go conn.Close()
		}
	}
	return nil
}

func (c *connections) openShared(ctx context.Context, g *group, to *destination) (*connection, error) {
	conn, err := c.open(ctx, c.http2, g, to)
	c.mu.Lock()
	defer c.mu.Unlock()
	under := g.opening
	g.opening = nil
	close(under.done)
	switch {
	case err == nil && !g.gone && !c.closed:
		g.shared = append(g.shared, conn)
	case err != nil && ctx.Err() == nil: // else only this one gave up
		under.err = err
	}
	return conn, err
}

// open makes a connection that has its first exchange.
func (c *connections) open(ctx context.Context, from *http.Transport, g *group, to *destination) (*connection, error) {
	w := &wanted{endpoint: to.endpoint, origin: &origin{service: to.service}}
	cc, err := from.NewClientConn(context.WithValue(ctx, wantedKey{}, w), "http", anyHost+":80")
	if err != nil {
		return nil, err
	}
	conn := &connection{ClientConn: cc, group: g, exchanges: 1}
	conn.timer = time.AfterFunc(upstreamIdle, func() { c.expire(conn) })
	conn.timer.Stop()
	if from == c.http1 {
		conn.wire = w.wire
	}
	if err := conn.Reserve(); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

// give takes back a connection whose exchange is over. An answer that was not read to its end is being drained, for a moment,
// so that the connection can go on.
func (c *connections) give(conn *connection) {
	if conn.wire != nil && conn.Available() == 0 && conn.Err() == nil {
		conn.SetStateHook(func(*http.ClientConn) {
			conn.SetStateHook(nil)
			c.settle(conn)
		})
		return
	}
	c.settle(conn)
}

// settle decides whether a connection goes on.
func (c *connections) settle(conn *connection) {
	usable := conn.Available() > 0
	c.mu.Lock()
	g := conn.group
	conn.exchanges--
	g.users--
	usable = usable && !g.gone && !c.closed
	switch {
	case conn.wire != nil && usable && len(g.idle) < upstreamIdlePerEndpoint:
		g.idle = append(g.idle, conn)
		conn.timer.Reset(upstreamIdle)
	case conn.wire == nil && usable:
		if conn.exchanges == 0 {
			conn.timer.Reset(upstreamIdle)
		}
	case conn.exchanges == 0:
		g.drop(conn)
		defer conn.Close()
	}
	c.tidy(g)
	c.mu.Unlock()
}

// drop takes a connection out of the lists. Called with mu held.
func (g *group) drop(conn *connection) {
	is := func(other *connection) bool { return other == conn }
	g.idle = slices.DeleteFunc(g.idle, is)
	g.shared = slices.DeleteFunc(g.shared, is)
}

// expire closes a connection that was idle for too long.
func (c *connections) expire(conn *connection) {
	c.mu.Lock()
	if conn.exchanges > 0 {
		c.mu.Unlock()
		return
	}
	conn.group.drop(conn)
	c.tidy(conn.group)
	c.mu.Unlock()
	_ = conn.Close()
}

// evict closes the idle connections to an address, and lets those with an exchange take nothing after it.
func (c *connections) evict(a netip.Addr) {
	c.end(func(g *group) bool { return slices.Contains(g.at[:], a) })
}

// close closes what is idle. What is in use is closed when it is given back.
func (c *connections) close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.end(func(*group) bool { return true })
}

func (c *connections) end(which func(*group) bool) {
	c.mu.Lock()
	var idle []*connection
	for key, g := range c.groups {
		if !which(g) {
			continue
		}
		g.gone = true
		idle = append(idle, g.idle...)
		for _, conn := range g.shared {
			if conn.exchanges == 0 {
				idle = append(idle, conn)
			}
		}
		g.idle, g.shared = nil, nil
		delete(c.groups, key)
	}
	c.mu.Unlock()
	for _, conn := range idle {
		conn.timer.Stop()
		_ = conn.Close()
	}
}

// key names what may share connections.
func (c *connections) key(to *destination) uint64 {
	var h maphash.Hash
	h.SetSeed(c.seed)
	var b [64]byte
	ep := &to.endpoint
	_, _ = h.Write(ep.Address.AppendTo(b[:0]))
	_, _ = h.Write(ep.Tunnel.AppendTo(append(b[:0], '|')))
	hashIdentities(&h, ep.Identities)
	_, _ = h.WriteString("|" + ep.Host)
	if g := ep.Gateway; g != nil {
		_, _ = h.Write(g.Tunnel.AppendTo(append(b[:0], '|')))
		hashIdentities(&h, g.Identities)
		_, _ = h.WriteString("|" + g.Host + "|" + g.Authority)
	}
	_, _ = h.WriteString("|" + to.service.Namespace + "|" + to.service.Hostname)
	return h.Sum64()
}

func hashIdentities(h *maphash.Hash, ids []identity.ID) {
	for _, id := range ids {
		_, _ = h.WriteString("|")
		_, _ = h.WriteString(id.String())
	}
	_, _ = h.WriteString("|")
}
