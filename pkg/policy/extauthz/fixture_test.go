package extauthz_test

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"

	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/policy"
	"waymark.dev/waypoint/pkg/policy/extauthz"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// service is an authorization service on a real socket.
type service struct {
	auth.UnimplementedAuthorizationServer
	answer func(context.Context, *auth.CheckRequest) (*auth.CheckResponse, error)
}

func (s *service) Check(ctx context.Context, q *auth.CheckRequest) (*auth.CheckResponse, error) {
	return s.answer(ctx, q)
}

// serve starts a server; more are its options.
func serve(t testing.TB, register func(*grpc.Server), more ...grpc.ServerOption) (address string, server *grpc.Server) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server = grpc.NewServer(more...)
	register(server)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l)
	}()
	t.Cleanup(func() {
		server.Stop()
		<-done
	})
	return l.Addr().String(), server
}

func dial(t testing.TB, address string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// asking returns a stage that asks a service which answers so.
func asking(t testing.TB, o extauthz.Options, answer func(context.Context, *auth.CheckRequest) (*auth.CheckResponse, error)) *extauthz.Stage {
	t.Helper()
	address, _ := serve(t, func(g *grpc.Server) { auth.RegisterAuthorizationServer(g, &service{answer: answer}) })
	return stage(t, o, dial(t, address))
}

func stage(t testing.TB, o extauthz.Options, conn grpc.ClientConnInterface) *extauthz.Stage {
	t.Helper()
	o.Policy, o.Conn = "bank/opa", conn
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	s, err := extauthz.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func inspect(t testing.TB, s *extauthz.Stage, c *call.Call) policy.Verdict {
	t.Helper()
	v, err := s.Inspect(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// transfer is a call of a tool by bank/coach, which acts for the butler, who acts for ann.
func transfer() *call.Call {
	return &call.Call{
		ID: "c-1", Received: time.Unix(1_800_000_000, 0), Protocol: call.MCP, Version: "2025-11-25", Direction: call.ToServer,
		Method: "tools/call", Target: call.Target{Kind: call.Tool, Name: "transfer"}, Arguments: []byte(`{"amount": 5}`), Session: "s3cret-session",
		Principal: identity.RequireID("spiffe://cluster.local/ns/bank/sa/coach"),
		Claims: &identity.Claims{Issuer: "https://sts.example", Subject: "ann", Raw: []byte(`{"sub":"ann","ssn":"s3cret-claim"}`),
			Delegation: identity.Delegation{Scope: []string{"bank", "read"}}},
		Chain:  []identity.Hop{{Subject: "ann", Verified: true}, {Subject: `but"ler`, Verified: true}, {Subject: "coach", Verified: true}},
		Source: netip.MustParseAddrPort("10.1.2.3:40000"),
		Route:  call.Route{Service: call.Service{Namespace: "bank", Name: "ledger", Hostname: "ledger.bank.svc.cluster.local", Port: 3000}},
		HTTP: call.Request{Method: "POST", Host: "ledger:3000", Path: "/mcp", Query: "key=s3cret-query",
			Header: http.Header{"Authorization": {"Bearer s3cret-token"}, "X-Team": {"blue", "green"}, "X_user": {"mallory"}, "X-User": {"mallory"}, "Mcp-Method": {"tools/call"}}},
	}
}
