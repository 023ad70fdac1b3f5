package proxy

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/policy"
)

// cutting is a duplex that tells a clean end from another.
type cutting struct {
	net.Conn
	clean bool
}

func (c *cutting) CloseWrite() error { c.clean = true; return c.Close() }

// A panic in the middle of an answer that would end with the connection must not look like its end.
func TestPanicIsNoCleanEnd(t *testing.T) {
	var log strings.Builder
	s := newInnerServer(func(x exchange, _ *tunnel) {
		x.respond(http.StatusOK, http.Header{}, -1)
		_, _ = io.WriteString(x, "half")
		_ = x.flush()
		panic("a mistake of ours")
	}, slog.New(slog.NewTextHandler(&log, nil)))
	near, far := net.Pipe()
	server := &cutting{Conn: near}
	served := make(chan struct{})
	go func() { s.serve(context.Background(), nil, server); close(served) }()
	_ = far.SetDeadline(time.Now().Add(10 * time.Second))
	_, _ = io.WriteString(far, "GET / HTTP/1.0\r\nHost: x\r\n\r\n")
	answer, _ := io.ReadAll(far)
	<-served
	if !strings.HasSuffix(string(answer), "half") || server.clean {
		t.Errorf("got %q, clean end %v", answer, server.clean)
	}
	if err := s.close(); err != nil {
		t.Error(err)
	}
	if !strings.Contains(log.String(), `msg="exchange panicked" panic="a mistake of ours"`) {
		t.Errorf("the log says %q", log.String())
	}
}

type recorder struct{ seen []call.Code }

func (*recorder) Name() string { return "audit" }
func (*recorder) Inspect(context.Context, *call.Call) (policy.Verdict, error) {
	return policy.Verdict{Action: policy.Pass}, nil
}
func (r *recorder) Observe(_ context.Context, o *policy.Outcome) {
	r.seen = append(r.seen, o.Verdict.Code)
}

// An exchange that ends without a verdict was refused, and is on record.
func TestNoVerdictIsARefusal(t *testing.T) {
	r := &recorder{}
	f := &flow{
		x: &netHTTP{r: &http.Request{}}, call: &call.Call{},
		pipe: policy.NewPipeline("1", time.Now, policy.Entry{Stage: r}),
	}
	f.observe()
	if len(r.seen) != 1 || r.seen[0] != call.PolicyError {
		t.Errorf("got %q", r.seen)
	}
}

func TestWithheld(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"endpoint 10.0.0.1:80: EOF", "endpoint 10.0.0.1:80: EOF"},
		{`endpoint 10.0.0.1:80: malformed HTTP response "account 4711"`, "endpoint 10.0.0.1:80: malformed HTTP response … (13 bytes withheld)"},
	} {
		if got := withheld(errors.New(tt.in)); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}
