package policy_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/policy"
)

// fake is a stage made of functions; it writes what happens into a shared diary.
type fake struct {
	name    string
	diary   *[]string
	inspect func(c *call.Call) (policy.Verdict, error)
	reply   func(r *call.Reply) (policy.Verdict, error)
	observe func(o *policy.Outcome)
}

func (f fake) Name() string { return f.name }

func (f fake) Inspect(_ context.Context, c *call.Call) (policy.Verdict, error) {
	f.note(f.name)
	if f.inspect == nil {
		return policy.Verdict{Action: policy.Pass}, nil
	}
	return f.inspect(c)
}

func (f fake) InspectReply(_ context.Context, _ *call.Call, r *call.Reply) (policy.Verdict, error) {
	f.note("reply " + f.name)
	if f.reply == nil {
		return policy.Verdict{Action: policy.Pass}, nil
	}
	return f.reply(r)
}

func (f fake) Observe(_ context.Context, o *policy.Outcome) {
	f.note("observe " + f.name)
	if f.observe != nil {
		f.observe(o)
	}
}

func (f fake) note(text string) {
	if f.diary != nil {
		*f.diary = append(*f.diary, text)
	}
}

// only is a stage with nothing but the required method.
type only struct {
	name    string
	verdict policy.Verdict
}

func (o only) Name() string { return o.name }

func (o only) Inspect(context.Context, *call.Call) (policy.Verdict, error) { return o.verdict, nil }

// clock advances a millisecond each time it is asked.
func clock() func() time.Time {
	at := time.Unix(0, 0)
	return func() time.Time {
		at = at.Add(time.Millisecond)
		return at
	}
}

func pipeline(entries ...policy.Entry) *policy.Pipeline {
	return policy.NewPipeline("7", clock(), entries...)
}

func says(v policy.Verdict) func(*call.Call) (policy.Verdict, error) {
	return func(*call.Call) (policy.Verdict, error) { return v, nil }
}

var (
	passes = policy.Verdict{Action: policy.Pass}
	denies = policy.Verdict{Action: policy.Deny, Code: call.EntitlementDenied, Policy: "bank/p", Rule: "rules[0]", Reason: "no"}
	holds  = policy.Verdict{Action: policy.Hold, Code: call.ApprovalRequired, Ticket: "t1"}
)

func newCall() *call.Call {
	return &call.Call{ID: "d1", Received: time.Unix(0, 0), Method: "tools/call", Arguments: []byte(`{"a":1}`)}
}

func TestOrderAndObserve(t *testing.T) {
	var diary []string
	p := pipeline(
		policy.Entry{Stage: fake{name: "a", diary: &diary}}, policy.Entry{Stage: only{"plain", passes}},
		policy.Entry{Stage: fake{name: "b", diary: &diary}}, policy.Entry{Stage: fake{name: "c", diary: &diary}},
	)
	if got := strings.Join(p.Stages(), " "); got != "a plain b c" || p.Generation() != "7" {
		t.Errorf("stages: got %q of generation %q", got, p.Generation())
	}
	o := p.Inspect(context.Background(), newCall())
	if !o.Allowed() || o.Stage != "" || o.Generation != "7" || len(o.Steps) != 4 {
		t.Errorf("got %+v", o)
	}
	p.InspectReply(context.Background(), o, &call.Reply{})
	p.Observe(context.Background(), o)
	p.Observe(context.Background(), o) // nobody is told twice
	want := []string{"a", "b", "c", "reply a", "reply b", "reply c", "observe c", "observe b", "observe a"}
	if !slices.Equal(diary, want) {
		t.Errorf("got  %v\nwant %v", diary, want)
	}
	if o.Replies != 1 || o.Judged <= 0 || o.Took <= o.Judged || o.Steps[0].Took != time.Millisecond {
		t.Errorf("got %d replies, judged %v, took %v, first step %v", o.Replies, o.Judged, o.Took, o.Steps[0].Took)
	}
}

