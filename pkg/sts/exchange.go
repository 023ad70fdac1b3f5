package sts

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"net/http"
	"slices"
	"strings"
	"time"

	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/identity/chain"
	"waymark.dev/waypoint/pkg/identity/jwks"
	"waymark.dev/waypoint/pkg/identity/rights"
	"waymark.dev/waypoint/pkg/oauth"
)

// exchange is the straight line of one: who asks, what is shown, who acts, what is allowed, what comes out.
func (s *Server) exchange(r *http.Request, record *Record) (*answer, *fault) {
	form, f := readForm(r)
	if f != nil {
		return nil, f
	}
	c, f := s.authenticate(r.Context(), r, form)
	if f != nil {
		return nil, f
	}
	record.Client, record.Method = c.String(), c.method
	q, f := readRequest(form)
	if f != nil {
		return nil, f
	}
	record.Audiences = q.audiences
	subject, f := s.verifySubject(r.Context(), q.subject)
	if f != nil {
		return nil, f
	}
	record.Issuer, record.Subject, record.SubjectID = subject.Issuer, subject.Subject, subject.ID
	actor, shown, forwarder, f := s.actor(r.Context(), c, q)
	if f != nil {
		return nil, f
	}
	if actor.String() != c.String() {
		record.Actor = actor.String()
	}
	g, f := choose(s.o.Grants(), actor, forwarder, q, subject.Issuer, s.o.Issuer, subject.Subject)
	if f != nil {
		return nil, f
	}
	record.Grant = g.Name
	if !s.rates.take(actor.String(), g, s.o.Now()) {
		return nil, refuse(slowDown, "more than %d tokens in a minute", g.perMinute)
	}
	if f := s.splice(c, actor, subject, shown, g); f != nil {
		return nil, f
	}
	granted, f := s.narrow(q, subject, shown, g)
	if f != nil {
		return nil, f
	}
	return s.issue(q, subject, actor, g, granted, record)
}

// verifySubject has the token of the user verified. One of our own is verified with our own keys.
func (s *Server) verifySubject(ctx context.Context, token string) (*identity.Claims, *fault) {
	issuer, ok := jwks.Peek(token)
	if !ok {
		return nil, refuse(invalidRequest, "the subject token is no JWT")
	}
	v := s.o.Subjects
	if issuer == s.o.Issuer {
		own, err := s.own()
		if err != nil {
			return nil, refuse(unavailable, "our own keys: %v", err)
		}
		v = own
	}
	if v == nil {
		return nil, refuse(invalidGrant, "subject tokens of other issuers are not taken")
	}
	claims, err := v.Verify(ctx, token)
	switch {
	case err == nil && claims.Subject != "":
		return claims, nil
	case err == nil:
		return nil, refuse(invalidGrant, "the subject token has no sub")
	case isInvalid(err):
		return nil, refuse(invalidGrant, "the subject token: %v", err)
	}
	return nil, refuse(unavailable, "the subject token: %v", err)
}

// own is a verifier of what we have signed ourselves. For whom a token is, is judged later.
func (s *Server) own() (*jwks.Verifier, error) {
	return jwks.New(jwks.Options{Cache: -1, Now: s.o.Now, Issuers: []jwks.Issuer{{
		Issuer: s.o.Issuer, AnyAudience: "the token service judges it", Algorithms: []string{"ES256", "EdDSA"}, ClockSkew: s.o.Skew,
		Keys: jwks.Keys{Inline: s.o.Keys.JWKS()},
	}}})
}

