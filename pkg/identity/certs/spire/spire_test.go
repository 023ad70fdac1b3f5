package spire_test

import (
	"crypto/tls"
	"encoding/base64"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/identity/certs"
	"waymark.dev/waypoint/pkg/identity/certs/certstest"
	"waymark.dev/waypoint/pkg/identity/certs/spire"
)

// handshake is one between a server with our material and a client, when these trust domains are accepted.
func handshake(t *testing.T, own *certs.Material, peer *certs.Material, trust ...identity.TrustDomain) error {
	t.Helper()
	match := identity.MatchTrustDomains(trust...)
	a, b := net.Pipe()
	client := certs.ClientConfig(certs.Static(peer), match)
	client.VerifyConnection = nil // whether the peer trusts us is not the question
	s, c := tls.Server(a, certs.ServerConfig(certs.Static(own), match)), tls.Client(b, client)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if c.Handshake() == nil {
			c.Read(make([]byte, 1))
		}
		b.Close()
	}()
	err := s.Handshake()
	a.Close()
	<-done
	return err
}

func TestSource(t *testing.T) {
	ca, friend := certstest.NewCA(td), certstest.NewCA(friends)
	stranger := certstest.NewCA(identity.RequireTrustDomain("strangers.example"))
	a := newAPI(t)
	defer a.serve(t)()
	first := answer(svid(t, ca.Intermediate("spire"), ours, ""), svid(t, ca, other, ""))
	first.FederatedBundles["spiffe://friends.example"] = friend.Certificate().Raw
	first.FederatedBundles["spiffe://strangers.example"] = stranger.Certificate().Raw
	a.send(nil, first)
	s, logged, stop := start(t, a, spire.Options{Federated: []identity.TrustDomain{friends, td}})
	m := ready(t, s)

	if m.ID != ours || len(m.Certificate.Certificate) != 2 || m.Certificate.Leaf == nil {
		t.Errorf("got %s with %d certificates, want the first identity with its intermediate", m.ID, len(m.Certificate.Certificate))
	}
	if len(m.Federated) != 1 || len(m.Authorities) != 2 {
		t.Errorf("%d federated trust domains and %d roots, want one and two", len(m.Federated), len(m.Authorities))
	}
	all := []identity.TrustDomain{td, friends, stranger.TrustDomain()}
	id := func(domain identity.TrustDomain) identity.ID {
		return identity.RequireID("spiffe://" + domain.String() + "/ns/bank/sa/teller")
	}
	for _, tt := range []struct {
		name string
		peer *certs.Material
		want bool
	}{
		{"ours", ca.Issue(other), true},
		{"federated", friend.Issue(id(friends)), true},
		{"federated, but not by us", stranger.Issue(id(stranger.TrustDomain())), false},
		{"federated, in our name", friend.Issue(other), false},
		{"ours, in a federated name", ca.Issue(id(friends)), false},
	} {
		if err := handshake(t, m, tt.peer, all...); (err == nil) != tt.want {
			t.Errorf("%s: %v, want to get in: %v", tt.name, err, tt.want)
		}
	}

	// An update replaces everything: identity, roots, federation.
	next := certstest.NewCA(td)
	a.send(nil, answer(svid(t, next, ours, "")))
	eventually(t, "the update", func() bool { now, err := s.Current(); return err == nil && now != m })
	now, _ := s.Current()
	for _, tt := range []struct {
		name string
		peer *certs.Material
		want bool
	}{
		{"the new root", next.Issue(other), true},
		{"the old root", ca.Issue(other), false},
		{"not federated any more", friend.Issue(id(friends)), false},
	} {
		if err := handshake(t, now, tt.peer, all...); (err == nil) != tt.want {
			t.Errorf("after the update: %s: %v, want to get in: %v", tt.name, err, tt.want)
		}
	}
	if st := s.Status(); st.ID != ours || st.Err != nil || st.NotAfter != now.Certificate.Leaf.NotAfter || time.Since(st.Updated) > time.Minute {
		t.Errorf("status %+v", st)
	}
	stop()
	if !strings.Contains(logged.String(), `the Workload API sent no roots of a federated trust domain" "trust domain"=friends.example`) {
		t.Errorf("nothing is said of the missing roots:\n%s", logged)
	}
	key := base64.StdEncoding.EncodeToString(first.Svids[0].X509SvidKey)[40:80]
	if strings.Contains(logged.String(), key) || strings.Contains(logged.String(), "PRIVATE") {
		t.Errorf("the key is in the log:\n%s", logged)
	}
}

