// Command zitadel is an OpenID provider that nobody here wrote, github.com/zitadel/oidc with the server of its examples: it lets
// users in by its form, and trades tokens (RFC 8693). What is here says who its clients are and what they get; what it does with a
// request is its own. The users are the example's: id1, of whom tokens may be traded, and id2, of whom they may not.
package main

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

const (
	callback = "https://agent.example.com/callback"
	keyID    = "waypoint-1"
)

// client is one of the example's, and what is different about it.
type client struct {
	op.Client
	method oidc.AuthMethod
	grants []oidc.GrantType
	tokens op.AccessTokenType
	life   time.Duration // of what it gets for another token; 0 is the example's
}

func (c *client) AuthMethod() oidc.AuthMethod         { return c.method }
func (c *client) GrantTypes() []oidc.GrantType        { return c.grants }
func (c *client) AccessTokenType() op.AccessTokenType { return c.tokens }

// store is the example's.
type store struct {
	*storage.Storage
	clients map[string]client
	key     crypto.PublicKey // of the client that has no secret
}

func (s *store) GetClientByClientID(ctx context.Context, id string) (op.Client, error) {
	c, ok := s.clients[id]
	if !ok {
		return nil, errors.New("there is no such client")
	}
	var err error
	c.Client, err = s.Storage.GetClientByClientID(ctx, id)
	return &c, err
}

func (s *store) GetKeyByIDAndClientID(_ context.Context, key, client string) (*jose.JSONWebKey, error) {
	if key != keyID || client != "waypoint-key" {
		return nil, errors.New("there is no such key")
	}
	return &jose.JSONWebKey{KeyID: keyID, Use: "sig", Key: s.key}, nil
}

func (s *store) CreateAccessToken(ctx context.Context, r op.TokenRequest) (string, time.Time, error) {
	id, ends, err := s.Storage.CreateAccessToken(ctx, r)
	if x, ok := r.(op.TokenExchangeRequest); ok {
		if life := s.clients[x.GetClientID()].life; life > 0 {
			ends = time.Now().Add(life)
		}
	}
	return id, ends, err
}

func main() {
	issuer := flag.String("issuer", "", "what the provider calls itself")
	file := flag.String("key", "", "the file of the public key of the client waypoint-key")
	secret := flag.String("secret", "", "of the clients that have one")
	provider := flag.Bool("provider", false, "serve by op.Provider itself, and not by op.LegacyServer")
	flag.Parse()
	b, err := os.ReadFile(*file)
	if err != nil {
		log.Fatal(err)
	}
	block, _ := pem.Decode(b)
	if block == nil {
		log.Fatal("the key is no PEM")
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		log.Fatal(err)
	}

	login := []oidc.GrantType{oidc.GrantTypeCode}
	trade := []oidc.GrantType{oidc.GrantTypeTokenExchange}
	s := &store{
		Storage: storage.NewStorage(storage.NewUserStore(*issuer)), key: key,
		clients: map[string]client{
			"agent":           {method: oidc.AuthMethodBasic, grants: login, tokens: op.AccessTokenTypeJWT},
			"agent-opaque":    {method: oidc.AuthMethodBasic, grants: login, tokens: op.AccessTokenTypeBearer},
			"tools":           {method: oidc.AuthMethodBasic},
			"waypoint-basic":  {method: oidc.AuthMethodBasic, grants: trade, tokens: op.AccessTokenTypeJWT},
			"waypoint-post":   {method: oidc.AuthMethodPost, grants: trade, tokens: op.AccessTokenTypeJWT},
			"waypoint-key":    {method: oidc.AuthMethodPrivateKeyJWT, grants: trade, tokens: op.AccessTokenTypeJWT},
			"waypoint-opaque": {method: oidc.AuthMethodBasic, grants: trade, tokens: op.AccessTokenTypeBearer},
			"waypoint-brief":  {method: oidc.AuthMethodBasic, grants: trade, tokens: op.AccessTokenTypeJWT, life: 14 * time.Second},
			"waypoint-once":   {method: oidc.AuthMethodBasic, grants: trade, tokens: op.AccessTokenTypeJWT, life: 9 * time.Second},
			"waypoint-none":   {method: oidc.AuthMethodBasic, grants: login, tokens: op.AccessTokenTypeJWT},
		},
	}
	for id := range s.clients {
		storage.RegisterClients(storage.WebClient(id, *secret, callback))
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("serves at %s;\n", l.Addr())
	log.Fatal(http.Serve(l, exampleop.SetupServer(*issuer, s, nil, !*provider)))
}
