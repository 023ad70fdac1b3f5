package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"waymark.dev/waypoint/internal/testmesh"
	"waymark.dev/waypoint/pkg/config"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/identity/jwks"
	"waymark.dev/waypoint/pkg/identity/jwks/jwkstest"
	"waymark.dev/waypoint/pkg/oauth"
	"waymark.dev/waypoint/pkg/sts"
)

// What examples/obo-chain calls things.
const (
	storyVIP      = "10.96.2.1:3000"
	storyURL      = "http://company-mcp.tools:3000/mcp"
	storyAudience = "http://company-mcp.tools:3000"
	storyIssuer   = "https://sts.example.com"
	storyUsers    = "https://idp.example.com"
)

// story is alice, who asks Butler, who asks Coach, who calls the company's tools: examples/obo-chain with the token service of the
// product and a small identity provider.
type story struct {
	dir      string
	mesh     *testmesh.Mesh
	waypoint *testmesh.Waypoint
	users    *jwkstest.Key
	verifier *jwks.Verifier
	service  string // where the token service is, over mutual TLS
	servers  []*http.Server
	clients  []*http.Client
}

func newStory(ctx context.Context, example string, log *slog.Logger) (_ *story, err error) {
	s := &story{mesh: testmesh.New(identity.RequireTrustDomain(trustDomain)), users: jwkstest.NewKey()}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if s.dir, err = os.MkdirTemp("", "waymark-demo-"); err != nil {
		return nil, err
	}
	service, err := s.newService(example)
	if err != nil {
		return nil, err
	}
	at := map[string]testmesh.Placement{}
	if at["sts"], err = s.place("identity", "sts", service); err != nil {
		return nil, err
	}
	if at["company-mcp"], err = s.place("tools", "company-mcp", http.HandlerFunc(plan)); err != nil {
		return nil, err
	}
	if err = testmesh.CopyConfig(example, s.dir, at); err != nil {
		return nil, err
	}
	s.waypoint, err = s.mesh.Waypoint(ctx, testmesh.WaypointConfig{ID: s.mesh.ID("tools", "agents"), Dir: s.dir, Log: log})
	return s, err
}

