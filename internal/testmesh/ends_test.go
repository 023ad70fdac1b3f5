package testmesh_test

import (
	"context"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"

	"waymark.dev/waypoint/internal/testmesh"
	"waymark.dev/waypoint/pkg/identity"
)

func TestInboundRefuses(t *testing.T) {
	m := testmesh.New(identity.RequireTrustDomain("cluster.local"))
	defer m.Close()
	app := tcp(t, func(c *net.TCPConn) { io.Copy(io.Discard, c) })
	waypoint := m.ID("bank", "agents")
	in, err := m.Inbound(testmesh.InboundConfig{Workload: m.ID("bank", "app"), App: app, Allow: identity.MatchID(waypoint)})
	if err != nil {
		t.Fatal(err)
	}
	closed := freePort(t)
	gone, err := m.Inbound(testmesh.InboundConfig{Workload: m.ID("bank", "gone"), App: closed})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name      string
		caller    identity.ID
		at        *testmesh.Inbound
		expect    identity.ID
		authority string
		want      string // in the error; empty for none
	}{
		{"the waypoint", waypoint, in, m.ID("bank", "app"), app.String(), ""},
		{"another caller", m.ID("agents", "teller"), in, m.ID("bank", "app"), app.String(), "401"},
		{"another port", waypoint, in, m.ID("bank", "app"), netip.AddrPortFrom(app.Addr(), app.Port()-1).String(), "400"},
		{"a hostname", waypoint, in, m.ID("bank", "app"), "localhost:80", "400"},
		{"application away", waypoint, gone, m.ID("bank", "gone"), closed.String(), "503"},
		{"another workload", waypoint, in, m.ID("bank", "other"), app.String(), "expected"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			out, err := m.Outbound(testmesh.OutboundConfig{
				Caller: tc.caller, Waypoint: tc.at.Addr(), Expect: []identity.ID{tc.expect}, Authority: tc.authority,
			})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			conn, err := out.Dial(ctx)
			if err == nil {
				conn.Close()
			}
			if tc.want == "" {
				if err != nil {
					t.Errorf("got %v, want no error", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
			if out.Refused() == nil {
				t.Error("the stand-in does not remember the refusal")
			}
		})
	}
}

func TestCloseTwice(t *testing.T) {
	m := testmesh.New(identity.RequireTrustDomain("cluster.local"))
	out, err := m.Outbound(testmesh.OutboundConfig{Caller: m.ID("agents", "teller")})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if err := out.Close(); err != nil {
		t.Error(err)
	}
	if _, err := m.Outbound(testmesh.OutboundConfig{Caller: m.ID("agents", "teller")}); err == nil {
		t.Error("a closed mesh starts parts")
	}
}
