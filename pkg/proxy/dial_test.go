package proxy_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"waymark.dev/waypoint/pkg/hbone"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/mesh"
	"waymark.dev/waypoint/pkg/proxy"
)

// echoing sends back what it receives.
func echoing(t *testing.T) string {
	return upstream(t, func(c *net.TCPConn) { _, _ = io.Copy(c, c); _ = c.CloseWrite() })
}

// through sends a word through a raw tunnel and expects it back.
func (v *valley) through(c *hbone.Conn) {
	v.tb.Helper()
	_, _ = io.WriteString(c, "word")
	_ = c.CloseWrite()
	if got, err := io.ReadAll(c); err != nil || string(got) != "word" {
		v.tb.Errorf("got %q, %v", got, err)
	}
}

var traceparent = regexp.MustCompile(`^00-[0-9a-f]{32}-[0-9a-f]{16}-00$`)

// What a workload's ztunnel is told of a connection: the caller of a raw one, nobody of one that callers share.
func TestForwarded(t *testing.T) {
	const service1, parent = "company.bank.svc.cluster.local", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
	forRaw := regexp.MustCompile(`^for="127\.0\.0\.1:\d+";host=company\.bank\.svc\.cluster\.local$`)
	forWorkload := regexp.MustCompile(`^for="127\.0\.0\.1:\d+"$`)
	noHost := func(d mesh.Destination) mesh.Destination { d.Service.Hostname = ""; return d }
	for _, tt := range []struct {
		name      string
		dest      mesh.Destination
		forwarded *regexp.Regexp // nil: none
		parent    string
		trace     string // what the traceparent begins with
	}{
		{name: "raw", dest: service(mesh.TCP), forwarded: forRaw, parent: parent, trace: parent[:36]},
		{name: "raw, no trace", dest: service(mesh.TCP), forwarded: forRaw},
		{name: "raw, bad trace", dest: service(mesh.TCP), forwarded: forRaw, parent: strings.ToUpper(parent)},
		{name: "raw, workload", dest: noHost(service(mesh.TCP)), forwarded: forWorkload},
		{name: "http", dest: service(mesh.HTTP), forwarded: regexp.MustCompile("^host=" + regexp.QuoteMeta(service1) + "$"), parent: parent},
		{name: "http, workload", dest: noHost(service(mesh.HTTP))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := newValley(t)
			raw := tt.dest.Protocol == mesh.TCP
			where := says(t, "yes")
			if raw {
				where = echoing(t)
			}
			w := v.workload(idA, where, "127.0.0.1:0")
			v.attach(vip, tt.dest, w.ep)
			target := v.target(vip)
			if tt.parent != "" {
				target.Header = http.Header{"Traceparent": {tt.parent}, "Forwarded": {`for="192.0.2.1:1"`}}
			}
			c, err := v.pool.Dial(t.Context(), target)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if raw {
				v.through(c)
			} else {
				v.expect(v.client(vip, false), "GET", "", "200 yes")
			}
			h := w.seen()[0]
			if got := h["Forwarded"]; tt.forwarded == nil && got != nil || tt.forwarded != nil && (len(got) != 1 || !tt.forwarded.MatchString(got[0])) {
				t.Errorf("forwarded: %q", got)
			}
			got := h.Get("Traceparent")
			if !traceparent.MatchString(got) || !strings.HasPrefix(got, tt.trace) || got == tt.parent || tt.trace == "" && tt.parent != "" && strings.HasPrefix(got, tt.parent[:36]) {
				t.Errorf("traceparent: %q", got)
			}
			if h.Get("X-Istio-Source") != "" || h.Get("X-Forwarded-Network") != "" {
				t.Errorf("fields for a gateway: %v", h)
			}
		})
	}
}

// eastwest is a gateway of another network in front of one peer, and what it was told.
func (v *valley) eastwest(id identity.ID, peer netip.AddrPort) *workload {
	v.tb.Helper()
	return v.workload(id, peer.String(), "127.0.0.1:0")
}

