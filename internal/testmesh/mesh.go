package testmesh

import (
	"errors"
	"io"
	"sync"
	"time"

	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/identity/certs"
	"waymark.dev/waypoint/pkg/identity/certs/certstest"
)

// validity is how long certificates last.
const validity = 20 * time.Hour

// Mesh is one trust domain and everything started in it. It is safe for concurrent use.
type Mesh struct {
	domain identity.TrustDomain
	ca     *certstest.CA

	mu     sync.Mutex
	closed bool
	parts  []io.Closer // in the order they were started
}

// New returns an empty mesh with a certificate authority of its own.
func New(td identity.TrustDomain) *Mesh {
	return &Mesh{domain: td, ca: certstest.NewCA(td)}
}

// TrustDomain returns the trust domain.
func (m *Mesh) TrustDomain() identity.TrustDomain { return m.domain }

// CA returns the certificate authority, for tests which need certificates of their own.
func (m *Mesh) CA() *certstest.CA { return m.ca }

// ID names the workload that runs under a service account of this mesh. It panics on names that SPIFFE does not allow:
// they are constants of tests and of the demo.
func (m *Mesh) ID(namespace, account string) identity.ID {
	id, err := identity.ForServiceAccount(m.domain, namespace, account)
	if err != nil {
		panic(err)
	}
	return id
}

// Certificates issues a certificate for id and returns it as a source that never rotates.
func (m *Mesh) Certificates(id identity.ID) certs.Source {
	return certs.Static(m.ca.Issue(id, lasting()))
}

// WriteCertificates issues a certificate for id and writes it with its key and the root into dir, as Istio names them.
// The key is for its owner only.
func (m *Mesh) WriteCertificates(dir string, id identity.ID) error {
	return m.ca.WriteFiles(dir, id, lasting())
}

// lasting makes a certificate good for as long as anybody keeps a mesh up. Nothing here rotates, and an hour, which is
// what the CA gives by itself, is shorter than an afternoon with the demo. The root is valid for a day.
func lasting() certstest.Option {
	return certstest.WithValidity(time.Now().Add(-time.Minute), time.Now().Add(validity))
}

// trust accepts every workload of the mesh.
func (m *Mesh) trust() identity.Matcher { return identity.MatchTrustDomains(m.domain) }

// keep remembers a part for Close; a part that comes after Close is closed at once.
func (m *Mesh) keep(c io.Closer) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return errors.Join(errors.New("testmesh: the mesh is closed"), c.Close())
	}
	m.parts = append(m.parts, c)
	return nil
}

// Close ends every part, last started first, and waits for their goroutines. It may be called twice.
func (m *Mesh) Close() error {
	m.mu.Lock()
	parts := m.parts
	m.parts, m.closed = nil, true
	m.mu.Unlock()
	var errs []error
	for i := len(parts) - 1; i >= 0; i-- {
		errs = append(errs, parts[i].Close())
	}
	return errors.Join(errs...)
}
