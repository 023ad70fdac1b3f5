package policy_test

import (
	"context"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"testing"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/policy"
)

// edits is a stage that passes with changes to the header.
func edits(name string, list ...policy.HeaderEdit) policy.Entry {
	return policy.Entry{Stage: only{name, policy.Verdict{Action: policy.Pass, Headers: list}}, Standing: true}
}

func TestHeaderEdits(t *testing.T) {
	remove := func(name string) policy.HeaderEdit { return policy.HeaderEdit{Name: name, Remove: true} }
	set := func(name, value string) policy.HeaderEdit {
		return policy.HeaderEdit{Name: name, Remove: true, Value: value}
	}
	cookie := func(name string) policy.HeaderEdit {
		return policy.HeaderEdit{Name: "Cookie", Remove: true, Cookie: name}
	}
	for _, tt := range []struct {
		name   string
		before http.Header
		edits  []policy.HeaderEdit
		want   http.Header
	}{
		{"remove", http.Header{"X-User": {"a"}, "X-Users": {"b"}}, []policy.HeaderEdit{remove("x-user")}, http.Header{"X-Users": {"b"}}},
		{"remove every spelling", http.Header{"X-User": {"a"}, "x-user": {"b"}, "X_user": {"c"}, "X_USER": {"d"}, "Xuser": {"e"}}, []policy.HeaderEdit{remove("X-User")}, http.Header{"Xuser": {"e"}}},
		{"an underscore removes a hyphen", http.Header{"X-User": {"a"}}, []policy.HeaderEdit{remove("x_user")}, http.Header{}},
		{"add", http.Header{"X-User": {"a"}}, []policy.HeaderEdit{{Name: "x-user", Value: "b"}}, http.Header{"X-User": {"a", "b"}}},
		{"replace", http.Header{"X-User": {"a"}, "X_User": {"b"}}, []policy.HeaderEdit{set("x-user", "c")}, http.Header{"X-User": {"c"}}},
		{"the order counts", http.Header{}, []policy.HeaderEdit{set("X-A", "1"), {Name: "X-A", Value: "2"}, remove("X-B"), {Name: "X-B", Value: "3"}}, http.Header{"X-A": {"1", "2"}, "X-B": {"3"}}},
		{"removed afterwards", http.Header{}, []policy.HeaderEdit{{Name: "X-A", Value: "1"}, remove("x-a")}, http.Header{}},
		{"no header at all", nil, []policy.HeaderEdit{set("X-A", "1")}, http.Header{"X-A": {"1"}}},
		{"one cookie of many", http.Header{"Cookie": {"a=1; token=x;b=2", "TOKEN=y", "c=3"}}, []policy.HeaderEdit{cookie("token")}, http.Header{"Cookie": {"a=1; b=2", "c=3"}}},
		{"the only cookie", http.Header{"Cookie": {"token=x"}, "A": {"b"}}, []policy.HeaderEdit{cookie("token")}, http.Header{"A": {"b"}}},
		{"the only cookie, and nothing", http.Header{"Cookie": {"token=x; ;"}}, []policy.HeaderEdit{cookie("token")}, http.Header{}},
		{"a cookie without a value", http.Header{"Cookie": {"token; a"}}, []policy.HeaderEdit{cookie("token")}, http.Header{"Cookie": {"a"}}},
		{"a cookie whose name begins so", http.Header{"Cookie": {"tokens=1; xtoken=2"}}, []policy.HeaderEdit{cookie("token")}, http.Header{"Cookie": {"tokens=1; xtoken=2"}}},
		{"a cookie of that value", http.Header{"Cookie": {"a=token"}}, []policy.HeaderEdit{cookie("token")}, http.Header{"Cookie": {"a=token"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newCall()
			c.HTTP.Header = tt.before
			kept := tt.before.Clone()
			o := pipeline(edits("a", tt.edits...)).Inspect(t.Context(), c)
			if !o.Allowed() || !reflect.DeepEqual(o.Call.HTTP.Header, tt.want) {
				t.Errorf("got %v, want %v", o.Call.HTTP.Header, tt.want)
			}
			if !reflect.DeepEqual(c.HTTP.Header, kept) {
				t.Errorf("the call as it came is %v, and was %v", c.HTTP.Header, kept)
			}
		})
	}
}

// Two calls that share the fields of a header do not share what is added to them.
func TestHeaderEditsShareNothing(t *testing.T) {
	lines := append(make([]string, 0, 8), "a")
	var got []http.Header
	for _, value := range []string{"b", "c"} {
		c := newCall()
		c.HTTP.Header = http.Header{"X-A": lines}
		got = append(got, pipeline(edits("a", policy.HeaderEdit{Name: "X-A", Value: value})).Inspect(t.Context(), c).Call.HTTP.Header)
	}
	if want := []http.Header{{"X-A": {"a", "b"}}, {"X-A": {"a", "c"}}}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestSameField(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"X-User", "x-user", true}, {"X-User", "X_User", true}, {"x_user", "X-USER", true}, {"", "", true},
		{"X-User", "X-Users", false}, {"X-User", "XUser", false}, {"X-User", "X.User", false}, {"@", "`", false}, {"[", "{", false}, {"X-É", "X-é", false}, {"a", "b", false},
	} {
		if got := policy.SameField(tt.a, tt.b); got != tt.want || policy.SameField(tt.b, tt.a) != got {
			t.Errorf("%q and %q: got %v, want %v", tt.a, tt.b, got, tt.want)
		}
	}
}