func TestShortCircuit(t *testing.T) {
	for _, verdict := range []policy.Verdict{denies, holds} {
		t.Run(verdict.Action.String(), func(t *testing.T) {
			var diary []string
			p := pipeline(
				policy.Entry{Stage: fake{name: "a", diary: &diary}}, policy.Entry{Stage: fake{name: "b", diary: &diary, inspect: says(verdict)}},
				policy.Entry{Stage: fake{name: "c", diary: &diary}},
			)
			o := p.Inspect(context.Background(), newCall())
			p.Observe(context.Background(), o)
			if o.Allowed() || o.Stage != "b" || o.Verdict.Code != verdict.Code || o.Verdict.Ticket != verdict.Ticket || o.Verdict.Rule != verdict.Rule {
				t.Errorf("got %s: %+v", o.Stage, o.Verdict)
			}
			if want := []string{"a", "b", "observe b", "observe a"}; !slices.Equal(diary, want) {
				t.Errorf("got %v, want %v: c was not entered", diary, want)
			}
		})
	}
}

func TestFailsClosed(t *testing.T) {
	for _, tt := range []struct {
		name    string
		inspect func(*call.Call) (policy.Verdict, error)
		code    call.Code
		reason  string
	}{
		{"error", func(*call.Call) (policy.Verdict, error) { return passes, errors.New("lookup failed") }, call.PolicyError, "lookup failed"},
		{"zero verdict", says(policy.Verdict{}), call.PolicyError, "the stage gave no verdict"},
		{"unknown action", says(policy.Verdict{Action: 99}), call.PolicyError, "the stage gave no verdict"},
		{"panic", func(*call.Call) (policy.Verdict, error) { panic("oh") }, call.PolicyError, "policy: stage panicked: oh"},
		{"denial without a code", says(policy.Verdict{Action: policy.Deny, Reason: "no"}), call.PolicyError, "no"},
		{"hold without a code", says(policy.Verdict{Action: policy.Hold, Reason: "wait"}), call.PolicyError, "wait"},
		{"rewrite to nothing", says(policy.Verdict{Action: policy.Rewrite}), call.PolicyError, "the stage rewrote without a body"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			reached := false
			p := pipeline(policy.Entry{Stage: fake{name: "a", inspect: tt.inspect}}, policy.Entry{Stage: fake{name: "b", inspect: func(*call.Call) (policy.Verdict, error) {
				reached = true
				return passes, nil
			}}})
			o := p.Inspect(context.Background(), newCall())
			if o.Allowed() || o.Stage != "a" || o.Verdict.Code != tt.code || o.Verdict.Reason != tt.reason || reached {
				t.Errorf("got allowed %v by %q: %q %q, next stage reached %v", o.Allowed(), o.Stage, o.Verdict.Code, o.Verdict.Reason, reached)
			}
			reply := func(*call.Reply) (policy.Verdict, error) { return tt.inspect(nil) }
			o = pipeline().Inspect(context.Background(), newCall())
			v := pipeline(policy.Entry{Stage: fake{name: "a", reply: reply}}).InspectReply(context.Background(), o, &call.Reply{})
			if v.Action != policy.Deny || v.Code != tt.code || v.Reason != tt.reason || o.Allowed() {
				t.Errorf("reply: got %+v, allowed %v", v, o.Allowed())
			}
		})
	}
}

func TestShadow(t *testing.T) {
	p := pipeline(
		policy.Entry{Stage: fake{name: "a", inspect: says(denies)}, Shadow: true},
		policy.Entry{Stage: fake{name: "b", inspect: says(policy.Verdict{Action: policy.Rewrite, Body: []byte(`{}`)})}, Shadow: true},
		policy.Entry{Stage: fake{name: "c", inspect: func(*call.Call) (policy.Verdict, error) { panic("oh") }}, Shadow: true},
	)
	c := newCall()
	o := p.Inspect(context.Background(), c)
	if !o.Allowed() || o.Rewritten || o.Call != c || len(o.Steps) != 3 {
		t.Fatalf("got %+v", o)
	}
	for i, want := range []policy.Action{policy.Deny, policy.Rewrite, policy.Deny} {
		if s := o.Steps[i]; !s.Shadow || s.Verdict.Action != want {
			t.Errorf("step %d: got %+v, want %v in shadow", i, s, want)
		}
	}
}

