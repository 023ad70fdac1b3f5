package ruleset

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"waymark.dev/waypoint/pkg/api/v1alpha1"
	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/oauth"
	"waymark.dev/waypoint/pkg/policy"
	"waymark.dev/waypoint/pkg/policy/exchange"
	"waymark.dev/waypoint/pkg/policy/extauthz"
)

// client is how the waypoint says to an OAuth server who it is, with everything it names looked up.
type client struct {
	Type, ID, Secret, Algorithm, KeyID, Audience string
}

func (c *compiler) client(field string, a *v1alpha1.ClientAuthentication) client {
	out := client{ID: a.ClientID, Algorithm: string(a.Algorithm), KeyID: a.KeyID, Audience: a.Audience}
	out.Type = c.oneOf(field+".type", string(a.Type), "MutualTLS", "ServiceAccountToken", "PrivateKeyJWT", "ClientSecretBasic", "ClientSecretPost")
	secret := out.Type != "MutualTLS" && out.Type != "ServiceAccountToken"
	if a.Audience != "" && secret && out.Type != "PrivateKeyJWT" {
		c.add(field+".audience", "belongs to MutualTLS, PrivateKeyJWT and ServiceAccountToken")
	}
	switch {
	case secret != (a.SecretRef != nil):
		c.add(field+".secretRef", "is needed for PrivateKeyJWT, ClientSecretBasic and ClientSecretPost, and only there")
	case secret && a.ClientID == "":
		c.add(field+".clientID", "is needed for PrivateKeyJWT, ClientSecretBasic and ClientSecretPost")
	case (a.Algorithm != "" || a.KeyID != "") && out.Type != "PrivateKeyJWT":
		c.add(field+".algorithm", "algorithm and keyID belong to PrivateKeyJWT")
	case secret:
		b, err := c.refs.secret(c.namespace, *a.SecretRef)
		if err != nil {
			c.add(field+".secretRef", "%v", err)
		}
		out.Secret = string(b)
	case out.Type == "ServiceAccountToken" && c.with.Account == nil && c.with.Dial != nil:
		c.add(field+".type", "there is no service account here")
	}
	return out
}

// server is an OAuth server, and how we speak to it.
type server struct {
	Place  place
	Client client
}

func (a *Authorities) oauth(s server) (*oauth.Client, error) {
	http, err := a.client(s.Place, s.Client.Type == "MutualTLS", maxTokenReply)
	if err != nil {
		return nil, err
	}
	auth, err := a.auth(s)
	if err != nil {
		return nil, err
	}
	return oauth.New(oauth.Options{Endpoint: http, Auth: auth, Now: a.now()})
}

// oauthServer looks up a server, and how it knows us. What goes through the mesh does not see our certificate: the ztunnel beside it
// does.
func (c *compiler) oauthServer(field string, e *v1alpha1.Endpoint, path string, a *v1alpha1.ClientAuthentication) server {
	s := server{c.placeOf(field+".endpoint", e, path), c.client(field+".clientAuthentication", a)}
	if s.Client.Type == "MutualTLS" && e.BackendRef != nil {
		c.add(field+".clientAuthentication", "must be another than MutualTLS with a backendRef: the service does not see the waypoint's certificate through the mesh")
	}
	return s
}

func (c *compiler) introspection(i *v1alpha1.Introspection) *oauth.Introspector {
	const field = "spec.introspection"
	s := struct {
		server
		CacheFor time.Duration
	}{c.oauthServer(field, &i.Endpoint, "/", &i.ClientAuthentication), 0}
	s.CacheFor = c.duration(field+".cacheFor", i.CacheFor, 30*time.Second, 0, 5*time.Minute)
	if len(c.problems) > 0 {
		return nil
	}
	v, err := keep(c.with, "introspection", s, func() (*oauth.Introspector, func(), error) {
		asked, err := c.with.oauth(s.server)
		if err != nil {
			return nil, nil, err
		}
		in, err := oauth.NewIntrospector(oauth.IntrospectorOptions{Client: asked, CacheFor: s.CacheFor, Now: c.with.now()})
		return in, func() {}, err
	})
	if err != nil {
		c.add(field, "%v", err)
	}
	return v
}

