package crds_test

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os"
	"testing"
	"time"

	"waymark.dev/waypoint/e2e/testbed"
)

const root = testbed.Root

// The administrator of the testbed.
const (
	token         = testbed.AdminToken
	administrator = testbed.Admin
)

// server is an API server with nothing in it.
type server struct {
	url        string
	client     *http.Client
	programs   string // the directory of etcd, kube-apiserver and kubectl
	kubeconfig string
}

// start runs an API server until the test ends.
func start(t *testing.T) *server {
	t.Helper()
	k := testbed.StartKubernetes(t)
	pem, err := os.ReadFile(k.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		t.Fatalf("%s has no certificate", k.CAFile)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}, Timeout: time.Minute}
	t.Cleanup(client.CloseIdleConnections)
	return &server{url: k.URL, client: client, programs: k.Bin, kubeconfig: k.Kubeconfig}
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
