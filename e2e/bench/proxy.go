package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"waymark.dev/waypoint/e2e/apart"
	"waymark.dev/waypoint/e2e/peers"
	"waymark.dev/waypoint/internal/testmesh"
)

const (
	proxyCore, loadCore = 0, 1

	rate   = 2000 // calls a second where latency is measured
	warmup = 300 * time.Millisecond
	atRate = 2 * time.Second
	atFull = time.Second

	small, medium, large = 300, 2 << 10, 64 << 10 // bytes of a body
	idleSessions         = 900
)

// world is everything that the proxy rows need: three proxies alone on one core, and the backend in this process.
type world struct {
	backend               *backend
	waypoint, copy, stock *apart.Process
	web, mcp              testmesh.Service
}

// newWorld starts it. This process is pinned to the other core from now on.
func newWorld(ctx context.Context, dir string) (*world, error) {
	if runtime.NumCPU() < 2 {
		return nil, errors.New("the proxy rows need two cores")
	}
	if err := pin(loadCore); err != nil {
		return nil, err
	}
	b, err := startBackend()
	if err != nil {
		return nil, err
	}
	w := &world{backend: b}
	at := testmesh.Placement{App: netip.MustParseAddrPort("127.0.0.1:3000"), Tunnel: b.tunnel}
	w.web = testmesh.Service{Name: "web", Port: 8080, Protocol: "HTTP", Account: "web", At: at}
	w.mcp = testmesh.Service{Name: "company-mcp", Port: 3000, Protocol: "HTTP", Account: "web", At: at,
		Notes: map[string]string{"waymark.dev/protocol": "mcp"}}
	if err := w.start(ctx, dir); err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

func (w *world) start(ctx context.Context, dir string) error {
	config, certs := filepath.Join(dir, "config"), filepath.Join(dir, "certs")
	if err := errors.Join(os.Mkdir(config, 0o700), os.Mkdir(certs, 0o700)); err != nil {
		return err
	}
	if err := errors.Join(
		testmesh.WriteServices(config, "bank", w.web, w.mcp),
		os.WriteFile(filepath.Join(config, "policy.yaml"), []byte(policy), 0o600),
		peers.CA().WriteFiles(certs, peers.WaypointID),
	); err != nil {
		return err
	}
	o := apart.Options{Cores: []int{proxyCore}, Procs: 1}
	var err error
	if w.waypoint, err = apart.Start(ctx, "waypoint", o, config, certs); err != nil {
		return err
	}
	if w.copy, err = apart.Start(ctx, "copy", o, certs, w.backend.tls.String()); err != nil {
		return err
	}
	w.stock, err = apart.Start(ctx, "stock", o, certs, w.backend.tunnel.String(), w.web.At.App.String())
	return err
}

func (w *world) close() error {
	var errs []error
	for _, p := range []*apart.Process{w.waypoint, w.copy, w.stock} {
		if p != nil {
			errs = append(errs, p.Close())
		}
	}
	w.backend.close()
	return errors.Join(errs...)
}

// pin keeps this process, every thread of it, on one core.
func pin(core int) error {
	runtime.GOMAXPROCS(1)
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	var set unix.CPUSet
	set.Set(core)
	for _, t := range tasks {
		id, err := strconv.Atoi(t.Name())
		if err != nil {
			return err
		}
		if err := unix.SchedSetaffinity(id, &set); err != nil && !errors.Is(err, unix.ESRCH) {
			return err
		}
	}
	return nil
}

// sample is what one case gave in one round.
type sample struct {
	cpu      float64 // µs per call of the proxy
	p50, p99 float64 // µs
	mallocs  float64 // objects per call of the proxy
}

// A way is a path from the load generator to the backend.
type way struct {
	proxy   func(*world) *apart.Process // nil: there is none
	dial    func(*world) (dialer, func() error)
	request func(size int) []byte
}

// ways are the paths that are compared, by name.
var ways = map[string]way{
	"direct": {nil, func(w *world) (dialer, func() error) { return overTLS(w.backend.tls, backendID) }, plainRequest},
	"copy":   {theCopy, func(w *world) (dialer, func() error) { return overTLS(w.copy.Addr(), peers.WaypointID) }, plainRequest},
	"stock":  {theStock, func(w *world) (dialer, func() error) { return overTunnel(w.stock.Addr(), w.web.Authority()) }, plainRequest},
	"plain":  {theWaypoint, func(w *world) (dialer, func() error) { return overTunnel(w.waypoint.Addr(), w.web.Authority()) }, plainRequest},
	"mcp":    {theWaypoint, func(w *world) (dialer, func() error) { return overTunnel(w.waypoint.Addr(), w.mcp.Authority()) }, toolCall},
}

func theCopy(w *world) *apart.Process     { return w.copy }
func theStock(w *world) *apart.Process    { return w.stock }
func theWaypoint(w *world) *apart.Process { return w.waypoint }

// loadCase names a case: which way, how large, how fast (0: as fast as it goes).
type loadCase struct {
	way  string
	size int
	rate int
}

// cases are run in turn in each round.
func cases() []loadCase {
	var all []loadCase
	for _, name := range []string{"direct", "copy", "stock", "plain", "mcp"} {
		all = append(all, loadCase{name, small, rate}, loadCase{name, small, 0})
	}
	return append(all, loadCase{"plain", medium, 0}, loadCase{"mcp", medium, 0}, loadCase{"copy", large, 0}, loadCase{"mcp", large, 0})
}

// profile writes a profile of each saturated case of the waypoint into dir: what to look at beside a figure that misses.
func (w *world) profile(ctx context.Context, dir string) error {
	for _, c := range cases() {
		way := ways[c.way]
		if c.rate > 0 || way.proxy == nil || way.proxy(w) != w.waypoint {
			continue
		}
		file := filepath.Join(dir, fmt.Sprintf("%s-%d.pprof", c.way, c.size))
		finish, err := w.waypoint.Profile(file)
		if err != nil {
			return err
		}
		_, err = w.measure(ctx, way, c)
		if err := errors.Join(err, finish()); err != nil {
			return err
		}
		fmt.Fprintln(os.Stderr, "wrote", file)
	}
	return nil
}

// round runs every case once and measures the idle sessions.
func (w *world) round(ctx context.Context) (map[loadCase]sample, float64, error) {
	samples := map[loadCase]sample{}
	for _, c := range cases() {
		s, err := w.measure(ctx, ways[c.way], c)
		if err != nil {
			return nil, 0, fmt.Errorf("%s, %d bytes, rate %d: %w", c.way, c.size, c.rate, err)
		}
		samples[c] = s
	}
	idle, err := w.idle(ctx)
	if err != nil {
		return nil, 0, fmt.Errorf("idle sessions: %w", err)
	}
	return samples, idle, nil
}

func (w *world) measure(ctx context.Context, way way, c loadCase) (s sample, err error) {
	dial, closePool := way.dial(w)
	l, err := newLoad(ctx, dial, closePool, way.request(c.size), c.size)
	if err != nil {
		return s, err
	}
	defer l.end()
	d := atFull
	if c.rate > 0 {
		d = atRate
	}
	// To count objects, a process collects its garbage; that is kept out of what is timed.
	objects, err := mallocs(w, way)
	if err != nil {
		return s, err
	}
	warm, err := l.run(ctx, warmup, c.rate)
	if err != nil {
		return s, err
	}
	spent, err := cpu(w, way)
	if err != nil {
		return s, err
	}
	took, err := l.run(ctx, d, c.rate)
	if err != nil {
		return s, err
	}
	spentAfter, err := cpu(w, way)
	if err != nil {
		return s, err
	}
	objectsAfter, err := mallocs(w, way)
	return sample{
		cpu: inMicros(spentAfter-spent) / float64(len(took)), mallocs: float64(objectsAfter-objects) / float64(len(warm)+len(took)),
		p50: inMicros(took[len(took)/2]), p99: inMicros(took[len(took)*99/100]),
	}, err
}

func cpu(w *world, way way) (time.Duration, error) {
	if way.proxy == nil {
		return 0, nil
	}
	return way.proxy(w).CPU()
}

func mallocs(w *world, way way) (uint64, error) {
	if way.proxy == nil {
		return 0, nil
	}
	s, err := way.proxy(w).Stats()
	return s.Mallocs, err
}

func inMicros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// idle returns how many bytes the waypoint holds for one open event stream on which nothing happens, both legs.
func (w *world) idle(ctx context.Context) (float64, error) {
	dial, closePool := overTunnel(w.waypoint.Addr(), w.mcp.Authority())
	before, err := w.waypoint.Stats()
	if err != nil {
		return 0, err
	}
	l := &load{close: closePool}
	defer l.end()
	for range idleSessions {
		if err := l.listen(ctx, dial); err != nil {
			return 0, err
		}
	}
	after, err := w.waypoint.Stats()
	if err != nil {
		return 0, err
	}
	return float64(after.Heap+after.Stacks-before.Heap-before.Stacks) / idleSessions, nil
}
