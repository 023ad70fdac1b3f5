package chain_test

import (
	"encoding/json/jsontext"
	"strings"
	"testing"
	"time"

	"waymark.dev/waypoint/pkg/api/v1alpha1"
	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/identity/chain"
)

const coach = "spiffe://cluster.local/ns/gym/sa/agent-coach"

func claims(t testing.TB, raw string) *identity.Claims {
	t.Helper()
	c := &identity.Claims{Issuer: "https://sts", Subject: "alice", Raw: jsontext.Value(raw), IssuedAt: time.Unix(1000, 0)}
	if err := chain.Read(c); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	return c
}

func TestRead(t *testing.T) {
	c := claims(t, `{"sub":"alice","scope":"a b a  c","txn":"7","act":{"sub":"coach","act":{"sub":"butler","iss":"https://sts"}},
		"may_act":{"sub":"next"},"cnf":{"x5t#S256":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"},"authorization_details":[{"type":"x"}]}`)
	if got := strings.Join(c.Scope, ","); got != "a,b,c" {
		t.Errorf("scope %s", got)
	}
	if len(c.Actors) != 2 || c.Actors[0].Subject != "coach" || c.Actors[1].Subject != "butler" || c.MayAct.Subject != "next" || c.Transaction != "7" ||
		c.Thumbprint == "" || string(c.Details) != `[{"type":"x"}]` {
		t.Errorf("got %+v", c.Delegation)
	}
	hops := chain.Hops(c)
	if len(hops) != 3 || hops[0].Subject != "alice" || hops[1].Subject != "butler" || hops[2].Subject != "coach" || !hops[2].Verified {
		t.Errorf("hops %+v", hops)
	}
	if c := claims(t, `{"scope":["a","b"]}`); len(c.Scope) != 2 {
		t.Errorf("a list: %v", c.Scope)
	}
	if c := claims(t, `{}`); c.Scope != nil || c.Actors != nil || c.MayAct != nil {
		t.Errorf("nothing: %+v", c.Delegation)
	}
}

func TestReadRefuses(t *testing.T) {
	tests := map[string]string{
		`[]`:                                        "claims: is no object",
		`{"act":1}`:                                 "claims: act: is no object",
		`{"act":[]}`:                                "claims: act: is no object",
		`{"act":{}}`:                                "claims: act: no sub",
		`{"act":{"sub":""}}`:                        "claims: act: sub is empty",
		`{"act":{"sub":1}}`:                         "claims: act: sub is no string",
		`{"act":{"sub":"a","act":null}}`:            "claims: act.act: is no object",
		`{"act":{"sub":"a","Act":{}}}`:              "claims: act: has act in another spelling",
		`{"act":{"sub":"a","SUB":"b"}}`:             "claims: act: has sub in another spelling",
		`{"act":{"sub":"a","sub":"b"}}`:             "claims: is no JSON, or has a name twice",
		`{"act":{"sub":"a"},"ACT":{}}`:              "claims: has act in another spelling",
		`{"act":{"sub":"a","iss":7}}`:               "claims: act: iss is no string",
		`{"may_act":"a"}`:                           "claims: may_act: is no object",
		`{"may_act":{"sub":"a","act":{"sub":"b"}}}`: "claims: may_act has an act in it",
		`{"scope":1}`:                               "claims: scope is neither a string nor a list",
		`{"scope":["a",1]}`:                         "claims: scope has a member that is no string",
		`{"scope":["a b"]}`:                         "claims: scope has a member that is no scope",
		"{\"scope\":\"a\\tb\"}":                     "claims: scope has a member that is no scope",
		`{"cnf":{"jkt":"x"}}`:                       "claims: cnf asks for a proof other than that of a certificate (x5t#S256)",
		`{"cnf":{"x5t#S256":"x"}}`:                  "claims: cnf: x5t#S256 is no SHA-256 in base64url",
		`{"authorization_details":{}}`:              "claims: authorization_details is no list",
		`{"txn":{}}`:                                "claims: txn is no string",
		`{"chain_sha256":"x"}`:                      "claims: chain_sha256 is not the digest of the chain",
		`{"act":` + strings.Repeat(`{"sub":"a","act":`, 16) + `{"sub":"a"}` + strings.Repeat("}", 16) + `}`: "claims: act: more than 16 actors",
	}
	for raw, want := range tests {
		if err := chain.Read(&identity.Claims{Raw: jsontext.Value(raw)}); err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", raw, err, want)
		}
	}
}