// actor finds out who acts: the client itself, proven again by a JWT-SVID if it shows one, or whoever a client that carries the
// calls of others says with an assertion of its own. shown are the claims of an actor token that has rights of its own.
func (s *Server) actor(ctx context.Context, c *client, q *request) (actor *party, shown *identity.Claims, forwarder *party, f *fault) {
	if q.actor == "" {
		return &c.party, nil, nil, nil
	}
	issuer, ok := jwks.Peek(q.actor)
	if ok && issuer == c.String() && c.key != nil {
		said, err := s.assertion(q.actor, c.key, "", issuer, oauth.ActorAssertionType)
		if err != nil {
			return nil, nil, nil, refuse(invalidGrant, "the actor token: %v", err)
		}
		id, err := identity.ParseID(said.Subject)
		if err != nil {
			return nil, nil, nil, refuse(invalidGrant, "the actor token names no workload")
		}
		if !s.o.Replay.Fresh(issuer, said.ID, time.Unix(said.Expiry, 0).Add(s.o.Skew)) {
			return nil, nil, nil, refuse(invalidGrant, "the actor token was used before")
		}
		return &party{id: id}, nil, &c.party, nil
	}
	if s.o.Actors == nil || !ok {
		return nil, nil, nil, refuse(invalidGrant, "nobody knows who signed the actor token")
	}
	claims, err := s.o.Actors.Verify(ctx, q.actor)
	if err != nil {
		return nil, nil, nil, refuse(invalidGrant, "the actor token: %v", err)
	}
	if id, err := identity.ParseID(claims.Subject); err != nil || id != c.id {
		return nil, nil, nil, refuse(invalidGrant, "the actor token is not the client's")
	}
	return &c.party, claims, nil, nil
}

// spellings are what a token may call a party.
func (s *Server) spellings(p *party) []string {
	names := p.names()
	if sa, ok := p.id.ServiceAccount(); ok && s.o.ByAccount {
		ns, _ := p.id.Namespace()
		names = append(names, sa, ns+"/"+sa)
	}
	return names
}

// splice refuses tokens that do not belong together: the subject token has to be meant for whoever acts, to let it act, to be of
// the same transaction as an actor token, and to be on the connection that it is bound to.
func (s *Server) splice(c *client, actor *party, subject, shown *identity.Claims, g *Grant) *fault {
	names := s.spellings(actor)
	named := func(name string) bool { return slices.Contains(names, name) }
	switch {
	case !slices.ContainsFunc(subject.Audience, named):
		return refuse(invalidGrant, "the subject token is not meant for the actor")
	case subject.MayAct == nil && !g.mayActAbsent:
		return refuse(invalidGrant, "the subject token does not say that anybody may act")
	case subject.MayAct != nil && (!named(subject.MayAct.Subject) || subject.MayAct.Issuer != "" && subject.MayAct.Issuer != subject.Issuer):
		return refuse(invalidGrant, "the subject token says that somebody else may act")
	case shown != nil && shown.Transaction != "" && shown.Transaction != subject.Transaction:
		return refuse(invalidGrant, "subject and actor token are of two transactions")
	case shown != nil && !shown.IssuedAt.IsZero() && s.o.Now().Sub(shown.IssuedAt) > time.Hour:
		return refuse(invalidGrant, "the actor token is older than an hour")
	}
	for _, t := range []*identity.Claims{subject, shown} {
		if t == nil {
			continue
		}
		if r := chain.Bound(chain.Presenter{ID: c.id, Thumbprint: c.thumbprint}, t, false); r != nil {
			return refuse(invalidGrant, "%s", r.Reason)
		}
	}
	for i := range subject.Actors {
		if a := &subject.Actors[i]; a.Issuer != "" && a.Issuer != subject.Issuer {
			return refuse(invalidGrant, "the chain has an actor that the subject token's issuer does not vouch for")
		}
	}
	return nil
}

// narrow returns what the new token may do: no more than each token that was shown, the grant and the request.
func (s *Server) narrow(q *request, subject, shown *identity.Claims, g *Grant) (rights.Rights, *fault) {
	parent, err := rights.Of(subject)
	if err != nil {
		return rights.Rights{}, refuse(invalidGrant, "the subject token: %v", err)
	}
	parents := []rights.Rights{parent}
	if shown != nil {
		own, err := rights.Of(shown)
		if err != nil {
			return rights.Rights{}, refuse(invalidGrant, "the actor token: %v", err)
		}
		if own.Scope == nil { // a JWT-SVID says who somebody is, not what it may do
			own.Scope = parent.Scope
		}
		if own.Details == nil {
			own.Details = parent.Details
		}
		parents = append(parents, own)
	}
	limit := rights.Rights{Scope: g.scopes, Details: parent.Details, NotAfter: s.o.Now().Add(g.lifetime)}
	granted, err := rights.Narrow(rights.Rights{Scope: q.scope, Details: q.details}, append(parents, limit)...)
	switch {
	case err == nil:
		return granted, nil
	case strings.HasPrefix(err.Error(), rights.ErrDetails.Error()):
		return rights.Rights{}, refuse(invalidDetails, "%v", err)
	}
	return rights.Rights{}, refuse(invalidScope, "%v", err)
}

