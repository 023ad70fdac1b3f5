package sts_test

import (
	"encoding/json/v2"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"waymark.dev/waypoint/pkg/api/v1alpha1"
	"waymark.dev/waypoint/pkg/oauth"
)

// requests is how many exchanges TestRights tries.
const requests = 100_000

// draw makes random tokens, grants and requests out of few names, so that they often fit and often nearly do.
type draw struct {
	*rand.Rand
	w *world
}

func (d draw) some(from ...string) []string {
	var out []string
	for _, s := range from {
		if d.IntN(2) == 0 {
			out = append(out, s)
		}
	}
	return out
}

func (d draw) one(from ...string) string { return from[d.IntN(len(from))] }

func (d draw) grants() []v1alpha1.ExchangeGrant {
	var out []v1alpha1.ExchangeGrant
	for i := range 1 + d.IntN(4) {
		depth := int32(1 + d.IntN(4))
		perMinute := int32(1_000_000)
		g := v1alpha1.ExchangeGrant{
			Name: v1alpha1.Name(fmt.Sprintf("g%d", i)), Clients: []v1alpha1.StringMatch{v1alpha1.StringMatch(d.one(butler, coach, "*"))},
			Audiences: append(d.some(coach, mcp, butler), d.one(coach, mcp)), MaxDepth: &depth, PerMinute: &perMinute,
			MaxLifetime: v1alpha1.Duration(d.one("10s", "5m", "2h")), MayAct: d.one("Required", "IfPresent"), NextActor: d.one("", butler, coach),
			Semantics: d.one("Delegation", "Delegation", "Impersonation"),
		}
		for _, s := range d.some("read", "train", "write") {
			g.Scopes = append(g.Scopes, v1alpha1.Scope(s))
		}
		if d.IntN(4) == 0 {
			g.Subjects = []v1alpha1.StringMatch{"alice"}
		}
		out = append(out, g)
	}
	return out
}

func (d draw) details() []map[string]any {
	var out []map[string]any
	for range d.IntN(3) {
		one := map[string]any{"type": d.one("payment", "files")}
		if d.IntN(2) == 0 {
			one["tools"] = append(d.some("transfer", "list"), "get")
		}
		if d.IntN(2) == 0 {
			one["arguments"] = map[string]any{"/amount": map[string]any{"maximum": []int{10, 100, 1000}[d.IntN(3)]}}
		}
		out = append(out, one)
	}
	return out
}

func (d draw) subject() map[string]any {
	claims := map[string]any{
		"sub": d.one("alice", "bob"), "aud": append(d.some(butler, coach), d.one(butler, coach, mcp)), "jti": fmt.Sprint(d.Uint64()),
		"exp": d.w.clock.now().Add(time.Duration(1+d.IntN(600)) * time.Second).Unix(),
	}
	if d.IntN(8) > 0 {
		claims["scope"] = strings.Join(d.some("read", "train", "write", "admin"), " ")
	}
	if d.IntN(8) > 0 {
		claims["may_act"] = map[string]string{"sub": d.one(butler, coach, thief)}
	}
	if list := d.details(); list != nil {
		claims["authorization_details"] = list
	}
	var act map[string]any
	for range d.IntN(4) {
		next := map[string]any{"sub": d.one("x", "y", butler)}
		if act != nil {
			next["act"] = act
		}
		act = next
	}
	if act != nil {
		claims["act"] = act
	}
	return claims
}

func (d draw) form(subject string) url.Values {
	f := form(subject)
	for range 1 + d.IntN(2) {
		f.Add("audience", d.one(coach, mcp, butler))
	}
	if d.IntN(2) == 0 {
		if s := d.some("read", "train", "write", "admin"); s != nil {
			f.Set("scope", strings.Join(s, " "))
		}
	}
	if list := d.details(); list != nil && d.IntN(2) == 0 {
		b, _ := json.Marshal(list)
		f.Set("authorization_details", string(b))
	}
	return f
}