func rule(t testing.TB, spec v1alpha1.DelegationChain) *chain.Rule {
	t.Helper()
	r, problems := chain.New(chain.Options{Spec: &spec, TrustDomains: []identity.TrustDomain{identity.RequireTrustDomain("cluster.local")}})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return r
}

func step(names ...v1alpha1.StringMatch) v1alpha1.ActorStep { return v1alpha1.ActorStep{AnyOf: names} }

func TestCheck(t *testing.T) {
	two := int32(2)
	sa := v1alpha1.ActorBinding{Type: v1alpha1.BindServiceAccount}
	both := v1alpha1.DelegationChain{Actors: []v1alpha1.ActorStep{step("agent-butler"), step("agent-coach")}, Binding: sa}
	inOrder := both
	inOrder.Match = "InOrder"
	story := `{"sub":"alice","groups":["a","b"],"act":{"sub":"agent-coach","act":{"sub":"agent-butler"}}}`
	tests := map[string]struct {
		spec v1alpha1.DelegationChain
		raw  string
		who  string
		code call.Code
		why  string
	}{
		"story":           {both, story, coach, "", ""},
		"stolen":          {both, story, "spiffe://cluster.local/ns/dark/sa/thief", call.ChainUnbound, `the last actor "agent-coach" is not the caller spiffe://cluster.local/ns/dark/sa/thief (binding ServiceAccount)`},
		"another domain":  {both, story, "spiffe://evil/ns/gym/sa/agent-coach", call.ChainUnbound, `the last actor "agent-coach" is not the caller spiffe://evil/ns/gym/sa/agent-coach (binding ServiceAccount)`},
		"nobody":          {both, story, "", call.ChainUnbound, "the caller has no identity that the actor could be bound to"},
		"butler skipped":  {both, `{"sub":"alice","act":{"sub":"agent-coach"}}`, coach, call.ChainInvalid, "the chain has 1 actors, and 2 are required"},
		"no delegation":   {both, `{"sub":"alice"}`, coach, call.ChainInvalid, "the chain has 0 actors, and 2 are required"},
		"one more":        {both, `{"act":{"sub":"agent-coach","act":{"sub":"x","act":{"sub":"agent-butler"}}}}`, coach, call.ChainInvalid, "the chain has 3 actors, and exactly 2 are required"},
		"turned round":    {both, `{"act":{"sub":"agent-butler","act":{"sub":"agent-coach"}}}`, coach, call.ChainInvalid, `"agent-coach" is not what actors[0] asks for`},
		"another between": {inOrder, `{"act":{"sub":"agent-coach","act":{"sub":"x","act":{"sub":"agent-butler"}}}}`, coach, "", ""},
		"another last":    {inOrder, `{"act":{"sub":"x","act":{"sub":"agent-coach","act":{"sub":"agent-butler"}}}}`, coach, call.ChainInvalid, "nobody in the chain is what actors[1] asks for"},
		"wrong order":     {inOrder, `{"act":{"sub":"agent-coach","act":{"sub":"agent-coach"}}}`, coach, call.ChainInvalid, "nobody in the chain is what actors[0] asks for"},
		"foreign issuer":  {both, `{"act":{"sub":"agent-coach","act":{"sub":"agent-butler","iss":"https://evil"}}}`, coach, call.ChainInvalid, "an actor is named by an issuer that did not sign the token"},
		"too deep": {v1alpha1.DelegationChain{MaxDepth: &two, Binding: sa}, `{"act":{"sub":"agent-coach","act":{"sub":"b","act":{"sub":"c"}}}}`, coach,
			call.DepthExceeded, "the chain has 3 actors, and 2 are allowed"},
		"forbidden": {v1alpha1.DelegationChain{ForbiddenActors: []v1alpha1.StringMatch{"*-butler"}, Binding: sa}, story, coach,
			call.ActorNotAllowed, `"agent-butler" may stand nowhere in the chain`},
		"user": {v1alpha1.DelegationChain{User: &v1alpha1.ChainUser{Subjects: []v1alpha1.StringMatch{"bob"}}, Binding: sa}, story, coach,
			call.ChainInvalid, "the user is none of user.subjects"},
		"claim": {v1alpha1.DelegationChain{User: &v1alpha1.ChainUser{RequiredClaims: []v1alpha1.ClaimMatch{{Claim: "groups", Values: []v1alpha1.StringMatch{"b"}}}}, Binding: sa},
			story, coach, "", ""},
		"no claim": {v1alpha1.DelegationChain{User: &v1alpha1.ChainUser{RequiredClaims: []v1alpha1.ClaimMatch{{Claim: "groups", Values: []v1alpha1.StringMatch{"c"}}}}, Binding: sa},
			story, coach, call.ChainInvalid, "the user has not what user.requiredClaims[0] asks for"},
		"SPIFFE":            {v1alpha1.DelegationChain{}, `{"act":{"sub":"` + coach + `"}}`, coach, "", ""},
		"SPIFFE, no scheme": {v1alpha1.DelegationChain{}, `{"act":{"sub":"cluster.local/ns/gym/sa/agent-coach"}}`, coach, "", ""},
		"a claim":           {v1alpha1.DelegationChain{Binding: v1alpha1.ActorBinding{Type: v1alpha1.BindClaim, Claim: "workload"}}, `{"act":{"sub":"x","workload":"` + coach + `"}}`, coach, "", ""},
		"another claim": {v1alpha1.DelegationChain{Binding: v1alpha1.ActorBinding{Type: v1alpha1.BindClaim, Claim: "workload"}}, `{"act":{"sub":"` + coach + `"}}`, coach,
			call.ChainUnbound, `the last actor "` + coach + `" is not the caller ` + coach + ` (binding Claim)`},
		"a table": {v1alpha1.DelegationChain{Binding: v1alpha1.ActorBinding{Type: v1alpha1.BindTable, Table: []v1alpha1.ActorPrincipals{
			{Actor: "the coach", Principals: []v1alpha1.StringMatch{"cluster.local/ns/gym/*"}}}}}, `{"act":{"sub":"the coach"}}`, coach, "", ""},
		"not in the table": {v1alpha1.DelegationChain{Binding: v1alpha1.ActorBinding{Type: v1alpha1.BindTable, Table: []v1alpha1.ActorPrincipals{
			{Actor: "another", Principals: []v1alpha1.StringMatch{"*"}}}}}, `{"act":{"sub":"the coach"}}`, coach, call.ChainUnbound,
			`the last actor "the coach" is not the caller ` + coach + ` (binding Table)`},
		"waived": {v1alpha1.DelegationChain{Binding: v1alpha1.ActorBinding{Type: v1alpha1.BindNone, Waiver: &v1alpha1.Waiver{Reason: "a gateway before the mesh"}}},
			`{"act":{"sub":"x"}}`, coach, "", ""},
		"old": {v1alpha1.DelegationChain{MaxAge: "5s"}, `{}`, coach, call.TokenInvalid, "the token is older than 5s"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := chain.Presenter{}
			if tt.who != "" {
				p.ID = identity.RequireID(tt.who)
			}
			r := rule(t, tt.spec).Check(p, claims(t, tt.raw), time.Unix(1010, 0))
			if r == nil {
				r = &chain.Refusal{}
			}
			if r.Code != tt.code || r.Reason != tt.why {
				t.Errorf("got %s %q, want %s %q", r.Code, r.Reason, tt.code, tt.why)
			}
		})
	}
}

