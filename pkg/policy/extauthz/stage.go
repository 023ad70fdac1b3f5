package extauthz

import (
	"context"
	"errors"
	"fmt"
	"time"

	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"golang.org/x/net/http/httpguts"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/policy"
)

// What the service may be told of a call's arguments.
const (
	ArgumentsNone   = "None"
	ArgumentsDigest = "Digest"
	ArgumentsFull   = "Full"
)

const (
	defaultTimeout = time.Second
	minTimeout     = 10 * time.Millisecond
	maxTimeout     = time.Minute
	maxHeaders     = 64
	maxAnswer      = 64 << 10 // bytes of an answer; nothing beyond is read
)

// Options are what a stage needs.
type Options struct {
	Policy    string                   // namespace/name of the policy that asks
	Conn      grpc.ClientConnInterface // to the service; it belongs to the caller
	Timeout   time.Duration            // of one question, 10ms to 60s; 0 is 1s
	Arguments string                   // what the service is told of the arguments; "" is None
	Headers   []string                 // of the request, which the service is told; at most 64
	When      Selector                 // nil: it is asked about every call
	FailOpen  bool                     // lets calls pass, with a note, while the service cannot be reached or is too slow
}

// Selector says which calls the service is asked about, and by which rule.
type Selector func(ctx context.Context, c *call.Call) (rule string, ok bool)

// Stage asks the service about every call. It is immutable and safe for concurrent use.
type Stage struct {
	Options
	client auth.AuthorizationClient
}

var _ policy.Stage = (*Stage)(nil)

// New returns a stage, or everything that is wrong with the options.
func New(o Options) (*Stage, error) {
	var problems []error
	if o.Conn == nil {
		problems = append(problems, errors.New("extauthz: conn: must not be empty"))
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	if o.Timeout < minTimeout || o.Timeout > maxTimeout {
		problems = append(problems, fmt.Errorf("extauthz: timeout: must be between %v and %v, got %v", minTimeout, maxTimeout, o.Timeout))
	}
	switch o.Arguments {
	case "":
		o.Arguments = ArgumentsNone
	case ArgumentsNone, ArgumentsDigest, ArgumentsFull:
	default:
		problems = append(problems, fmt.Errorf("extauthz: arguments: must be None, Digest or Full, got %q", o.Arguments))
	}
	if len(o.Headers) > maxHeaders {
		problems = append(problems, fmt.Errorf("extauthz: headers: has %d entries, over the limit of %d", len(o.Headers), maxHeaders))
	}
	for i, name := range o.Headers {
		if !httpguts.ValidHeaderFieldName(name) {
			problems = append(problems, fmt.Errorf("extauthz: headers[%d]: must be the name of an HTTP header, got %q", i, name))
		}
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return &Stage{o, auth.NewAuthorizationClient(o.Conn)}, nil
}

// Name implements policy.Stage.
func (s *Stage) Name() string { return "extauthz" }

// Inspect implements policy.Stage.
func (s *Stage) Inspect(ctx context.Context, c *call.Call) (policy.Verdict, error) {
	if c.Direction == call.ToClient {
		return policy.Verdict{Action: policy.Pass, Reason: "the server asks, which is not asked about"}, nil
	}
	rule := ""
	if s.When != nil {
		var asks bool
		if rule, asks = s.When(ctx, c); !asks {
			return policy.Verdict{Action: policy.Pass}, nil
		}
	}
	v := s.ask(ctx, c)
	v.Rule = rule
	return v, nil
}

func (s *Stage) ask(ctx context.Context, c *call.Call) policy.Verdict {
	question, err := s.question(c)
	if err != nil {
		return s.refusal(call.Malformed, err.Error())
	}
	asked, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	answer, err := s.client.Check(asked, question, grpc.MaxCallRecvMsgSize(maxAnswer))
	if err != nil {
		return s.silence(ctx, err)
	}
	return s.judge(c, answer)
}

// silence is the verdict while there is no answer. The peer's own words are in no record: they may repeat what it was told.
func (s *Stage) silence(ctx context.Context, err error) policy.Verdict {
	code := status.Code(err)
	if over(ctx) {
		return s.refusal(call.PolicyError, "the call ended before the external authorization service answered")
	}
	text := "the external authorization service gave no answer: " + code.String()
	if s.FailOpen && (code == codes.Unavailable || code == codes.DeadlineExceeded) {
		return policy.Verdict{Action: policy.Pass, Policy: s.Policy, Reason: text + ", and the policy lets calls pass then",
			Notes: []policy.Note{{Kind: "error", Policy: s.Policy, Text: text}}}
	}
	return s.refusal(call.PolicyError, text)
}

// over reports whether the call itself has ended. gRPC's timer for the same deadline may go off a moment before the context's own.
func over(ctx context.Context) bool {
	end, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && !time.Now().Before(end)
}

func (s *Stage) refusal(code call.Code, reason string) policy.Verdict {
	return policy.Verdict{Action: policy.Deny, Code: code, Policy: s.Policy, Reason: reason}
}
