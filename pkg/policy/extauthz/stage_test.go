package extauthz_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	rpc "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/policy"
	"waymark.dev/waypoint/pkg/policy/extauthz"
)

func TestOptions(t *testing.T) {
	_, err := extauthz.New(extauthz.Options{Timeout: time.Hour, Arguments: "Some", Headers: append(make([]string, 64), "a b")})
	for _, want := range []string{
		"extauthz: conn: must not be empty", "extauthz: timeout: must be between 10ms and 1m0s, got 1h0m0s",
		`extauthz: arguments: must be None, Digest or Full, got "Some"`, "extauthz: headers: has 65 entries, over the limit of 64",
		`extauthz: headers[64]: must be the name of an HTTP header, got "a b"`,
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s in it", err, want)
		}
	}
}

// asked returns what a service is told of a call.
func asked(t *testing.T, o extauthz.Options, c *call.Call) *auth.AttributeContext {
	t.Helper()
	var got *auth.CheckRequest
	s := asking(t, o, func(_ context.Context, q *auth.CheckRequest) (*auth.CheckResponse, error) {
		got = q
		return &auth.CheckResponse{Status: &rpc.Status{}}, nil
	})
	if v := inspect(t, s, c); v.Action != policy.Pass {
		t.Fatalf("got %+v, want a pass", v)
	}
	return got.GetAttributes()
}

func TestWhatTheServiceIsTold(t *testing.T) {
	got := asked(t, extauthz.Options{Headers: []string{"x-team", "X-None"}}, transfer())
	want := map[string]string{
		"waymark.protocol": "mcp", "waymark.version": "2025-11-25", "waymark.method": "tools/call", "waymark.intent": "use",
		"waymark.target_kind": "tool", "waymark.target": "transfer", "waymark.service": "bank/ledger", "waymark.port": "3000",
		"waymark.principal": "spiffe://cluster.local/ns/bank/sa/coach", "waymark.issuer": "https://sts.example", "waymark.scope": "bank read",
		"waymark.user": "ann", "waymark.chain": `["ann","but\"ler","coach"]`, "waymark.chain_verified": "true",
	}
	if !reflect.DeepEqual(got.GetContextExtensions(), want) {
		t.Errorf("extensions:\ngot  %v\nwant %v", got.GetContextExtensions(), want)
	}
	h := got.GetRequest().GetHttp()
	if got, want := fmt.Sprintf("%s %s %s %s %q %v %d %q", h.GetId(), h.GetMethod(), h.GetHost(), h.GetPath(), h.GetQuery(), h.GetHeaders(), h.GetSize(), h.GetBody()),
		`c-1 POST ledger:3000 /mcp "" map[x-team:blue,green] -1 ""`; got != want {
		t.Errorf("request: got %s, want %s", got, want)
	}
	if got.GetSource().GetPrincipal() != want["waymark.principal"] || got.GetSource().GetAddress().GetSocketAddress().GetAddress() != "10.1.2.3" ||
		got.GetDestination().GetAddress().GetSocketAddress().GetPortValue() != 3000 || got.GetRequest().GetTime().GetSeconds() != 1_800_000_000 {
		t.Errorf("peers: got %v", got)
	}
	if text := fmt.Sprint(got); strings.Contains(text, "s3cret") || strings.Contains(text, "amount") {
		t.Errorf("it is told a secret: %s", text)
	}
}