// external is the stage that asks a service which speaks ext_authz.
func (c *compiler) external(x *v1alpha1.ExternalAuthorization, when extauthz.Selector) policy.Stage {
	const field = "spec.externalAuthorization"
	host, port := c.backend(field+".backendRef", x.BackendRef)
	at := net.JoinHostPort(host, strconv.Itoa(int(port)))
	o := extauthz.Options{
		Policy: c.namespace + "/" + c.name, When: when, Timeout: c.duration(field+".timeout", x.Timeout, time.Second, 10*time.Millisecond, time.Minute),
		Arguments: c.oneOf(field+".arguments", x.Arguments, "None", "Digest", "Full"),
	}
	for i, h := range x.Headers {
		if !validField(string(h)) {
			c.add(fmt.Sprintf("%s.headers[%d]", field, i), "is not the name of a header")
		}
		o.Headers = append(o.Headers, string(h))
	}
	if len(c.problems) > 0 {
		return nil
	}
	conn, err := keep(c.with, "ext_authz", at, func() (*grpc.ClientConn, func(), error) {
		conn, err := grpc.NewClient("passthrough:///"+at, grpc.WithTransportCredentials(insecure.NewCredentials()), // the tunnel is what protects it
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return c.with.dial(ctx, host, port) }))
		if err != nil {
			return nil, nil, err
		}
		return conn, func() { _ = conn.Close() }, nil
	})
	if err != nil {
		c.add(field, "%v", err)
		return nil
	}
	o.Conn = conn
	stage, err := extauthz.New(o)
	if err != nil {
		c.add(field, "%v", err)
		return nil
	}
	return stage
}

// exchange is what the stage that trades tokens needs.
func (c *compiler) exchange(o *v1alpha1.TokenExchange) *exchange.Options {
	const field = "spec.exchange"
	x := o.Spec.Exchange
	s := c.oauthServer(field, &x.Endpoint, "/token", &x.ClientAuthentication)
	if len(x.Audiences) == 0 {
		c.add(field+".audiences", "must have at least one")
	}
	for i, scope := range x.Scopes {
		if !validScope(string(scope)) {
			c.add(fmt.Sprintf("%s.scopes[%d]", field, i), "is not a scope: printable characters without space, quote and backslash")
		}
	}
	name, prefix := string(x.Header.Name), x.Header.Prefix
	if name == "" {
		name, prefix = "Authorization", "Bearer "
	}
	if !validField(name) {
		c.add(field+".header.name", "is not the name of a header")
	}
	return c.exchangeStage(field, o, s, name, prefix)
}

// meshURL reads an http URL of a service of the mesh.
func meshURL(uri string) (host string, port uint16, err error) {
	u, err := url.Parse(uri)
	if err != nil || u.Scheme != "http" || u.Hostname() == "" || u.User != nil || u.Fragment != "" {
		return "", 0, fmt.Errorf("must be an https URL, or an http URL of a service of the mesh")
	}
	if !strings.Contains(u.Hostname(), ".svc.") && !strings.HasSuffix(u.Hostname(), ".svc") {
		return "", 0, fmt.Errorf("must be https unless it leads to a service of the mesh by its full name")
	}
	n := uint64(80)
	if u.Port() != "" {
		if n, err = strconv.ParseUint(u.Port(), 10, 16); err != nil || n == 0 {
			return "", 0, fmt.Errorf("has no valid port")
		}
	}
	return u.Hostname(), uint16(n), nil
}

// trader is a token service, and what it is asked for.
type trader struct {
	server
	Audiences, Resources, Scopes []string
	Subject, Requested           string
	Actor                        bool
	CacheFor                     time.Duration
}

