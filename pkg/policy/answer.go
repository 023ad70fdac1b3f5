package policy

import "waymark.dev/waypoint/pkg/call"

// Answerer is a stage that answers some requests itself, before anything is judged: what it says must be for everybody.
type Answerer interface {
	Stage
	// Answer returns nil for every request that is not its own. c is not decoded yet: it has the HTTP request and the caller.
	Answer(c *call.Call) *Answer
}

// Answer is a document.
type Answer struct {
	Stage       string // who says so; set by the pipeline
	Policy      string // namespace/name
	ContentType string
	Body        []byte
}

// Answer asks each Answerer in order, and returns the first answer, or nil.
func (p *Pipeline) Answer(c *call.Call) *Answer {
	for _, s := range p.answerers {
		if a := answer(s, c); a != nil {
			said := *a // which may be the same for everybody
			said.Stage = s.Name()
			return &said
		}
	}
	return nil
}

// answer keeps a panic in one stage from ending the process: it has no answer then, and the call is judged.
func answer(s Answerer, c *call.Call) (a *Answer) {
	defer func() {
		if recover() != nil {
			a = nil
		}
	}()
	return s.Answer(c)
}

// Answered builds the Outcome of a call that a stage answered. Every Observer sees it.
func (p *Pipeline) Answered(c *call.Call, a *Answer) *Outcome {
	return p.unjudged(c, Verdict{Action: Pass, Policy: a.Policy, Reason: "answered here"}, a.Stage)
}