// seer remembers what it was shown.
type seer struct {
	name string
	says func(c *call.Call) policy.Verdict
	seen *[]call.Call
}

func (s seer) Name() string { return s.name }

func (s seer) Inspect(_ context.Context, c *call.Call) (policy.Verdict, error) {
	*s.seen = append(*s.seen, *c)
	if s.says == nil {
		return passes, nil
	}
	return s.says(c), nil
}

func TestCaller(t *testing.T) {
	alice := &policy.Caller{Claims: &identity.Claims{Subject: "alice"}, Chain: []identity.Hop{{Subject: "alice"}}}
	for _, shadow := range []bool{false, true} {
		var before, after []call.Call
		p := pipeline(
			policy.Entry{Stage: seer{"before", nil, &before}},
			policy.Entry{Stage: only{"authn", policy.Verdict{Action: policy.Pass, Caller: alice}}, Shadow: shadow},
			policy.Entry{Stage: seer{"after", nil, &after}},
		)
		c := newCall()
		o := p.Inspect(t.Context(), c)
		if before[0].Claims != nil || c.Claims != nil || c.Chain != nil {
			t.Error("whoever came before the token was verified knows whose it is")
		}
		if got := after[0].Claims; (got == alice.Claims) == shadow || (o.Call.Claims == alice.Claims) == shadow || (len(o.Call.Chain) == 1) == shadow {
			t.Errorf("shadow %v: those that follow see %v", shadow, got)
		}
	}
}

// A stage that judges again sees the call as it came, not what it made of it; only what was rewritten stays rewritten.
func TestRecheckBeginsWithTheCallAsItCame(t *testing.T) {
	var first, last []call.Call
	strip := []policy.HeaderEdit{{Name: "Authorization", Remove: true}}
	deny := false
	p := pipeline(
		policy.Entry{Standing: true, Stage: seer{"authn", func(c *call.Call) policy.Verdict {
			if len(c.HTTP.Header["Authorization"]) != 1 {
				return denies
			}
			return policy.Verdict{Action: policy.Pass, Headers: strip, Caller: &policy.Caller{Claims: &identity.Claims{Subject: "alice"}}}
		}, &first}},
		policy.Entry{Stage: only{"mask", policy.Verdict{Action: policy.Rewrite, Body: []byte(`{"a":2}`)}}},
		policy.Entry{Standing: true, Stage: seer{"authz", func(c *call.Call) policy.Verdict {
			if deny {
				return denies
			}
			return passes
		}, &last}},
	)
	c := newCall()
	c.HTTP.Header = http.Header{"Authorization": {"Bearer x"}, "A": {"b"}}
	o := p.Inspect(t.Context(), c)
	if !o.Allowed() || len(first) != 2 || len(last) != 2 { // the second time because of the rewrite
		t.Fatalf("got %+v after %d and %d", o.Verdict, len(first), len(last))
	}
	forwarded := o.Call
	if !p.Recheck(t.Context(), o) {
		t.Fatalf("got %+v", o.Verdict)
	}
	for i, seen := range first {
		if got, want := string(seen.Arguments), []string{`{"a":1}`, `{"a":2}`, `{"a":2}`}[i]; seen.HTTP.Header.Get("Authorization") == "" || seen.Claims != nil || got != want {
			t.Errorf("authn, time %d: %v, %v, %s", i, seen.HTTP.Header, seen.Claims, got)
		}
	}
	for i, seen := range last {
		if seen.HTTP.Header.Get("Authorization") != "" || seen.Claims == nil || string(seen.Arguments) != `{"a":2}` {
			t.Errorf("authz, time %d: %v, %v, %s", i, seen.HTTP.Header, seen.Claims, seen.Arguments)
		}
	}
	if o.Call != forwarded || !maps.EqualFunc(o.Call.HTTP.Header, http.Header{"A": {"b"}}, slices.Equal) || len(c.HTTP.Header) != 2 {
		t.Errorf("what was forwarded is %v now, and the call as it came %v", o.Call.HTTP.Header, c.HTTP.Header)
	}
	deny = true
	if p.Recheck(t.Context(), o) || o.Stage != "authz" || o.Verdict.Policy != denies.Policy || o.Call != forwarded {
		t.Errorf("got %+v of %s", o.Verdict, o.Stage)
	}
}