// issue writes and signs the new token.
func (s *Server) issue(q *request, subject *identity.Claims, actor *party, g *Grant, granted rights.Rights, record *Record) (*answer, *fault) {
	now := s.o.Now()
	lives := granted.NotAfter.Sub(now).Truncate(time.Second)
	if lives < time.Second {
		return nil, refuse(invalidGrant, "the subject token is about to end")
	}
	claims := map[string]jsontext.Value{}
	next := &identity.Claims{Issuer: s.o.Issuer, Subject: subject.Subject}
	var before jsontext.Value
	if len(subject.Actors) > 0 {
		before = subject.Actors[0].Raw
		next.Actors = subject.Actors
	}
	act := before
	if !g.impersonation {
		a := identity.Actor{Subject: s.actorName(actor)}
		act = chain.Append(a, before)
		next.Actors = append([]identity.Actor{a}, subject.Actors...)
	}
	if len(next.Actors) > g.depth {
		return nil, refuse(invalidGrant, "the chain would have %d actors, and %d are allowed", len(next.Actors), g.depth)
	}
	if err := s.fill(claims, q, subject, next, g, granted, now, now.Add(lives)); err != nil {
		return nil, refuse(invalidGrant, "%v", err)
	}
	if act != nil {
		claims["act"] = act
	}
	payload, err := json.Marshal(claims, json.Deterministic(true))
	if err != nil {
		return nil, refuse(unavailable, "the token cannot be written")
	}
	typ := "at+jwt" // RFC 9068
	if q.issue == oauth.TypeJWT {
		typ = "JWT"
	}
	token, err := s.o.Keys.sign(payload, typ, now)
	if err != nil {
		return nil, refuse(unavailable, "%v", err)
	}
	if len(token) > maxToken {
		return nil, refuse(invalidRequest, "the new token would have more than %d bytes", maxToken)
	}
	for _, h := range chain.Hops(next) {
		record.Chain = append(record.Chain, h.Subject)
	}
	record.Scope, record.Expiry = granted.Scope, now.Add(lives)
	record.ID = text(claims["jti"])
	return &answer{token, q.issue, "Bearer", int64(lives / time.Second), strings.Join(granted.Scope, " ")}, nil
}

// fill writes every claim but act.
func (s *Server) fill(claims map[string]jsontext.Value, q *request, subject, next *identity.Claims, g *Grant, granted rights.Rights, now, ends time.Time) error {
	if err := s.copy(claims, subject); err != nil {
		return err
	}
	transaction := subject.Transaction
	if transaction == "" {
		transaction = random()
	}
	own := map[string]any{
		"iss": s.o.Issuer, "sub": subject.Subject, "aud": q.audiences, "iat": now.Unix(), "exp": ends.Unix(), "jti": random(),
		"txn": transaction, chain.DigestClaim: chain.Digest(next),
	}
	if len(q.audiences) == 1 {
		own["aud"] = q.audiences[0]
	}
	if len(granted.Scope) > 0 {
		own["scope"] = strings.Join(granted.Scope, " ")
	}
	if len(granted.Details) > 0 {
		own["authorization_details"] = granted.Details.Marshal()
	}
	if g.next != "" {
		own["may_act"] = map[string]string{"sub": g.next}
	}
	for name, v := range own {
		b, err := json.Marshal(v, json.Deterministic(true))
		if err != nil {
			return err
		}
		claims[name] = b
	}
	return nil
}

// copy takes over what the operator wants to travel with the user.
func (s *Server) copy(claims map[string]jsontext.Value, subject *identity.Claims) error {
	if len(s.o.Copy) == 0 {
		return nil
	}
	var all map[string]jsontext.Value
	if err := json.Unmarshal(subject.Raw, &all); err != nil {
		return err
	}
	for _, name := range s.o.Copy {
		if v, ok := all[name]; ok {
			claims[name] = v
		}
	}
	return nil
}

func (s *Server) actorName(p *party) string {
	if sa, ok := p.id.ServiceAccount(); ok && s.o.ByAccount {
		return sa
	}
	return p.String()
}

func random() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return base64.RawURLEncoding.EncodeToString(b[:])
}

func text(v jsontext.Value) string {
	var s string
	_ = json.Unmarshal(v, &s)
	return s
}
