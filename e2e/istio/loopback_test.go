package istio_test

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"waymark.dev/waypoint/e2e/testbed"
	"waymark.dev/waypoint/pkg/hbone"
)

// loopback is the testbed as a ground: the callers' program runs beside the suite, which redirects its connections into tunnels.
type loopback struct {
	*world
	pod string
}

func newLoopback(t *testing.T) *loopback {
	t.Helper()
	l := &loopback{world: newWorld(t, testbed.IstiodOptions{}), pod: filepath.Join(t.TempDir(), "pod")}
	build := exec.Command("go", "build", "-o", l.pod, "./kind/pod")
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return l
}

func (l *loopback) String() string {
	return "the loopback testbed: etcd, kube-apiserver and istiod as they are shipped (E2E_KUBECONFIG names a cluster instead)"
}

func (l *loopback) proxyStatus() (string, error) { return l.i.ProxyStatus() }

func (l *loopback) restartIstiod(t *testing.T) {
	t.Helper()
	l.i.Program.Kill()
	time.Sleep(2 * time.Second)
	l.i.Program.Start(t)
	l.i.Ready(t)
}

func (l *loopback) site(t *testing.T, ns string) *site {
	t.Helper()
	p := l.newPlace(t, ns, "service")
	vip := p.service(t, nil)
	p.startBackend(t, "mcp-0", false)
	a, b := p.startWaypoint(t, "agents-a", "--settle", "1s"), p.startWaypoint(t, "agents-b", "--settle", "1s")
	p.serve(t, "mcp", a)
	callers := map[string]*caller{"teller": p.caller(t, "teller", a, b), "intern": p.caller(t, "intern", a, b)}
	lanes := map[string]string{}
	for account, c := range callers {
		p.attached(t, c, vip+":80")
		for _, port := range []int{mcpPort, 80} {
			lanes[fmt.Sprint(account, port)] = lane(t, c, fmt.Sprintf("%s:%d", vip, port))
		}
	}
	replicas := []*waypoint{a, b}
	return &site{
		k: l.k, ns: ns,
		run: func(account, command string, port int, path string, args ...string) *exec.Cmd {
			url := fmt.Sprintf("http://mcp.%s:%d%s", ns, port, path)
			return exec.Command(l.pod, append([]string{"--via", lanes[fmt.Sprint(account, port)], command, url}, args...)...)
		},
		restartWaypoints: func(t *testing.T) {
			for i, old := range replicas {
				fresh := p.startWaypoint(t, fmt.Sprintf("%s-new", old.name), "--settle", "1s")
				stopped := make(chan struct{})
				go func() { defer close(stopped); old.stop(t) }()
				time.Sleep(200 * time.Millisecond) // until istiod has told the ztunnels
				replicas[i] = fresh
				for _, c := range callers {
					c.use(replicas...)
				}
				<-stopped
				l.k.DeletePod(t, ns, old.name)
			}
		},
	}
}

// lane is a local port whose connections travel as a caller's to an authority, each in a tunnel of its own.
func lane(t *testing.T, c *caller, authority string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	go func() {
		for {
			local, err := l.Accept()
			if err != nil {
				return
			}
			go carry(ctx, c, local.(*net.TCPConn), authority)
		}
	}()
	return l.Addr().String()
}

func carry(ctx context.Context, c *caller, local *net.TCPConn, authority string) {
	defer local.Close()
	remote, err := c.dial(ctx, authority)
	if err != nil {
		_ = local.SetLinger(0) // the caller sees a reset, as behind a ztunnel
		return
	}
	defer remote.Close()
	stop := context.AfterFunc(ctx, func() { local.Close(); remote.Close() })
	defer stop()
	_, _, _ = hbone.Splice(local, remote)
}