// An endpoint on another network is reached through its gateway, by address or by name; each of the two is told its part.
func TestGateway(t *testing.T) {
	for _, host := range []string{"", "eastwest.example"} {
		v := newValley(t, names{"eastwest.example": {"127.0.0.1"}}.resolve)
		pod := v.workload(idA, says(t, "far away"), "127.0.0.1:0")
		gw := v.eastwest(idB, pod.ep.Tunnel)
		const authority = "company.bank.svc.cluster.local:3000"
		v.attach(vip, service(mesh.HTTP), mesh.Endpoint{
			Address: gw.ep.Tunnel, Identities: []identity.ID{idA},
			Gateway: &mesh.Gateway{Tunnel: gw.ep.Tunnel, Host: host, Identities: []identity.ID{idB}, Authority: authority},
		})
		c := v.client(vip, false)
		for range 3 {
			v.expect(c, "POST", "hello", "200 far away")
		}
		outer, inner := gw.seen(), pod.seen()
		if len(outer) != 1 || len(inner) != 1 {
			t.Fatalf("%d and %d tunnels, want one each", len(outer), len(inner))
		}
		if outer[0].Get("X-Istio-Source") != "waypoint" || outer[0].Get("X-Forwarded-Network") != "" {
			t.Errorf("the gateway was told %v", outer[0])
		}
		if inner[0].Get("X-Istio-Source") != "" || inner[0].Get("X-Forwarded-Network") != "n1" ||
			inner[0].Get("Forwarded") != "host=company.bank.svc.cluster.local" {
			t.Errorf("the workload was told %v", inner[0])
		}
	}
}

// With TrustDomainOnly any workload of the mesh may answer; nobody else.
func TestTrustDomainOnly(t *testing.T) {
	for only, want := range map[bool]string{false: "503 upstream_unavailable\n", true: "200 yes"} {
		v := newValley(t, func(c *proxy.Config, _ *hbone.ServerConfig) { c.TrustDomainOnly = only })
		w := v.workload(idA, says(t, "yes"), "127.0.0.1:0")
		w.ep.Identities = []identity.ID{idB}
		v.attach(vip, service(mesh.HTTP), w.ep)
		v.expect(v.client(vip, false), "GET", "", want)
	}
}

// A name is resolved for each connection, and connected to at the addresses that were checked.
func TestNames(t *testing.T) {
	var asked atomic.Int64
	where := says(t, "yes")
	n := names{"company.example": {"127.0.0.1"}, "two.example": {"169.254.169.254", "127.0.0.1"}}
	v := newValley(t, n.resolve, func(c *proxy.Config, _ *hbone.ServerConfig) {
		inner := c.Lookup
		c.Lookup = func(ctx context.Context, host string) ([]netip.Addr, error) { asked.Add(1); return inner(ctx, host) }
	})
	for _, host := range []string{"company.example", "two.example"} {
		asked.Store(0)
		v.attach(vip, service(mesh.HTTP), named(host, where))
		for range 3 {
			v.expect(v.client(vip, false), "GET", "", "200 yes") // over one connection to the endpoint
		}
		v.proxy.Evict(netip.MustParseAddr("100::7"))
		v.expect(v.client(vip, false), "GET", "", "200 yes")
		if asked.Load() != 2 {
			t.Errorf("%s: resolved %d times for two connections", host, asked.Load())
		}
	}
	v.attach(vip, service(mesh.TCP), named("company.example", echoing(t)))
	c, err := v.dial(vip)
	if err != nil {
		t.Fatal(err)
	}
	v.through(c)
}

// Where no name may lead, no connection is made; nor to ourselves, under whatever address.
func TestWhereNoNameMayLead(t *testing.T) {
	own := ""
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		if p, ok := a.(*net.IPNet); ok && !p.IP.IsLoopback() && p.IP.To4() != nil {
			own = p.IP.String()
		}
	}
	bad := []string{
		"0.0.0.0", "0.1.2.3", "127.0.0.1", "127.255.255.254", "169.254.169.254", "169.254.0.1", "192.0.0.192", "192.88.99.1", "198.18.0.1",
		"224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255", "100.100.100.200", "168.63.129.16",
		"::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b:1::a9fe:a9fe", "2001:0:1::1",
		"2002:7f00:1::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "febf::1", "fec0::1", "ff02::1",
	}
	if own != "" {
		bad = append(bad, own)
	}
	n := names{}
	v := newValley(t, n.resolve, func(c *proxy.Config, _ *hbone.ServerConfig) { c.Loopback = false })
	_, port, _ := net.SplitHostPort(says(t, "reached"))
	for _, a := range bad {
		n["x.example"] = []string{a}
		v.attach(vip, service(mesh.HTTP), named("x.example", "127.0.0.1:"+port))
		before := len(v.log.String())
		if got, err := say(v.client(vip, false), "GET", ""); err != nil || got != "503 upstream_unavailable\n" {
			t.Errorf("%s: got %q, %v", a, got, err)
		}
		want := "endpoint x.example:" + port + ": proxy: x.example: the name leads to " + netip.MustParseAddr(a).Unmap().WithZone("").String() + ", where no name may lead: "
		if got := v.log.String()[before:]; !strings.Contains(got, want) {
			t.Errorf("%s: the log says %q", a, got)
		}
	}
}
