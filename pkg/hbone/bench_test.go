//lint:file-ignore SA1019 golang.org/x/net/http2 is the stock peer that we are compared with, deprecated or not.

package hbone_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"sort"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"waymark.dev/waypoint/pkg/hbone"
	"waymark.dev/waypoint/pkg/identity/certs"
)

// The benchmarks come in pairs: the thing itself, and the floor it is divided by (performance rows 1, 2, 9, 10, 11, 12).
// Only ratios within one run mean anything.

const writeSize = 32 << 10

// sink accepts tunnels and discards what they carry.
func sink(r *hbone.Request) {
	c, err := r.Accept(nil)
	if err != nil {
		return
	}
	buf := make([]byte, writeSize)
	for {
		if _, err := c.Read(buf); err != nil {
			break
		}
	}
	c.Write([]byte{1})
	c.CloseWrite()
}

// tlsSink is the same on bare TLS connections.
func tlsSink(tb testing.TB) netip.AddrPort {
	l, err := tls.Listen("tcp", "127.0.0.1:0", certs.ServerConfig(certs.Static(serverMaterial()), trust))
	if err != nil {
		tb.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				buf := make([]byte, writeSize)
				for {
					if _, err := conn.Read(buf); err != nil {
						break
					}
				}
				conn.Write([]byte{1})
			})
		}
	})
	tb.Cleanup(func() { l.Close(); wg.Wait() })
	return l.Addr().(*net.TCPAddr).AddrPort()
}

func dialTLS(tb testing.TB, a netip.AddrPort) *tls.Conn {
	c, err := tls.Dial("tcp", a.String(), certs.ClientConfig(certs.Static(clientMaterial()), trust))
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// pump writes b.N blocks over the connections in parallel and waits until the other ends have read everything.
func pump(b *testing.B, conns []hbone.DuplexConn) {
	b.SetBytes(writeSize)
	var next sync.Mutex
	left := 0
	take := func() bool {
		next.Lock()
		defer next.Unlock()
		left--
		return left >= 0
	}
	b.ReportAllocs()
	b.ResetTimer()
	left = b.N
	var wg sync.WaitGroup
	for _, c := range conns {
		wg.Go(func() {
			block := make([]byte, writeSize)
			for take() {
				if _, err := c.Write(block); err != nil {
					b.Error(err)
					return
				}
			}
			c.CloseWrite()
			io.ReadFull(c, block[:1])
		})
	}
	wg.Wait()
	b.StopTimer()
	for _, c := range conns {
		c.Close()
	}
}

func BenchmarkThroughputOneStream(b *testing.B) {
	_, addr := startServer(b, hbone.ServerConfig{Handler: sink})
	c := dial(b, startPool(b, hbone.PoolConfig{}), addr)
	pump(b, []hbone.DuplexConn{c})
}

func BenchmarkThroughputOneTLS(b *testing.B) {
	pump(b, []hbone.DuplexConn{dialTLS(b, tlsSink(b))})
}

func BenchmarkThroughput8StreamsOneConn(b *testing.B)  { benchmark8(b, 8) }
func BenchmarkThroughput8StreamsTwoConns(b *testing.B) { benchmark8(b, 4) }

func benchmark8(b *testing.B, perConn uint32) {
	_, addr := startServer(b, hbone.ServerConfig{Handler: sink})
	p := startPool(b, hbone.PoolConfig{Limits: hbone.Limits{StreamsPerConn: perConn}})
	var conns []hbone.DuplexConn
	for range 8 {
		conns = append(conns, dial(b, p, addr))
	}
	pump(b, conns)
}

func BenchmarkThroughput8TLS(b *testing.B) {
	addr := tlsSink(b)
	var conns []hbone.DuplexConn
	for range 8 {
		conns = append(conns, dialTLS(b, addr))
	}
	pump(b, conns)
}

// exchange is one ping-pong of a small message.
func exchange(c net.Conn, buf []byte) error {
	if _, err := c.Write(buf); err != nil {
		return err
	}
	_, err := io.ReadFull(c, buf)
	return err
}

// smallEcho is echo with a small buffer, as the floor has it.
func smallEcho(r *hbone.Request) {
	c, err := r.Accept(nil)
	if err != nil {
		return
	}
	var buf [512]byte
	for {
		n, err := c.Read(buf[:])
		if err != nil {
			break
		}
		c.Write(buf[:n])
	}
	c.CloseWrite()
}

func BenchmarkOpenExchangeClose(b *testing.B) {
	_, addr := startServer(b, hbone.ServerConfig{Handler: smallEcho})
	p := startPool(b, hbone.PoolConfig{})
	t := target(addr)
	buf := make([]byte, 300)
	b.ReportAllocs()
	defer reportCPU(b)()
	for b.Loop() {
		c, err := p.Dial(context.Background(), t)
		if err != nil {
			b.Fatal(err)
		}
		if err := exchange(c, buf); err != nil {
			b.Fatal(err)
		}
		c.CloseWrite()
		if _, err := c.Read(buf); err != io.EOF {
			b.Fatal(err)
		}
		c.Close()
	}
}

// BenchmarkOpenExchangeCloseStock is the floor: x/net on both ends.
func BenchmarkOpenExchangeCloseStock(b *testing.B) {
	l, err := tls.Listen("tcp", "127.0.0.1:0", certs.ServerConfig(certs.Static(serverMaterial()), trust))
	if err != nil {
		b.Fatal(err)
	}
	srv := &http2.Server{}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		http.NewResponseController(w).Flush()
		buf := make([]byte, 512)
		for {
			n, err := r.Body.Read(buf)
			if n > 0 {
				w.Write(buf[:n])
				http.NewResponseController(w).Flush()
			}
			if err != nil {
				return
			}
		}
	})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				conn.(*tls.Conn).Handshake()
				srv.ServeConn(conn, &http2.ServeConnOpts{Handler: handler})
			})
		}
	})
	transport := &http2.Transport{TLSClientConfig: certs.ClientConfig(certs.Static(clientMaterial()), trust)}
	b.Cleanup(func() { transport.CloseIdleConnections(); l.Close(); wg.Wait() })
	addr := l.Addr().String()
	buf := make([]byte, 300)
	b.ReportAllocs()
	defer reportCPU(b)()
	for b.Loop() {
		pr, pw := io.Pipe()
		req, _ := http.NewRequest(http.MethodConnect, "https://"+addr, pr)
		req.Host = "10.0.0.9:3000"
		resp, err := transport.RoundTrip(req)
		if err != nil {
			b.Fatal(err)
		}
		pw.Write(buf)
		if _, err := io.ReadFull(resp.Body, buf); err != nil {
			b.Fatal(err)
		}
		pw.Close()
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
}

