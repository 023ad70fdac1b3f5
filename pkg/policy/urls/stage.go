package urls

import (
	"context"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/policy"
)

// Options says which hosts a server may send people to.
type Options struct {
	// Hosts are "login.example.com", "*.corp.example" (any host below, not itself), and either with a port or with http
	// instead of https: "login.example.com:8443", "http://localhost:8080". Empty admits every https host on port 443,
	// and leaves links in results alone.
	Hosts []string
}

// Stage checks URLs. It is immutable and safe for concurrent use.
type Stage struct{ listed table }

var _ policy.ReplyStage = (*Stage)(nil)

// New returns a stage, or says which host of the options cannot be used.
func New(o Options) (*Stage, error) {
	listed, err := newTable(o.Hosts)
	if err != nil {
		return nil, err
	}
	return &Stage{listed}, nil
}

// Name implements policy.Stage.
func (s *Stage) Name() string { return "urls" }

// Inspect implements policy.Stage: it judges an elicitation on its way to a client. An error that names elicitations, a
// result that asks for them and the notification of a task hold the same object, and come here as the same call
// (contract mcp-a2a, section 6.4).
func (s *Stage) Inspect(_ context.Context, c *call.Call) (policy.Verdict, error) {
	if c.Direction != call.ToClient || c.Method != "elicitation/create" {
		return policy.Verdict{Action: policy.Pass}, nil
	}
	url, there, why := elicited(c.Arguments)
	if why == "" && there {
		why = s.judge(url)
	}
	if why != "" {
		return refusal("the elicitation is refused: " + why), nil
	}
	return policy.Verdict{Action: policy.Pass}, nil
}

// InspectReply implements policy.ReplyStage: where hosts are listed, a web link in a result has to lead to one of them.
// Links with another scheme name resources of the server's, and reading those comes past us.
func (s *Stage) InspectReply(_ context.Context, _ *call.Call, r *call.Reply) (policy.Verdict, error) {
	if s.listed.open() {
		return policy.Verdict{Action: policy.Pass}, nil
	}
	for _, l := range r.Links {
		if !onTheWeb(l.URI) {
			continue
		}
		if why := s.judge(l.URI); why != "" {
			return refusal("a link in the result is refused: " + why), nil
		}
	}
	return policy.Verdict{Action: policy.Pass}, nil
}

// judge returns why a URL may not be shown, or nothing.
func (s *Stage) judge(url string) string {
	p, why := parse(url)
	if why != "" {
		return why
	}
	return s.listed.refuses(p)
}

func refusal(reason string) policy.Verdict {
	return policy.Verdict{Action: policy.Deny, Code: call.GuardRejected, Reason: reason}
}
