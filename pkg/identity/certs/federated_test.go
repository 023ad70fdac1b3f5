package certs_test

import (
	"crypto/x509"
	"strings"
	"testing"

	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/identity/certs"
	"waymark.dev/waypoint/pkg/identity/certs/certstest"
)

// The roots of a federated trust domain vouch for its identities only, and ours do not vouch for them; the roots of a
// mesh with aliases vouch for all of its names.
func TestWhoVouchesForWhom(t *testing.T) {
	friends := identity.RequireTrustDomain("friends.example")
	alias := identity.RequireTrustDomain("old.local")
	own, theirs := certstest.NewCA(td), certstest.NewCA(friends)
	friend := identity.RequireID("spiffe://friends.example/ns/bank/sa/teller")
	former := identity.RequireID("spiffe://old.local/ns/bank/sa/teller")
	all := identity.MatchTrustDomains(td, friends, alias)

	material := func() *certs.Material {
		m, err := certs.NewMaterial(own.Issue(serverID).Certificate, []*x509.Certificate{own.Certificate()})
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	federated := material()
	federated.Federate(friends, []*x509.Certificate{theirs.Certificate()})

	const unknown = "certificate signed by unknown authority"
	for _, tt := range []struct {
		name  string
		own   *certs.Material
		trust identity.Matcher
		peer  *certs.Material
		want  string // "" if the peer gets in
	}{
		{"ours", federated, all, own.Issue(clientID), ""},
		{"theirs", federated, all, theirs.Issue(friend), ""},
		{"theirs, and nobody said that they are trusted", federated, trust, theirs.Issue(friend), `trust domain "friends.example" is not trusted`},
		{"they say they are ours", federated, all, theirs.Issue(clientID), unknown},
		{"we say we are theirs", federated, all, own.Issue(friend), unknown},
		{"an alias from our CA", federated, all, own.Issue(former), ""},
		{"an alias from their CA", federated, all, theirs.Issue(former), unknown},
		{"an alias from our CA, nothing federated", material(), all, own.Issue(former), ""},
		{"theirs, nothing federated", material(), all, theirs.Issue(friend), unknown},
	} {
		anybody := certs.ClientConfig(certs.Static(tt.peer), all)
		anybody.VerifyConnection = nil
		err, _ := shake(t, certs.ServerConfig(certs.Static(tt.own), tt.trust), anybody)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: as a client: %v, want %q", tt.name, err, tt.want)
		}
		lenient := certs.ServerConfig(certs.Static(trusting(tt.peer, tt.own, own)), all)
		_, err = shake(t, lenient, certs.ClientConfig(certs.Static(tt.own), tt.trust))
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: as a server: %v, want %q", tt.name, err, tt.want)
		}
	}
}

// trusting is the peer's material, made to trust us.
func trusting(peer, us *certs.Material, ca *certstest.CA) *certs.Material {
	return &certs.Material{ID: peer.ID, Certificate: peer.Certificate, Roots: ca.Roots(), Federated: us.Federated}
}