func (c *compiler) exchangeStage(field string, o *v1alpha1.TokenExchange, s server, header, prefix string) *exchange.Options {
	x := o.Spec.Exchange
	t := trader{server: s, Audiences: x.Audiences, Resources: x.Resources}
	for _, scope := range x.Scopes {
		t.Scopes = append(t.Scopes, string(scope))
	}
	t.Subject = tokenType(c.oneOf(field+".subjectTokenType", x.SubjectTokenType, "JWT", "AccessToken", "IDToken"))
	t.Requested = tokenType(c.oneOf(field+".requestedTokenType", x.RequestedTokenType, "AccessToken", "JWT"))
	t.Actor = c.oneOf(field+".actor", x.Actor, "Caller", "None") == "Caller"
	t.CacheFor = c.duration(field+".cacheFor", x.CacheFor, 5*time.Minute, 0, 24*time.Hour)
	missing := c.oneOf(field+".onMissingToken", x.OnMissingToken, "Refuse", "Forward")
	failed := c.oneOf(field+".onFailure", x.OnFailure, "Refuse", "ForwardWithoutToken")
	if t.Actor && s.Client.Type != "MutualTLS" && s.Client.Type != "PrivateKeyJWT" {
		c.add(field+".actor", "Caller needs a key to vouch for the caller with: clientAuthentication has to be MutualTLS or PrivateKeyJWT")
	}
	if len(c.problems) > 0 {
		return nil
	}
	traded, err := keep(c.with, "exchange", t, func() (*oauth.Exchanger, func(), error) {
		e, err := c.with.exchanger(t)
		return e, func() {}, err
	})
	if err != nil {
		c.add(field, "%v", err)
		return nil
	}
	return &exchange.Options{
		Policy: o.Namespace + "/" + o.Name, Header: header, Prefix: prefix, Trade: trade(traded),
		ForwardMissing: missing == "Forward", ForwardFailed: failed == "ForwardWithoutToken",
	}
}

func tokenType(name string) string {
	switch name {
	case "JWT":
		return oauth.TypeJWT
	case "IDToken":
		return oauth.TypeIDToken
	}
	return oauth.TypeAccessToken
}

func (a *Authorities) exchanger(t trader) (*oauth.Exchanger, error) {
	client, err := a.oauth(t.server)
	if err != nil {
		return nil, err
	}
	o := oauth.ExchangerOptions{
		Client: client, CacheFor: t.CacheFor, Now: a.now(),
		Request: oauth.Request{SubjectType: t.Subject, RequestedType: t.Requested, Audiences: t.Audiences, Resources: t.Resources, Scopes: t.Scopes},
	}
	if t.Actor {
		o.Actor = func(caller identity.ID) (string, error) { return a.vouch(t.server, caller) }
	}
	return oauth.NewExchanger(o)
}

// vouch says to a token service who calls: in the name that it knows us by, with the key that it knows us by.
func (a *Authorities) vouch(s server, caller identity.ID) (string, error) {
	audience := s.Client.Audience
	if audience == "" {
		audience = s.Place.URL
	}
	if s.Client.Type == "PrivateKeyJWT" {
		key, err := oauth.ParseKey([]byte(s.Client.Secret))
		if err != nil {
			return "", err
		}
		return oauth.ActorAssertion(s.Client.ID, audience, caller, key, a.now()())
	}
	if a.Certificate == nil {
		return "", errors.New("there is no certificate")
	}
	own, err := a.Certificate()
	if err != nil {
		return "", err
	}
	id, err := identity.FromCertificate(own.Leaf)
	if err != nil {
		return "", err
	}
	return oauth.ActorAssertion(id.String(), audience, caller, own.PrivateKey, a.now()())
}

// trade turns what a token service says into a verdict. That it is away is nobody's fault; that it says no is.
func trade(x *oauth.Exchanger) exchange.Trade {
	return func(ctx context.Context, token string, claims *identity.Claims, caller identity.ID) (string, error) {
		var ends time.Time
		if claims != nil {
			ends = claims.Expiry
		}
		t, err := x.Trade(ctx, token, caller, ends)
		if said, ok := errors.AsType[*oauth.Error](err); ok && said.Code != "invalid_client" && said.Code != "unauthorized_client" {
			return "", &exchange.Refusal{Code: call.EntitlementDenied, Reason: said.Error()}
		}
		if err != nil {
			return "", &exchange.Refusal{Code: call.UpstreamUnavailable, Reason: err.Error()}
		}
		return t.Value, nil
	}
}

// auth is how an OAuth server knows us.
func (a *Authorities) auth(s server) (oauth.Auth, error) {
	c := s.Client
	switch c.Type {
	case "ClientSecretBasic":
		return oauth.SecretBasic(c.ID, c.Secret), nil
	case "ClientSecretPost":
		return oauth.SecretPost(c.ID, c.Secret), nil
	case "ServiceAccountToken":
		return oauth.ServiceAccountToken(c.ID, c.Audience, a.Account), nil
	case "PrivateKeyJWT":
		return oauth.PrivateKeyJWT(oauth.KeyOptions{ClientID: c.ID, PEM: []byte(c.Secret), Algorithm: c.Algorithm, KeyID: c.KeyID, Audience: c.Audience})
	}
	return oauth.MutualTLS(c.ID), nil
}