func TestProblems(t *testing.T) {
	deep := int32(17)
	one := int32(1)
	for want, spec := range map[string]v1alpha1.DelegationChain{
		"maxDepth: must be from 0 to 16":                                                {MaxDepth: &deep},
		"actors: are more than maxDepth allows":                                         {MaxDepth: &one, Actors: []v1alpha1.ActorStep{step("a"), step("b")}},
		"actors[0].anyOf: must have at least one":                                       {Actors: []v1alpha1.ActorStep{{}}},
		`actors[0].anyOf[0]: "*" may stand only once, at the beginning or at the end`:   {Actors: []v1alpha1.ActorStep{step("a*b")}},
		`match: must be Exact or InOrder, got "Some"`:                                   {Match: "Some"},
		"binding.waiver: is needed for type None, and only there":                       {Binding: v1alpha1.ActorBinding{Type: v1alpha1.BindNone}},
		"binding.claim: is needed for type Claim, and only there":                       {Binding: v1alpha1.ActorBinding{Claim: "x"}},
		`binding.type: must be SPIFFEID, ServiceAccount, Claim, Table or None, got "X"`: {Binding: v1alpha1.ActorBinding{Type: "X"}},
		"maxAge: must be a length of time from 1s to 24h":                               {MaxAge: "1ms"},
	} {
		_, problems := chain.New(chain.Options{Spec: &spec})
		if len(problems) != 1 || problems[0] != want {
			t.Errorf("got %q, want %q", problems, want)
		}
	}
}