// BenchmarkIdleStream reports the memory of an open tunnel that carries nothing, both ends together.
func BenchmarkIdleStream(b *testing.B) {
	_, addr := startServer(b, hbone.ServerConfig{Handler: smallEcho})
	p := startPool(b, hbone.PoolConfig{})
	const streams = 2000
	for b.Loop() {
		before := memory()
		conns := make([]*hbone.Conn, streams)
		for i := range conns {
			conns[i] = dial(b, p, addr)
		}
		after := memory()
		b.ReportMetric(float64(after-before)/streams, "B/stream")
		for _, c := range conns {
			c.Close()
		}
	}
}

func memory() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

func BenchmarkHandshake(b *testing.B) {
	_, addr := startServer(b, hbone.ServerConfig{})
	b.ReportAllocs()
	defer reportCPU(b)()
	for b.Loop() {
		p := hbone.NewPool(hbone.PoolConfig{Certificates: certs.Static(clientMaterial())})
		dial(b, p, addr).Close()
		p.Close()
	}
}

func BenchmarkHandshakeTLS(b *testing.B) {
	addr := tlsSink(b)
	b.ReportAllocs()
	defer reportCPU(b)()
	for b.Loop() {
		c := dialTLS(b, addr)
		c.CloseWrite()
		io.ReadFull(c, make([]byte, 1))
		c.Close()
	}
}

// The small exchange beside a bulk upload: latency is what row 9 compares, on one connection and on two.
func BenchmarkSmallBesideBulk(b *testing.B) {
	_, addr := startServer(b, hbone.ServerConfig{Handler: func(r *hbone.Request) {
		if r.Header().Get("kind") == "bulk" {
			sink(r)
			return
		}
		echo(r)
	}})
	p := startPool(b, hbone.PoolConfig{})
	t := target(addr)
	t.Header = http.Header{"kind": {"bulk"}}
	bulk, err := p.Dial(b.Context(), t)
	if err != nil {
		b.Fatal(err)
	}
	measureBeside(b, bulk, dial(b, p, addr))
}

func BenchmarkSmallBesideBulkTLS(b *testing.B) {
	_, addr := startServer(b, hbone.ServerConfig{})
	small := dial(b, startPool(b, hbone.PoolConfig{}), addr)
	measureBeside(b, dialTLS(b, tlsSink(b)), small)
}

func measureBeside(b *testing.B, bulk, small hbone.DuplexConn) {
	var wg sync.WaitGroup
	stop := make(chan struct{})
	var sent int64
	wg.Go(func() {
		block := make([]byte, writeSize)
		for {
			select {
			case <-stop:
				return
			default:
			}
			n, err := bulk.Write(block)
			if err != nil {
				return
			}
			sent += int64(n)
		}
	})
	buf := make([]byte, 300)
	var took []time.Duration
	for b.Loop() {
		start := time.Now()
		if err := exchange(small, buf); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(start))
	}
	close(stop)
	wg.Wait()
	sort.Slice(took, func(i, j int) bool { return took[i] < took[j] })
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
	b.ReportMetric(float64(sent)/b.Elapsed().Seconds()/1e6, "bulk-MB/s")
	bulk.Close()
	small.Close()
}

// reportCPU reports the processor time of the whole process per operation: both ends, and the runtime's work too.
func reportCPU(b *testing.B) func() {
	start := cpuTime()
	return func() { b.ReportMetric(float64(cpuTime()-start)/float64(time.Microsecond)/float64(b.N), "cpu-µs/op") }
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