// Which identity is taken, of several.
func TestChoice(t *testing.T) {
	ca := certstest.NewCA(td)
	a := newAPI(t)
	defer a.serve(t)()
	a.send(nil, answer(svid(t, ca, ours, "internal"), svid(t, ca, other, "external")))
	for _, tt := range []struct {
		name string
		o    spire.Options
		want identity.ID
		err  string
	}{
		{"the default one", spire.Options{}, ours, ""},
		{"by identity", spire.Options{ID: other}, other, ""},
		{"by hint", spire.Options{Hint: "external"}, other, ""},
		{"by both", spire.Options{ID: other, Hint: "external"}, other, ""},
		{"an identity that is not there", spire.Options{ID: identity.RequireID("spiffe://cluster.local/x")}, identity.ID{},
			`certs: not ready: spire: none of 2 identities is "spiffe://cluster.local/x"`},
		{"a hint that is not there", spire.Options{Hint: "other"}, identity.ID{}, `certs: not ready: spire: none of 2 identities is hinted at by "other"`},
		{"both, not together", spire.Options{ID: ours, Hint: "external"}, identity.ID{},
			`certs: not ready: spire: none of 2 identities is "spiffe://cluster.local/ns/bank/sa/agents" and hinted at by "external"`},
	} {
		s, _, stop := start(t, a, tt.o)
		eventually(t, tt.name, func() bool { st := s.Status(); return st.Err != nil || !st.ID.IsZero() })
		m, err := s.Current()
		stop()
		switch {
		case tt.err != "":
			if m != nil || !errors.Is(err, certs.ErrNotReady) || err.Error() != tt.err {
				t.Errorf("%s: %v\n got %v\nwant %s", tt.name, m, err, tt.err)
			}
		case err != nil || m.ID != tt.want:
			t.Errorf("%s: got %v, %v, want %s", tt.name, m, err, tt.want)
		}
	}
}

// What the API may send that cannot be used, each with one thing wrong. At the start the source is not ready, and later it
// keeps what it has.
func TestAnswersThatAreRefused(t *testing.T) {
	ca := certstest.NewCA(td)
	spoilt := func(spoil func(*workload.X509SVID)) *workload.X509SVIDResponse {
		v := svid(t, ca, ours, "")
		spoil(v)
		return answer(v)
	}
	past := certstest.WithValidity(time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour))
	for _, tt := range []struct {
		name, want string
		answer     *workload.X509SVIDResponse
		fail       error
	}{
		{"nothing", "no SVIDs in response", answer(), nil},
		{"no certificate", "", spoilt(func(v *workload.X509SVID) { v.X509Svid = nil }), nil},
		{"a broken certificate", "", spoilt(func(v *workload.X509SVID) { v.X509Svid[20] ^= 0xff }), nil},
		{"no key", "", spoilt(func(v *workload.X509SVID) { v.X509SvidKey = nil }), nil},
		{"another key", "", spoilt(func(v *workload.X509SVID) { v.X509SvidKey = svid(t, ca, ours, "").X509SvidKey }), nil},
		{"no roots", "the roots of cluster.local are none", spoilt(func(v *workload.X509SVID) { v.Bundle = nil }), nil},
		{"other roots", "certificate signed by unknown authority", spoilt(func(v *workload.X509SVID) { v.Bundle = certstest.NewCA(td).Certificate().Raw }), nil},
		{"expired", "certificate has expired or is not yet valid", answer(svid(t, ca, ours, "", past)), nil},
		{"denied", "code = PermissionDenied desc = no identity issued", nil, status.Error(codes.PermissionDenied, "no identity issued")},
		{"cancelled", "code = Canceled", nil, status.Error(codes.Canceled, "going away")},
		{"invalid argument", "code = InvalidArgument", nil, status.Error(codes.InvalidArgument, "what?")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a := newAPI(t)
			a.serve(t)
			good, _, stopGood := start(t, a, spire.Options{})
			defer stopGood()
			a.send(nil, answer(svid(t, ca, ours, "")))
			before := ready(t, good)
			a.send(tt.fail, tt.answer)

			fresh, _, stopFresh := start(t, a, spire.Options{})
			defer stopFresh()
			eventually(t, "a problem at the start", func() bool { return fresh.Status().Err != nil })
			if m, err := fresh.Current(); m != nil || !errors.Is(err, certs.ErrNotReady) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("at the start: %v, %v, want not ready because of %q", m, err, tt.want)
			}
			eventually(t, "a problem later", func() bool { return good.Status().Err != nil })
			if m, err := good.Current(); err != nil || m != before || !strings.Contains(good.Status().Err.Error(), tt.want) {
				t.Errorf("after a good one: same material: %v, %v; the status says %v", m == before, err, good.Status().Err)
			}

			// Whatever it was, it can be put right without a restart.
			a.send(nil, answer(svid(t, ca, ours, "")))
			eventually(t, "the start after all", func() bool { m, err := fresh.Current(); return err == nil && m.ID == ours })
			eventually(t, "something new", func() bool { m, err := good.Current(); return err == nil && m != before && good.Status().Err == nil })
		})
	}
}