func TestArguments(t *testing.T) {
	const text, digest = `{"amount": 5}`, "ba0045583c6e765a5ba6d529a963e2fda41f894a79277f5f94b51f8184a3936a" // by sha256sum
	for o, want := range map[string][2]string{"": {"", ""}, "None": {"", ""}, "Digest": {digest, ""}, "Full": {digest, text}} {
		t.Run(o, func(t *testing.T) {
			got := asked(t, extauthz.Options{Arguments: o}, transfer()).GetContextExtensions()
			if got := [2]string{got["waymark.arguments_sha256"], got["waymark.arguments"]}; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
	bare := transfer()
	bare.Arguments = nil
	if got := asked(t, extauthz.Options{Arguments: "Full"}, bare).GetContextExtensions(); got["waymark.arguments_sha256"] != "" {
		t.Errorf("a digest of nothing: %v", got)
	}
}

func TestOtherCalls(t *testing.T) {
	raw := &call.Call{Protocol: call.TCP, Direction: call.ToServer, Principal: transfer().Principal, Source: transfer().Source, Route: transfer().Route}
	got := asked(t, extauthz.Options{}, raw)
	if got.GetRequest().GetHttp() != nil || got.GetContextExtensions()["waymark.protocol"] != "tcp" || got.GetContextExtensions()["waymark.chain"] != "" {
		t.Errorf("a raw connection: got %v", got)
	}
	list := transfer()
	list.Method, list.Target, list.Intent = "tools/list", call.Target{}, call.List
	if got := asked(t, extauthz.Options{}, list).GetContextExtensions(); got["waymark.intent"] != "list" || got["waymark.target"] != "" {
		t.Errorf("a list: got %v", got)
	}
	doubtful := transfer()
	doubtful.Chain[1].Verified = false
	if got := asked(t, extauthz.Options{}, doubtful).GetContextExtensions()["waymark.chain_verified"]; got != "false" {
		t.Errorf("a chain with a hop that nobody vouches for: got %q", got)
	}
	s := asking(t, extauthz.Options{}, func(context.Context, *auth.CheckRequest) (*auth.CheckResponse, error) {
		t.Error("what a server asks was asked about")
		return nil, errors.New("no")
	})
	asks := transfer()
	asks.Direction = call.ToClient
	if v := inspect(t, s, asks); v.Action != policy.Pass {
		t.Errorf("what a server asks: got %+v, want a pass", v)
	}
}

func TestWhatCannotBeTold(t *testing.T) {
	s := asking(t, extauthz.Options{Arguments: "Full", Headers: []string{"x-team"}}, func(context.Context, *auth.CheckRequest) (*auth.CheckResponse, error) {
		return &auth.CheckResponse{Status: &rpc.Status{}}, nil
	})
	const told = " is not valid UTF-8, so that the external authorization service cannot be told"
	for want, change := range map[string]func(*call.Call){
		"the header x-team" + told: func(c *call.Call) { c.HTTP.Header["X-Team"] = []string{"\xff"} },
		"the request line" + told:  func(c *call.Call) { c.HTTP.Path = "/\xff" },
		"waymark.target" + told:    func(c *call.Call) { c.Target.Name = "\xff" },
		"waymark.arguments" + told: func(c *call.Call) { c.Arguments = []byte("\"\xff\"") },
	} {
		c := transfer()
		change(c)
		if v := inspect(t, s, c); v.Action != policy.Deny || v.Code != call.Malformed || v.Reason != want {
			t.Errorf("got %+v, want %s", v, want)
		}
	}
}

// No answer is a refusal, whatever became of the service.
func TestNoAnswer(t *testing.T) {
	const prefix = "the external authorization service gave no answer: "
	gone, server := serve(t, func(*grpc.Server) {})
	server.Stop()
	for _, tt := range []struct {
		name  string
		stage func(o extauthz.Options) *extauthz.Stage
		want  string
		open  bool // whether FailOpen lets it pass
	}{
		{"nobody listens", func(o extauthz.Options) *extauthz.Stage { return stage(t, o, dial(t, gone)) }, "Unavailable", true},
		{"not gRPC", func(o extauthz.Options) *extauthz.Stage {
			return stage(t, o, dial(t, junk(t, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")))
		}, "Unavailable", true},
		{"closes at once", func(o extauthz.Options) *extauthz.Stage { return stage(t, o, dial(t, junk(t, ""))) }, "Unavailable", true},
		{"another service", func(o extauthz.Options) *extauthz.Stage {
			address, _ := serve(t, func(*grpc.Server) {})
			return stage(t, o, dial(t, address))
		}, "Unimplemented", false},
		{"says an error", func(o extauthz.Options) *extauthz.Stage {
			return asking(t, o, func(context.Context, *auth.CheckRequest) (*auth.CheckResponse, error) {
				return nil, status.Error(codes.PermissionDenied, "s3cret")
			})
		}, "PermissionDenied", false},
		{"slow", func(o extauthz.Options) *extauthz.Stage {
			o.Timeout = 50 * time.Millisecond
			return asking(t, o, func(ctx context.Context, _ *auth.CheckRequest) (*auth.CheckResponse, error) {
				<-ctx.Done() // the service has a timer of its own for the same deadline, which may go off first
				return nil, status.FromContextError(ctx.Err()).Err()
			})
		}, "DeadlineExceeded", true},
		{"accepts and says nothing", func(o extauthz.Options) *extauthz.Stage {
			o.Timeout = 50 * time.Millisecond
			return stage(t, o, dial(t, silent(t)))
		}, "DeadlineExceeded", true},
		{"killed", func(o extauthz.Options) *extauthz.Stage {
			var server *grpc.Server
			address, server := serve(t, func(g *grpc.Server) {
				auth.RegisterAuthorizationServer(g, &service{answer: func(ctx context.Context, _ *auth.CheckRequest) (*auth.CheckResponse, error) {
					go server.Stop()
					<-ctx.Done()
					return nil, ctx.Err()
				}})
			})
			return stage(t, o, dial(t, address))
		}, "Unavailable", true},
		{"10 MiB", func(o extauthz.Options) *extauthz.Stage {
			return asking(t, o, func(context.Context, *auth.CheckRequest) (*auth.CheckResponse, error) {
				return &auth.CheckResponse{Status: &rpc.Status{Message: strings.Repeat("x", 10<<20)}}, nil
			})
		}, "ResourceExhausted", false},
		{"more than 64 KiB", func(o extauthz.Options) *extauthz.Stage {
			return asking(t, o, func(context.Context, *auth.CheckRequest) (*auth.CheckResponse, error) {
				return &auth.CheckResponse{Status: &rpc.Status{Message: strings.Repeat("x", 64<<10)}}, nil
			})
		}, "ResourceExhausted", false},
		{"no protobuf", func(o extauthz.Options) *extauthz.Stage {
			return stage(t, o, dial(t, saying(t, []byte("\xff\xff\xff\xff"))))
		}, "Internal", false},
		{"half an answer", func(o extauthz.Options) *extauthz.Stage {
			return stage(t, o, dial(t, saying(t, []byte{0x0a, 0x05, 0x08})))
		}, "Internal", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			start := time.Now()
			v := inspect(t, tt.stage(extauthz.Options{}), transfer())
			want := policy.Verdict{Action: policy.Deny, Code: call.PolicyError, Policy: "bank/opa", Reason: prefix + tt.want}
			if !reflect.DeepEqual(v, want) {
				t.Errorf("got %+v, want %+v", v, want)
			}
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("it took %v", took)
			}
			v = inspect(t, tt.stage(extauthz.Options{FailOpen: true}), transfer())
			if (v.Action == policy.Pass) != tt.open {
				t.Errorf("with FailOpen: got %+v, want a pass: %v", v, tt.open)
			}
			if tt.open && (len(v.Notes) != 1 || v.Notes[0].Text != prefix+tt.want) {
				t.Errorf("with FailOpen: got notes %+v", v.Notes)
			}
		})
	}
}

func TestTheCallerLeaves(t *testing.T) {
	s := asking(t, extauthz.Options{FailOpen: true}, func(ctx context.Context, _ *auth.CheckRequest) (*auth.CheckResponse, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	v, err := s.Inspect(ctx, transfer())
	if err != nil || v.Action != policy.Deny || v.Reason != "the call ended before the external authorization service answered" {
		t.Errorf("got %+v, %v, want a denial", v, err)
	}
}

// junk is a server that says the same to everybody and closes.
func junk(t *testing.T, text string) string {
	return listen(t, func(c net.Conn) { _, _ = io.WriteString(c, text) })
}

// silent is a server that reads and never says anything.
func silent(t *testing.T) string {
	return listen(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
}

func listen(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serve(c)
			_ = c.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return l.Addr().String()
}

// saying is a gRPC server whose every answer is these bytes.
func saying(t *testing.T, answer []byte) string {
	t.Helper()
	address, _ := serve(t, func(*grpc.Server) {}, grpc.ForceServerCodec(bytesCodec{}), grpc.UnknownServiceHandler(func(_ any, s grpc.ServerStream) error {
		var question []byte
		if err := s.RecvMsg(&question); err != nil {
			return err
		}
		return s.SendMsg(&answer)
	}))
	return address
}

type bytesCodec struct{}

func (bytesCodec) Name() string                  { return "proto" }
func (bytesCodec) Marshal(v any) ([]byte, error) { return *v.(*[]byte), nil }
func (bytesCodec) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = append([]byte(nil), data...)
	return nil
}

func encoded(t *testing.T, m proto.Message, more ...byte) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return append(b, more...)
}

func TestWhenTheServiceIsAsked(t *testing.T) {
	questions := 0
	s := asking(t, extauthz.Options{When: func(_ context.Context, c *call.Call) (string, bool) {
		return "rules[3]", c.Target.Name == "transfer"
	}}, func(context.Context, *auth.CheckRequest) (*auth.CheckResponse, error) {
		questions++
		return &auth.CheckResponse{Status: &rpc.Status{Code: int32(codes.PermissionDenied)}}, nil
	})
	if v := inspect(t, s, transfer()); v.Code != call.EntitlementDenied || v.Policy != "bank/opa" || v.Rule != "rules[3]" {
		t.Errorf("got %+v, want a denial by rules[3]", v)
	}
	other := transfer()
	other.Target.Name = "balance"
	if v := inspect(t, s, other); v.Action != policy.Pass || questions != 1 {
		t.Errorf("got %+v after %d questions, want a pass after 1", v, questions)
	}
}