// plan is a tool server without sessions that has one tool.
func plan(w http.ResponseWriter, r *http.Request) {
	var m struct {
		ID int `json:"id"`
	}
	_ = json.UnmarshalRead(io.LimitReader(r.Body, 64<<10), &m)
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%d,"result":{"content":[{"type":"text","text":"three runs a week"}]}}`, m.ID)
}

// newService is the token service, with the grants of the example.
func (s *story) newService(example string) (*sts.Server, error) {
	var err error
	s.verifier, err = jwks.New(jwks.Options{Issuers: []jwks.Issuer{{
		Issuer: storyUsers, AnyAudience: "the token service judges it", Algorithms: []string{"ES256"},
		Keys: jwks.Keys{Inline: s.users.Set()},
	}}})
	if err != nil {
		return nil, err
	}
	c, problems := config.LoadObjects(example)
	if len(problems) > 0 {
		return nil, problems
	}
	grants, faults := sts.CompileGrants(c.Exchanges)
	if len(faults) > 0 {
		return nil, errors.New(strings.Join(faults, "\n"))
	}
	keys, err := sts.GenerateKeys(24*time.Hour, 10*time.Minute, time.Now)
	if err != nil {
		return nil, err
	}
	service, err := sts.New(sts.Options{
		Issuer: storyIssuer, Keys: keys, Grants: func() []*sts.Grant { return grants }, Subjects: s.verifier, ByAccount: true, Audit: func(sts.Record) {},
	})
	if err != nil {
		return nil, err
	}
	m, err := s.mesh.Certificates(s.mesh.ID("identity", "sts")).Current()
	if err != nil {
		return nil, err
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{m.Certificate}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: m.Roots,
	})
	if err != nil {
		return nil, err
	}
	s.service = "https://" + l.Addr().String()
	s.serve(l, service)
	return service, nil
}

func (s *story) serve(l net.Listener, h http.Handler) {
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	s.servers = append(s.servers, server)
	go server.Serve(l) // ends with Close
}

// place runs a workload with the stand-in for a ztunnel beside it.
func (s *story) place(namespace, name string, h http.Handler) (at testmesh.Placement, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return at, err
	}
	s.serve(l, h)
	at.App = l.Addr().(*net.TCPAddr).AddrPort()
	in, err := s.mesh.Inbound(testmesh.InboundConfig{Workload: s.mesh.ID(namespace, name), App: at.App})
	if err == nil {
		at.Tunnel = in.Addr()
	}
	return at, err
}

// steps is the story, and what becomes of those who leave something out.
func (s *story) steps() []step {
	var alice, coachs, whole, short string
	return []step{
		s.trade("agent-butler", "trade alice's token", &alice, func() string {
			return s.token("agent-butler")
		}, "agent-coach", &coachs),
		s.trade("agent-coach", "trade Butler's token", &coachs, nil, storyAudience, &whole),
		s.plan("agent-coach", "plan_training", &whole, allowed, ""),
		s.trade("agent-coach", "trade alice's, directly", &alice, func() string { return s.token("agent-coach") }, storyAudience, &short),
		s.plan("agent-coach", "plan_training", &short, denied, "chain_invalid"),
		s.plan("thief", "use Coach's token", &whole, denied, "chain_unbound"),
	}
}

// token is what alice's identity provider gives out for an agent that she asks.
func (s *story) token(agent string) string {
	return s.users.Sign(map[string]any{
		"iss": storyUsers, "sub": "alice", "aud": agent, "scope": "training", "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
		"may_act": map[string]string{"sub": agent},
	})
}

// trade is an exchange at the token service, as a workload. made makes the token that is traded; nil takes what is in subject.
func (s *story) trade(account, label string, subject *string, made func() string, audience string, to *string) step {
	return step{caller: account, call: label, want: allowed, do: func(ctx context.Context) (seen, error) {
		if made != nil {
			*subject = made()
		}
		form := url.Values{"grant_type": {oauth.GrantExchange}, "subject_token": {*subject}, "subject_token_type": {oauth.TypeJWT}, "audience": {audience}}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.service+"/token", strings.NewReader(form.Encode()))
		if err != nil {
			return seen{}, err
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		c, err := s.mutual(account)
		if err != nil {
			return seen{}, err
		}
		res, err := c.Do(req)
		if err != nil {
			return seen{}, err
		}
		defer res.Body.Close()
		var a struct {
			Token string `json:"access_token"`
			Error string `json:"error"`
		}
		if err := json.UnmarshalRead(io.LimitReader(res.Body, 64<<10), &a); err != nil {
			return seen{}, err
		}
		if *to = a.Token; a.Token == "" {
			return seen{verdict: denied, text: "the token service says " + a.Error}, nil
		}
		return seen{verdict: allowed, text: "the token service gives a token for " + audience}, nil
	}}
}

// mutual is a client that shows the certificate of a workload, and accepts only the token service.
func (s *story) mutual(account string) (*http.Client, error) {
	m, err := s.mesh.Certificates(s.mesh.ID("agents", account)).Current()
	if err != nil {
		return nil, err
	}
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{m.Certificate},
		InsecureSkipVerify: true, // identities of a mesh are no DNS names: what is verified instead follows
		VerifyConnection: func(state tls.ConnectionState) error {
			leaf := state.PeerCertificates[0]
			if _, err := leaf.Verify(x509.VerifyOptions{Roots: m.Roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}); err != nil {
				return err
			}
			id, err := identity.FromCertificate(leaf)
			if err != nil || id != s.mesh.ID("identity", "sts") {
				return errors.New("this is not the token service")
			}
			return nil
		},
	}}}
	return c, nil
}

// plan calls the company's tool through the mesh, as a workload, with a token.
func (s *story) plan(account, label string, token *string, want verdict, code string) step {
	id := s.mesh.ID("agents", account)
	return step{
		caller: account, call: label, want: want,
		record: func(r testmesh.Record) bool { return r.Caller == id.String() && r.Code == code },
		do: func(ctx context.Context) (seen, error) {
			out, err := s.mesh.Outbound(testmesh.OutboundConfig{
				Caller: id, Waypoint: s.waypoint.Addr(), Expect: []identity.ID{s.waypoint.ID()}, Authority: netip.MustParseAddrPort(storyVIP).String(),
			})
			if err != nil {
				return seen{}, err
			}
			c := out.HTTPClient()
			s.clients = append(s.clients, c)
			const body = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"plan_training","arguments":{}}}`
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, storyURL, strings.NewReader(body))
			if err != nil {
				return seen{}, err
			}
			req.Header.Set("Content-Type", "application/json")
			req.Header.Set("Accept", "application/json, text/event-stream")
			req.Header.Set("Mcp-Protocol-Version", "2025-06-18")
			req.Header.Set("Authorization", "Bearer "+*token)
			res, err := c.Do(req)
			if err != nil {
				return seen{}, err
			}
			defer res.Body.Close()
			answer, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
			if err != nil {
				return seen{}, err
			}
			if bytes.Contains(answer, []byte("three runs a week")) {
				return seen{verdict: allowed}, nil
			}
			if res.StatusCode == http.StatusOK {
				return seen{verdict: denied}, nil
			}
			return seen{verdict: refused}, nil
		},
	}
}