// The API is away at the start, comes, goes and comes back. What is in use serves until its certificate expires.
func TestAPIThatIsAway(t *testing.T) {
	ca := certstest.NewCA(td)
	a := newAPI(t)
	s, _, _ := start(t, a, spire.Options{})
	eventually(t, "a problem", func() bool { return s.Status().Err != nil })
	if m, err := s.Current(); m != nil || !errors.Is(err, certs.ErrNotReady) || !strings.Contains(err.Error(), "no such file or directory") {
		t.Errorf("at the start: %v, %v", m, err)
	}
	end := time.Now().Add(4 * time.Second)
	a.send(nil, answer(svid(t, ca, ours, "", certstest.WithValidity(time.Now().Add(-time.Hour), end))))
	stop := a.serve(t)
	first := ready(t, s)
	stop()
	eventually(t, "the loss", func() bool { return s.Status().Err != nil })
	if m, err := s.Current(); time.Now().Before(first.Certificate.Leaf.NotAfter) && (m != first || err != nil) {
		t.Errorf("while it is away: %v, %v", m, err)
	}
	eventually(t, "the end", func() bool { _, err := s.Current(); return err != nil })
	if m, err := s.Current(); m != nil || !errors.Is(err, certs.ErrNotReady) || !strings.Contains(err.Error(), "our certificate expired at") ||
		!strings.Contains(err.Error(), "there is no newer one: spire: ") || time.Now().Before(first.Certificate.Leaf.NotAfter) {
		t.Errorf("after the end: %v, %v", m, err)
	}
	a.send(nil, answer(svid(t, ca, ours, "")))
	a.serve(t)
	if m := ready(t, s); m.ID != ours || s.Status().Err != nil {
		t.Errorf("back again: %v, %v", m, s.Status().Err)
	}
}

func TestOptions(t *testing.T) {
	for socket, want := range map[string]string{
		"":                          "",
		"unix:///run/x.sock":        "",
		"/run/x.sock":               `spire: socket "/run/x.sock" is not of the form unix:///path`,
		"unix:run/x.sock":           `spire: socket "unix:run/x.sock" is not of the form unix:///path`,
		"tcp://127.0.0.1:80":        `spire: socket "tcp://127.0.0.1:80" is not of the form unix:///path`,
		"unix:///run/x.sock?mode=1": `spire: socket "unix:///run/x.sock?mode=1": workload endpoint unix socket URI must not include query values`,
	} {
		s, err := spire.New(spire.Options{Socket: socket})
		if (s == nil) == (want == "") || err != nil && err.Error() != want {
			t.Errorf("%q: got %v, want %q", socket, err, want)
		}
	}
	if _, err := spire.New(spire.Options{Federated: []identity.TrustDomain{{}}}); err == nil || err.Error() != "spire: a federated trust domain has no name" {
		t.Errorf("a trust domain without a name: %v", err)
	}
	s, err := spire.New(spire.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Current(); !errors.Is(err, certs.ErrNotReady) || err.Error() != "certs: not ready: spire: the Workload API has sent nothing yet" {
		t.Errorf("before Run: %v", err)
	}
}