func TestBound(t *testing.T) {
	bound := claims(t, `{"cnf":{"x5t#S256":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}}`)
	free := claims(t, `{}`)
	mine := chain.Presenter{Thumbprint: "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}
	other := chain.Presenter{Thumbprint: "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB"}
	if chain.Bound(mine, bound, true) != nil || chain.Bound(mine, free, false) != nil {
		t.Error("good ones are refused")
	}
	for name, r := range map[string]*chain.Refusal{
		"stolen": chain.Bound(other, bound, false), "no certificate": chain.Bound(chain.Presenter{}, bound, false), "required": chain.Bound(mine, free, true),
	} {
		if r == nil || r.Code != call.ChainUnbound {
			t.Errorf("%s: %v", name, r)
		}
	}
}

func BenchmarkCheck(b *testing.B) {
	r := rule(b, v1alpha1.DelegationChain{Actors: []v1alpha1.ActorStep{step("agent-butler"), step("agent-coach")}, Binding: v1alpha1.ActorBinding{Type: v1alpha1.BindServiceAccount}})
	c := claims(b, `{"sub":"alice","act":{"sub":"agent-coach","act":{"sub":"agent-butler"}}}`)
	p, now := chain.Presenter{ID: identity.RequireID(coach)}, time.Unix(1010, 0)
	b.ReportAllocs()
	for b.Loop() {
		if r.Check(p, c, now) != nil {
			b.Fatal("refused")
		}
	}
}

// Whatever is read keeps every actor: written again and read again it is the same chain.
func FuzzRead(f *testing.F) {
	f.Add(`{"act":{"sub":"a","act":{"sub":"b","iss":"c"}},"scope":"x y"}`)
	f.Add(`{"act":{"sub":"a","ſub":"b"}}`)
	f.Add(`{"may_act":{"sub":"a"},"cnf":{},"txn":""}`)
	f.Fuzz(func(t *testing.T, raw string) {
		c := &identity.Claims{Raw: jsontext.Value(raw)}
		if chain.Read(c) != nil {
			return
		}
		var act jsontext.Value
		for i := len(c.Actors) - 1; i >= 0; i-- {
			act = chain.Append(identity.Actor{Subject: c.Actors[i].Subject, Issuer: c.Actors[i].Issuer}, act)
		}
		if act == nil {
			return
		}
		again := &identity.Claims{Raw: jsontext.Value(`{"act":` + string(act) + `}`)}
		if err := chain.Read(again); err != nil || chain.Digest(&identity.Claims{Delegation: c.Delegation}) != chain.Digest(&identity.Claims{Delegation: again.Delegation}) {
			t.Errorf("%s became %s: %v", raw, act, err)
		}
	})
}