// What comes out is never more than what went in, whatever is asked for: an oracle of its own compares the tokens.
func TestRights(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	w := newWorld(t, nil, nil)
	d := draw{rand.New(rand.NewPCG(seed, 5)), w}
	var grants []v1alpha1.ExchangeGrant
	issued := 0
	var previous string // a token of our own that may be exchanged again
	for i := range requests {
		if i%50 == 0 {
			grants = d.grants()
			w.grant(grants)
			w.records = w.records[:0]
			previous = ""
		}
		claims := d.subject()
		token := w.token(claims)
		if previous != "" && d.IntN(4) == 0 {
			token = previous
		}
		client := d.one(butler, coach, thief)
		f := d.form(token)
		var shown string
		if d.IntN(4) == 0 {
			actor := map[string]any{"sub": d.one(client, client, client, thief), "iat": w.clock.now().Unix()}
			if d.IntN(2) == 0 {
				actor["scope"] = strings.Join(d.some("read", "train", "write"), " ")
			}
			if d.IntN(2) == 0 {
				actor["exp"] = w.clock.now().Add(time.Duration(1+d.IntN(100)) * time.Second).Unix()
			}
			shown = w.token(actor)
			f.Set("actor_token", shown)
			f.Set("actor_token_type", oauth.TypeJWT)
		}
		a := w.ask(client, f)
		if a.Status != 200 {
			continue
		}
		issued++
		if problem := wider(w, grants, client, f, token, shown, a); problem != "" {
			t.Fatalf("seed %d, request %d: %s\nclient %s\nform %v\ngot %s", seed, i, problem, client, f, payload(a.Token))
		}
		previous = a.Token
	}
	t.Logf("%d of %d exchanges gave a token", issued, requests)
	if issued < requests/200 {
		t.Errorf("only %d exchanges gave a token: the test shows nothing", issued)
	}
}

// claims is a token as the oracle reads it.
type claims struct {
	Iss     string           `json:"iss"`
	Sub     string           `json:"sub"`
	Aud     any              `json:"aud"`
	Exp     int64            `json:"exp"`
	Iat     int64            `json:"iat"`
	Scope   *string          `json:"scope"`
	Act     map[string]any   `json:"act"`
	MayAct  map[string]any   `json:"may_act"`
	Details []map[string]any `json:"authorization_details"`
}

func payload(token string) string {
	b, _ := decode(strings.Split(token, ".")[1])
	return string(b)
}

func read(token string) claims {
	var c claims
	_ = json.Unmarshal([]byte(payload(token)), &c)
	return c
}

func (c claims) scopes() []string {
	if c.Scope == nil {
		return nil
	}
	return strings.Fields(*c.Scope)
}

func (c claims) audiences() []string {
	if s, ok := c.Aud.(string); ok {
		return []string{s}
	}
	var out []string
	for _, a := range c.Aud.([]any) {
		out = append(out, a.(string))
	}
	return out
}

func depth(act map[string]any) int {
	if act == nil {
		return 0
	}
	inner, _ := act["act"].(map[string]any)
	return 1 + depth(inner)
}

// wider says in which way the new token allows more than the tokens that were shown and the grants.
func wider(w *world, grants []v1alpha1.ExchangeGrant, client string, f url.Values, subject, shown string, a answer) string {
	in, out := read(subject), read(a.Token)
	parents := []claims{in}
	if shown != "" {
		p := read(shown)
		if p.Scope == nil {
			p.Scope = in.Scope
		}
		p.Details = in.Details
		parents = append(parents, p)
	}
	for _, p := range parents {
		for _, s := range out.scopes() {
			if !slices.Contains(p.scopes(), s) {
				return "scope " + s
			}
		}
		if out.Exp > p.Exp {
			return "it lives longer"
		}
		for _, d := range out.Details {
			if !slices.ContainsFunc(p.Details, func(q map[string]any) bool { return covers(q, d) }) {
				return fmt.Sprintf("detail %v", d)
			}
		}
	}
	if out.Sub != in.Sub || out.Iss != issuer {
		return "another user or issuer"
	}
	if !slices.Contains(in.audiences(), client) {
		return "the subject token was not meant for the client"
	}
	if in.MayAct != nil && in.MayAct["sub"] != client {
		return "somebody else may act"
	}
	edge := false
	for _, g := range grants {
		names := g.Clients[0] == "*" || string(g.Clients[0]) == client
		all := !slices.ContainsFunc(out.audiences(), func(x string) bool { return !slices.Contains(g.Audiences, x) })
		scoped := !slices.ContainsFunc(out.scopes(), func(x string) bool { return !slices.Contains(g.Scopes, v1alpha1.Scope(x)) })
		user := g.Subjects == nil || in.Sub == "alice"
		consent := g.MayAct == "IfPresent" || in.MayAct != nil
		life, _ := time.ParseDuration(string(g.MaxLifetime))
		lives := out.Exp-out.Iat <= int64(life/time.Second)
		deep := depth(out.Act) <= int(*g.MaxDepth)
		acts := fmt.Sprint(out.Act) == fmt.Sprint(in.Act)
		if g.Semantics == "Delegation" {
			acts = out.Act["sub"] == client && fmt.Sprint(out.Act["act"]) == fmt.Sprint(nilIfEmpty(in.Act)) && len(out.Act) == 1+min(1, depth(in.Act))
		}
		edge = edge || names && all && scoped && user && consent && lives && deep && acts
	}
	if !edge {
		return "no grant allows it"
	}
	if !slices.Equal(out.audiences(), f["audience"]) {
		return "another audience"
	}
	return ""
}