// speaker answers requests, and knows where scopes come from.
type speaker struct {
	only
	answer    func() *policy.Answer
	challenge func() string
	observed  *int
}

func (s speaker) Answer(*call.Call) *policy.Answer { return s.answer() }

func (s speaker) Challenge(_ *call.Call, scopes []string) string {
	return s.challenge() + " " + scopes[0]
}

func (s speaker) Observe(context.Context, *policy.Outcome) { *s.observed++ }

func TestAnswer(t *testing.T) {
	shared := &policy.Answer{Policy: "bank/a", ContentType: "application/json", Body: []byte("{}")}
	says := func(a *policy.Answer) func() *policy.Answer { return func() *policy.Answer { return a } }
	observed := 0
	stage := func(name string, answer func() *policy.Answer) speaker {
		return speaker{only{name, passes}, answer, nil, &observed}
	}
	bad := stage("bad", func() *policy.Answer { panic("x") })
	p := pipeline(
		policy.Entry{Stage: stage("shadow", says(shared)), Shadow: true}, policy.Entry{Stage: stage("none", says(nil))}, policy.Entry{Stage: bad},
		policy.Entry{Stage: stage("first", says(shared))}, policy.Entry{Stage: stage("second", says(&policy.Answer{Policy: "bank/b"}))},
	)
	a := p.Answer(newCall())
	if a == nil || a.Stage != "first" || a.Policy != "bank/a" || shared.Stage != "" {
		t.Fatalf("got %+v, and the stage's own is %+v", a, shared)
	}
	o := p.Answered(newCall(), a)
	if !o.Allowed() || o.Stage != "first" || o.Verdict.Policy != "bank/a" || len(o.Steps) != 0 {
		t.Errorf("got %+v", o)
	}
	p.Observe(t.Context(), o)
	p.Observe(t.Context(), o)
	if observed != 5 {
		t.Errorf("%d were told, want all 5 of them once", observed)
	}
	if a := pipeline(policy.Entry{Stage: stage("none", says(nil))}).Answer(newCall()); a != nil {
		t.Errorf("got %+v, want nothing", a)
	}
}

func TestChallenge(t *testing.T) {
	observed := 0
	knows := func(name, text string) policy.Entry {
		return policy.Entry{Stage: speaker{only{name, passes}, nil, func() string {
			if text == "" {
				panic("x")
			}
			return text
		}, &observed}}
	}
	shadow := knows("shadow", "shadow")
	shadow.Shadow = true
	missing := policy.Verdict{Action: policy.Deny, Code: call.ScopeMissing, Scopes: []string{"write"}}
	preset, without := missing, missing
	preset.Challenge, without.Scopes = "Bearer preset", nil
	other := denies
	other.Scopes = []string{"write"}
	for _, tt := range []struct {
		name    string
		verdict policy.Verdict
		want    string
	}{
		{"scopes are missing", missing, "first write"}, {"it is there already", preset, "Bearer preset"}, {"nothing is missing", without, ""}, {"another refusal", other, ""},
	} {
		o := pipeline(shadow, knows("bad", ""), knows("first", "first"), knows("second", "second"), policy.Entry{Stage: only{"authz", tt.verdict}}).Inspect(t.Context(), newCall())
		if o.Allowed() || o.Verdict.Challenge != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, o.Verdict.Challenge, tt.want)
		}
	}
}
