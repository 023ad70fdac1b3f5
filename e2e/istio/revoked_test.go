package istio_test

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// revocation takes a caller's certificate back while it has a tunnel open: the tunnel is closed, and no other is accepted.
func revocation(t *testing.T, w *world) {
	p := w.newPlace(t, "revoked", "service")
	vip := p.service(t, nil)
	p.startBackend(t, "mcp-0", false)
	way := p.startWaypoint(t, "agents-0")
	p.serve(t, "mcp", way)
	web := vip + ":80"
	good, bad := p.caller(t, "teller", way), p.caller(t, "intern", way)
	p.attached(t, good, web)
	p.attached(t, bad, web)
	open, err := bad.dial(t.Context(), web)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	l := good.start(t, web, 4, 5*time.Millisecond)
	material, err := bad.source.Current()
	if err != nil {
		t.Fatal(err)
	}
	list, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number: big.NewInt(1), ThisUpdate: time.Now().Add(-time.Minute), NextUpdate: time.Now().Add(time.Hour),
		RevokedCertificateEntries: []x509.RevocationListEntry{{SerialNumber: material.Certificate.Leaf.SerialNumber, RevocationTime: time.Now()}},
	}, w.root.intermediate, w.root.key)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: list})
	if err := os.WriteFile(filepath.Join(w.plugged, "ca-crl.pem"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	w.mountCRL(t, p.ns, way, text)
	_ = open.SetReadDeadline(time.Now().Add(patience))
	if _, err := open.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the open tunnel of the revoked caller: read %v", err)
	}
	t.Logf("figures: the open tunnel of the revoked caller was closed after %s", time.Since(began).Round(time.Millisecond))
	w.await(t, "the revoked caller is refused", func() error {
		if got, err := bad.get(t, web, "/"); err == nil {
			return fmt.Errorf("status %d", got)
		}
		return nil
	})
	l.stop()
	t.Logf("figures: beside it: %s", l)
	if l.failed.Load() > 0 {
		t.Error("requests of others failed")
	}
	if got, err := good.get(t, web, "/"); got != http.StatusOK {
		t.Errorf("another caller: %d, %v", got, err)
	}
}

// mountCRL waits until istiod has published the list, and mounts it as a kubelet would.
func (w *world) mountCRL(t *testing.T, ns string, way *waypoint, want []byte) {
	t.Helper()
	w.await(t, "istiod publishes the revocation list", func() error {
		got, err := w.k.TryKubectl("-n", ns, "get", "configmap", "istio-ca-crl", "-o", `jsonpath={.data.ca-crl\.pem}`)
		if err != nil {
			return err
		}
		if !strings.Contains(got, strings.TrimSpace(string(want))) {
			return fmt.Errorf("the ConfigMap istio-ca-crl has %d bytes", len(got))
		}
		next := way.crl() + ".next"
		if err := os.WriteFile(next, []byte(got), 0o600); err != nil {
			return err
		}
		return os.Rename(next, way.crl())
	})
}
