package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"waymark.dev/waypoint/e2e/peers"
	"waymark.dev/waypoint/pkg/hbone"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/identity/certs"
)

// streams is how many calls can be under way, over connections connections.
const (
	streams     = 32
	connections = 8
)

// dialer opens one stream to a proxy.
type dialer func(context.Context) (net.Conn, error)

// overTunnel dials CONNECT streams, as the ztunnel next to a caller does.
func overTunnel(a netip.AddrPort, authority string) (dialer, func() error) {
	pool := hbone.NewPool(hbone.PoolConfig{
		Certificates: certs.Static(peers.Caller()), Limits: hbone.Limits{StreamsPerConn: streams / connections},
	})
	target := peers.Target(a)
	target.Authority = authority
	return func(ctx context.Context) (net.Conn, error) { return pool.Dial(ctx, target) }, pool.Close
}

// overTLS dials bare TLS connections.
func overTLS(a netip.AddrPort, expect identity.ID) (dialer, func() error) {
	d := tls.Dialer{Config: certs.ClientConfig(certs.Static(peers.Caller()), identity.MatchOneOf(expect))}
	return func(ctx context.Context) (net.Conn, error) { return d.DialContext(ctx, "tcp", a.String()) },
		func() error { return nil }
}

// load is a set of streams that send one request again and again.
type load struct {
	request []byte
	size    int // of the body of each answer
	close   func() error
	open    []*stream
}

type stream struct {
	conn   net.Conn
	reader *bufio.Reader
}

func newLoad(ctx context.Context, dial dialer, closePool func() error, request []byte, size int) (*load, error) {
	l := &load{request: request, size: size, close: closePool}
	for range streams {
		c, err := dial(ctx)
		if err != nil {
			return nil, errors.Join(err, l.end())
		}
		l.open = append(l.open, &stream{c, bufio.NewReaderSize(c, 16<<10)})
	}
	return l, nil
}

func (l *load) end() error {
	for _, s := range l.open {
		s.conn.Close()
	}
	return l.close()
}

// call sends the request and checks the answer.
func (l *load) call(s *stream) error {
	if _, err := s.conn.Write(l.request); err != nil {
		return err
	}
	h, err := readHead(s.reader)
	if err != nil {
		return err
	}
	if !h.ok {
		return errors.New("the answer is not 200")
	}
	n, err := readBody(s.reader, h)
	if err == nil && n != l.size {
		err = fmt.Errorf("the answer has %d bytes, want %d", n, l.size)
	}
	return err
}

// listen opens one more stream and an event stream on it, and waits for its first event.
func (l *load) listen(ctx context.Context, dial dialer) error {
	c, err := dial(ctx)
	if err != nil {
		return err
	}
	s := &stream{c, bufio.NewReaderSize(c, 1<<10)}
	l.open = append(l.open, s)
	if _, err := fmt.Fprintf(c, listenRequest, len(l.open)); err != nil {
		return err
	}
	h, err := readHead(s.reader)
	if err != nil {
		return err
	}
	if !h.ok {
		return errors.New("the answer is not 200")
	}
	_, err = s.reader.ReadSlice('\n') // the size of the first chunk: it is there
	return err
}

// run makes calls for a time: at a rate per second, or with rate 0 as fast as they are answered. It returns how long each
// call took, sorted, counted from when it was really sent: Go's sleeps end up to a millisecond late.
func (l *load) run(ctx context.Context, d time.Duration, rate int) ([]time.Duration, error) {
	var (
		mu   sync.Mutex
		all  []time.Duration
		errs error
		wg   sync.WaitGroup
	)
	start := time.Now()
	for i, s := range l.open {
		wg.Go(func() {
			took, err := l.keepCalling(ctx, s, start, d, rate, i)
			mu.Lock()
			defer mu.Unlock()
			all = append(all, took...)
			errs = errors.Join(errs, err)
		})
	}
	wg.Wait()
	slices.Sort(all)
	if errs == nil && len(all) < streams {
		errs = fmt.Errorf("%d calls in %v", len(all), d)
	}
	return all, errs
}

func (l *load) keepCalling(ctx context.Context, s *stream, start time.Time, d time.Duration, rate, number int) ([]time.Duration, error) {
	var took []time.Duration
	var period time.Duration
	if rate > 0 {
		period = time.Second * streams / time.Duration(rate)
	}
	due := start.Add(period * time.Duration(number) / streams)
	for ctx.Err() == nil {
		if period > 0 {
			time.Sleep(time.Until(due))
			due = due.Add(period)
		}
		sent := time.Now()
		if sent.Sub(start) >= d {
			break
		}
		if err := l.call(s); err != nil {
			return nil, err
		}
		took = append(took, time.Since(sent))
	}
	return took, ctx.Err()
}