func TestRewrite(t *testing.T) {
	var seen []string
	sees := func(c *call.Call) (policy.Verdict, error) {
		seen = append(seen, string(c.Arguments))
		return passes, nil
	}
	p := pipeline(
		policy.Entry{Stage: fake{name: "standing", inspect: sees}, Standing: true},
		policy.Entry{Stage: fake{name: "mask", inspect: says(policy.Verdict{Action: policy.Rewrite, Body: []byte(`{"a":0}`)})}},
		policy.Entry{Stage: fake{name: "last", inspect: sees}},
	)
	c := newCall()
	o := p.Inspect(context.Background(), c)
	if !o.Allowed() || !o.Rewritten || string(o.Call.Arguments) != `{"a":0}` || string(c.Arguments) != `{"a":1}` {
		t.Errorf("got %+v; the caller's call has %s", o, c.Arguments)
	}
	if want := []string{`{"a":1}`, `{"a":0}`, `{"a":0}`}; !slices.Equal(seen, want) {
		t.Errorf("seen: got %v, want %v: the standing stage judges again", seen, want)
	}
}

func TestRewriteIntoADenial(t *testing.T) {
	p := pipeline(
		policy.Entry{Stage: fake{name: "standing", inspect: func(c *call.Call) (policy.Verdict, error) {
			if string(c.Arguments) == `{"a":0}` {
				return denies, nil
			}
			return passes, nil
		}}, Standing: true},
		policy.Entry{Stage: fake{name: "mask", inspect: says(policy.Verdict{Action: policy.Rewrite, Body: []byte(`{"a":0}`)})}},
	)
	if o := p.Inspect(context.Background(), newCall()); o.Allowed() || o.Stage != "standing" {
		t.Errorf("got allowed %v by %q", o.Allowed(), o.Stage)
	}
}

// What is judged twice may not become something else the second time: nobody would judge that.
func TestStandingStageMayNotRewriteAgain(t *testing.T) {
	n := 0
	p := pipeline(policy.Entry{Standing: true, Stage: fake{name: "unsteady", inspect: func(*call.Call) (policy.Verdict, error) {
		n++
		return policy.Verdict{Action: policy.Rewrite, Body: fmt.Appendf(nil, `{"a":%d}`, n)}, nil
	}}})
	if o := p.Inspect(context.Background(), newCall()); o.Allowed() || o.Verdict.Code != call.PolicyError {
		t.Errorf("got allowed %v: %+v", o.Allowed(), o.Verdict)
	}
	same := pipeline(policy.Entry{Standing: true, Stage: fake{name: "steady", inspect: says(policy.Verdict{Action: policy.Rewrite, Body: []byte(`{"a":0}`)})}})
	if o := same.Inspect(context.Background(), newCall()); !o.Allowed() {
		t.Errorf("the same rewrite twice: got %+v", o.Verdict)
	}
}

func TestRecheck(t *testing.T) {
	var diary []string
	o := pipeline(policy.Entry{Stage: fake{name: "audit", diary: &diary}}, policy.Entry{Stage: fake{name: "authz", diary: &diary}, Standing: true}).Inspect(context.Background(), newCall())
	next := policy.NewPipeline("8", clock(), policy.Entry{Stage: fake{name: "audit", diary: &diary}}, policy.Entry{Stage: fake{name: "authz", diary: &diary, inspect: says(denies)}, Standing: true})
	if next.Recheck(context.Background(), o) {
		t.Error("the newer rules refuse, and the call goes on")
	}
	if o.Allowed() || o.Stage != "authz" || o.Generation != "8" || o.Verdict.Rule != "rules[0]" {
		t.Errorf("got %+v", o)
	}
	next.Observe(context.Background(), o)
	if want := []string{"audit", "authz", "authz", "observe authz", "observe audit"}; !slices.Equal(diary, want) {
		t.Errorf("got %v, want %v: only standing stages judge again, and nobody observes twice", diary, want)
	}
}

func TestStepsAreBounded(t *testing.T) {
	p := pipeline(policy.Entry{Stage: fake{name: "authz"}, Standing: true})
	o := p.Inspect(context.Background(), newCall())
	for range 1000 {
		p.Recheck(context.Background(), o)
	}
	if len(o.Steps) != 64 {
		t.Errorf("got %d steps, want 64", len(o.Steps))
	}
}

