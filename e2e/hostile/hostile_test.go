package hostile_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"waymark.dev/waypoint/e2e/apart"
	"waymark.dev/waypoint/e2e/peers"
	"waymark.dev/waypoint/internal/testmesh"
)

func TestMain(m *testing.M) {
	apart.Main(apart.Roles{"waypoint": apart.Waypoint})
	goleak.VerifyTestMain(m)
}

const (
	stuckPeers = 5000
	clients    = 50
	calls      = 40                    // of each client, before, during and after the siege
	pause      = 50 * time.Millisecond // between two calls of a client: as much load as leaves both cores some room
	patience   = 5 * time.Minute       // for what must happen in the end; a slow machine may take its time

	// perPeer bounds what a stuck peer may hold in the waypoint. Most of it is for those who let a large answer come
	// and never read it: their window is full, and so are the buffers between the backend and them.
	perPeer = 100 << 10
	// slack is how much memory may differ between two quiet moments: pools, and maps that do not shrink.
	slack = 16 << 20
	// spare goroutines may differ, too: up to 64 idle connections to the backend are kept, with two each.
	spare = 150
)

// web is the service that everybody asks for; a port that carries plain HTTP.
var web = testmesh.Service{Name: "web", Port: 8080, Protocol: "HTTP", Account: "web"}

func TestStuckPeersHurtNobody(t *testing.T) {
	f := siegeOf(t, stuckPeers)
	held := f.during.Heap + f.during.Stacks - f.before.Heap - f.before.Stacks
	if held > stuckPeers*perPeer {
		t.Errorf("%d stuck peers hold %d bytes, want at most %d", stuckPeers, held, stuckPeers*perPeer)
	}
	t.Logf("%d peers stuck, %d thrown out and on their way back or back already; they hold %d KB and %.1f goroutines each",
		f.stuck, f.thrown, held/stuckPeers>>10, float64(f.during.Goroutines-f.before.Goroutines)/stuckPeers)
	t.Logf("p99 of healthy calls: %v quiet, %v besieged (%.1f times)", f.quiet, f.besieged, f.ratio())
	t.Logf("before %+v, during %+v, after %+v", f.before, f.during, f.after)
}

// BenchmarkBesieged is the figure of the same siege that depends on time.
func BenchmarkBesieged(b *testing.B) {
	for b.Loop() {
		b.ReportMetric(siegeOf(b, stuckPeers).ratio(), "p99-ratio")
	}
}

// figures are what a siege shows.
type figures struct {
	quiet, besieged       time.Duration // p99 of healthy calls
	before, during, after apart.Stats
	stuck, thrown         int64 // peers that were stuck in the end; how often one was thrown out
}

func (f figures) ratio() float64 { return float64(f.besieged) / float64(f.quiet) }

// siegeOf lets healthy clients call before, during and after a siege. It fails unless every call succeeds and the
// waypoint holds no more afterwards than before.
func siegeOf(tb testing.TB, n int) (f figures) {
	needDescriptors(tb, uint64(4*n))
	waypoint := startWaypoint(tb)
	f.quiet = callAll(tb, waypoint.Addr())
	f.before = stats(tb, waypoint)

	s := besiege(waypoint.Addr(), n)
	defer s.lift()
	waitFor(tb, "every peer to get stuck once", func() bool { return s.arrived.Load() == int64(n) })
	f.besieged = callAll(tb, waypoint.Addr())
	f.during = stats(tb, waypoint)
	f.stuck, f.thrown = s.stuck.Load(), s.thrown.Load()
	s.lift()

	defer func() {
		if tb.Failed() {
			tb.Logf("before %+v, during %+v, after %+v", f.before, f.during, f.after)
		}
	}()
	waitFor(tb, "the waypoint to forget them", func() bool {
		f.after = stats(tb, waypoint)
		return f.after.Goroutines <= f.before.Goroutines+spare && f.after.Heap+f.after.Stacks <= f.before.Heap+f.before.Stacks+slack
	})
	callAll(tb, waypoint.Addr())
	return f
}

// startWaypoint runs a waypoint in front of a web server.
func startWaypoint(tb testing.TB) *apart.Process {
	large := bytes.Repeat([]byte("x"), 16<<20)
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/large" {
			w.Write(large)
			return
		}
		io.Copy(w, r.Body)
	}))
	tb.Cleanup(backend.Close)
	service := web
	service.At.App = backend.Listener.Addr().(*net.TCPAddr).AddrPort()
	config, certs := tb.TempDir(), tb.TempDir()
	if err := testmesh.WriteServices(config, "bank", service); err != nil {
		tb.Fatal(err)
	}
	if err := peers.CA().WriteFiles(certs, peers.WaypointID); err != nil {
		tb.Fatal(err)
	}
	p, err := apart.Start(context.Background(), "waypoint", apart.Options{}, config, certs)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := p.Close(); err != nil {
			tb.Errorf("waypoint: %v", err)
		}
	})
	return p
}

// callAll lets every healthy client make its calls, each over a connection and a tunnel of its own, and returns the 99th
// percentile of how long a call took. Every call must succeed.
func callAll(tb testing.TB, a netip.AddrPort) time.Duration {
	tb.Helper()
	var mu sync.Mutex
	var took []time.Duration
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			mine, err := callMany(tb, a)
			if err != nil {
				tb.Errorf("a healthy client: %v", err)
			}
			mu.Lock()
			defer mu.Unlock()
			took = append(took, mine...)
		})
	}
	wg.Wait()
	if tb.Failed() {
		tb.FailNow()
	}
	slices.Sort(took)
	return took[len(took)*99/100]
}

func callMany(tb testing.TB, a netip.AddrPort) ([]time.Duration, error) {
	pool := peers.Pool(tb)
	defer pool.Close()
	target := peers.Target(a)
	target.Authority = web.Authority()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return pool.Dial(ctx, target)
	}}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: patience}
	message := bytes.Repeat([]byte("m"), 300)
	if err := call(client, message); err != nil { // connects; how long that takes is not the question
		return nil, err
	}
	var took []time.Duration
	for range calls {
		time.Sleep(pause)
		start := time.Now()
		if err := call(client, message); err != nil {
			return nil, err
		}
		took = append(took, time.Since(start))
	}
	return took, nil
}

func call(client *http.Client, message []byte) error {
	resp, err := client.Post("http://web/small", "application/octet-stream", bytes.NewReader(message))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return err
	case resp.StatusCode != http.StatusOK:
		return errors.New(resp.Status)
	case !bytes.Equal(got, message):
		return fmt.Errorf("got %d other bytes than were sent", len(got))
	}
	return nil
}

func stats(tb testing.TB, p *apart.Process) apart.Stats {
	tb.Helper()
	s, err := p.Stats()
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func waitFor(tb testing.TB, what string, reached func() bool) {
	tb.Helper()
	for end := time.Now().Add(patience); !reached(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			tb.Fatalf("waited %v in vain for %s", patience, what)
		}
	}
}

// needDescriptors skips the test on a machine that cannot hold so many connections.
func needDescriptors(tb testing.TB, n uint64) {
	tb.Helper()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		tb.Fatal(os.NewSyscallError("getrlimit", err))
	}
	if limit.Max < n {
		tb.Skipf("needs %d open files, the limit is %d (ulimit -Hn)", n, limit.Max)
	}
}