func nilIfEmpty(m map[string]any) any {
	if m == nil {
		return nil
	}
	return m
}

// covers compares two details of the shape that draw makes.
func covers(p, d map[string]any) bool {
	if p["type"] != d["type"] {
		return false
	}
	if p["tools"] != nil {
		mine, ok := d["tools"].([]any)
		if !ok || slices.ContainsFunc(mine, func(x any) bool { return !slices.Contains(p["tools"].([]any), x) }) {
			return false
		}
	}
	if p["arguments"] == nil {
		return true
	}
	maximum := func(m map[string]any) float64 {
		return m["arguments"].(map[string]any)["/amount"].(map[string]any)["maximum"].(float64)
	}
	return d["arguments"] != nil && maximum(d) <= maximum(p)
}

// Ten thousand pairs of a subject token and an actor token out of a hundred flows: an exchange happens if and only if both are of
// one flow. A flow is a user's task for a butler of its own, and its transaction.
func TestSplicing(t *testing.T) {
	const flows, pairs = 100, 10_000
	perMinute := int32(1_000_000)
	w := newWorld(t, []v1alpha1.ExchangeGrant{{
		Name: "all", Clients: []v1alpha1.StringMatch{"*"}, Audiences: []string{mcp}, Scopes: []v1alpha1.Scope{"read"}, PerMinute: &perMinute,
	}}, nil)
	var users, actors, names []string
	for i := range flows {
		id := fmt.Sprintf("spiffe://cluster.local/ns/home/sa/butler-%d", i/2) // two flows of each butler differ by the transaction only
		if w.certs[id] == nil {
			w.certs[id], _ = certificate(t, id)
		}
		names = append(names, id)
		txn := fmt.Sprintf("txn-%d", i)
		users = append(users, w.token(map[string]any{"sub": fmt.Sprintf("user-%d", i), "aud": []string{id}, "may_act": map[string]string{"sub": id}, "scope": "read", "txn": txn}))
		actors = append(actors, w.token(map[string]any{"sub": id, "aud": []string{issuer}, "txn": txn}))
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	d := rand.New(rand.NewPCG(seed, 6))
	accepted := 0
	for n := range pairs {
		i, k, presenter := d.IntN(flows), d.IntN(flows), d.IntN(flows)
		if n%4 == 0 {
			k = i
		}
		if n%8 != 1 {
			presenter = k
		}
		a := w.ask(names[presenter], form(users[i], "audience", mcp, "actor_token", actors[k], "actor_token_type", oauth.TypeJWT))
		want := i == k && names[presenter] == names[k]
		if (a.Status == 200) != want {
			t.Fatalf("seed %d: user of flow %d, actor of flow %d, presented by %d: got %d (%s)", seed, i, k, presenter, a.Status, w.last().Cause)
		}
		if want {
			accepted++
		}
	}
	if accepted < pairs/8 {
		t.Errorf("only %d pairs were of one flow", accepted)
	}
}