// play tells the story and says how many calls came out wrong.
func (s *story) play(ctx context.Context, stdout io.Writer) (wrong int, err error) {
	fmt.Fprint(stdout, "\nalice asks Butler, Butler asks Coach, Coach calls company-mcp (examples/obo-chain)\n\n")
	t := &table{out: stdout, colour: terminal(stdout)}
	if err := t.head(); err != nil {
		return 0, err
	}
	steps := s.steps()
	for _, st := range steps {
		r := s.judge(ctx, st)
		if r.wrong != "" {
			wrong++
		}
		if err := t.row(r); err != nil {
			return wrong, err
		}
	}
	fmt.Fprintf(stdout, "\n%d calls, %d as expected, %d not\n", len(steps), len(steps)-wrong, wrong)
	return wrong, nil
}

func (s *story) judge(ctx context.Context, st step) row {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	mark, start := s.waypoint.Audit().Len(), time.Now()
	got, err := st.do(ctx)
	r := row{caller: st.caller, call: st.call, verdict: got.verdict, reason: got.text, took: time.Since(start)}
	if err != nil {
		r.verdict, r.wrong, r.reason = "error", "want "+string(st.want), err.Error()
		return r
	}
	if st.record == nil {
		r.wrong = wrongVerdict(st, got)
		return r
	}
	rec, err := s.waypoint.Audit().Find(ctx, mark, st.record)
	if err != nil {
		r.wrong = err.Error()
		return r
	}
	r.reason = reason(got, rec)
	if rec.Code != "" {
		r.reason = rec.Code + "; " + rec.Reason
	}
	r.wrong = wrongVerdict(st, got)
	return r
}

// close ends everything. It may be called on a story that never fully started.
func (s *story) close() error {
	var errs []error
	for _, c := range s.clients {
		c.CloseIdleConnections()
	}
	errs = append(errs, s.mesh.Close())
	for _, server := range s.servers {
		errs = append(errs, server.Close())
	}
	if s.verifier != nil {
		s.verifier.Close()
	}
	if s.dir != "" {
		errs = append(errs, os.RemoveAll(s.dir))
	}
	return errors.Join(errs...)
}

// tell runs the story beside the demo's own world.
func tell(ctx context.Context, stdout io.Writer, log *slog.Logger) (wrong int, err error) {
	example, err := find(filepath.Join("examples", "obo-chain"))
	if err != nil {
		return 0, err
	}
	s, err := newStory(ctx, example, log)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	return s.play(ctx, stdout)
}