func TestReplies(t *testing.T) {
	p := pipeline(
		policy.Entry{Stage: only{"no replies", passes}},
		policy.Entry{Stage: fake{name: "cut", reply: func(r *call.Reply) (policy.Verdict, error) {
			if r.Items == nil {
				return passes, nil
			}
			return policy.Verdict{Action: policy.Rewrite, Body: []byte(`[1]`), Hidden: 2}, nil
		}}},
		policy.Entry{Stage: fake{name: "next", reply: func(r *call.Reply) (policy.Verdict, error) {
			if string(r.Body) == `[1]` && r.Items != nil {
				return denies, nil // offsets into the old body
			}
			return passes, nil
		}}},
	)
	o := p.Inspect(context.Background(), newCall())
	r := &call.Reply{Body: []byte(`[1,2,3]`), Items: []call.Item{{}}}
	if v := p.InspectReply(context.Background(), o, r); v.Action != policy.Rewrite || string(v.Body) != `[1]` || string(r.Body) != `[1,2,3]` {
		t.Errorf("got %+v; the reply has %s", v, r.Body)
	}
	if v := p.InspectReply(context.Background(), o, &call.Reply{Body: []byte(`{}`)}); v.Action != policy.Pass {
		t.Errorf("got %+v", v)
	}
	if o.Replies != 2 || o.Hidden != 2 || !o.Allowed() || len(o.Steps) != 4 || o.Steps[3].Stage != "cut" {
		t.Errorf("got %d replies, %d hidden, allowed %v, steps %+v", o.Replies, o.Hidden, o.Allowed(), o.Steps)
	}
}

func TestMidStreamDenial(t *testing.T) {
	for _, verdict := range []policy.Verdict{denies, holds} {
		var diary []string
		n := 0
		p := pipeline(
			policy.Entry{Stage: fake{name: "shadow", reply: func(*call.Reply) (policy.Verdict, error) { return denies, nil }}, Shadow: true},
			policy.Entry{Stage: fake{name: "guard", diary: &diary, reply: func(*call.Reply) (policy.Verdict, error) {
				if n++; n == 2 {
					return verdict, nil
				}
				return passes, nil
			}}},
			policy.Entry{Stage: fake{name: "last", diary: &diary}},
		)
		o := p.Inspect(context.Background(), newCall())
		if v := p.InspectReply(context.Background(), o, &call.Reply{Seq: 0}); v.Action != policy.Pass {
			t.Fatalf("first: got %+v", v)
		}
		v := p.InspectReply(context.Background(), o, &call.Reply{Seq: 1})
		if v.Action != policy.Deny || v.Code != verdict.Code || o.Allowed() || o.Stage != "guard" {
			t.Errorf("second: got %+v by %q; a reply cannot be held", v, o.Stage)
		}
		p.Observe(context.Background(), o)
		if want := []string{"guard", "last", "reply guard", "reply last", "reply guard", "observe last", "observe guard"}; !slices.Equal(diary, want) {
			t.Errorf("got %v, want %v", diary, want)
		}
		if last := o.Steps[len(o.Steps)-1]; last.Stage != "guard" || last.Shadow {
			t.Errorf("last step: got %+v, want the denial", last)
		}
	}
}

func TestRefused(t *testing.T) {
	var diary []string
	p := pipeline(policy.Entry{Stage: fake{name: "audit", diary: &diary}}, policy.Entry{Stage: only{"authz", passes}})
	o := p.Refused(newCall(), policy.Verdict{Action: policy.Pass, Code: call.Malformed, Reason: "not JSON"})
	p.Observe(context.Background(), o)
	if o.Allowed() || o.Stage != "decode" || o.Verdict.Code != call.Malformed || o.Generation != "7" || len(o.Steps) != 0 {
		t.Errorf("got %+v", o)
	}
	if want := []string{"observe audit"}; !slices.Equal(diary, want) {
		t.Errorf("got %v, want %v: nobody inspects what was refused before", diary, want)
	}
}

func TestObserverThatPanics(t *testing.T) {
	var err error
	p := pipeline(
		policy.Entry{Stage: fake{name: "audit", observe: func(o *policy.Outcome) { err = o.Err }}},
		policy.Entry{Stage: fake{name: "loop", observe: func(*policy.Outcome) { panic("oh") }}},
	)
	o := p.Inspect(context.Background(), newCall())
	p.Observe(context.Background(), o)
	if err == nil || err.Error() != "policy: stage loop panicked in Observe: oh" {
		t.Errorf("the stage before it sees %v", err)
	}
}

func TestActionStrings(t *testing.T) {
	for action, want := range map[policy.Action]string{0: "none", policy.Pass: "pass", policy.Rewrite: "rewrite", policy.Hold: "hold", policy.Deny: "deny", 9: "none"} {
		if got := action.String(); got != want {
			t.Errorf("%d: got %q, want %q", action, got, want)
		}
	}
}
