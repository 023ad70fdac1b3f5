package testbed

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// IstiodOptions say what is particular about an istiod.
type IstiodOptions struct {
	Mesh string   // meshConfig, YAML; "" is the trust domain cluster.local
	Env  []string // further environment, NAME=value, for example DEFAULT_WORKLOAD_CERT_TTL
}

// Istiod is an unmodified istiod.
type Istiod struct {
	Secure   string // 127.0.0.1:port of XDS and CA, with TLS
	Debug    string // 127.0.0.1:port of its debug endpoints
	RootFile string // who vouches for it and for the mesh
	SAN      string // the name in its certificate
	Program  *Program

	k *Kubernetes
}

// StartIstiod installs Istio's and Gateway API's CRDs and runs an istiod until the test ends.
func StartIstiod(tb testing.TB, k *Kubernetes, o IstiodOptions) *Istiod {
	tb.Helper()
	k.Apply(tb, filepath.Join(k.Bin, "crds", "istio.yaml"), filepath.Join(k.Bin, "crds", "gateway-api.yaml"))
	k.ApplyText(tb, Namespace("istio-system", nil), ServiceAccount("istio-system", "default"))
	if o.Mesh == "" {
		o.Mesh = "trustDomain: cluster.local\n"
	}
	mesh := k.write(tb, "mesh.yaml", o.Mesh)
	i := &Istiod{Secure: FreeAddr(tb), Debug: FreeAddr(tb), SAN: "istiod.istio-system.svc", k: k}
	environment := append([]string{
		"PILOT_ENABLE_AMBIENT=true", "POD_NAME=istiod-0", "POD_NAMESPACE=istio-system", "SERVICE_ACCOUNT=istiod", "REVISION=default",
		"PILOT_CERT_PROVIDER=istiod", "CLUSTER_ID=Kubernetes", "ISTIOD_CUSTOM_HOST=localhost",
		"CA_TRUSTED_NODE_ACCOUNTS=istio-system/ztunnel", "VALIDATION_WEBHOOK_CONFIG_NAME=", "INJECTION_WEBHOOK_CONFIG_NAME=",
	}, o.Env...)
	i.Program = Run(tb, "istiod", filepath.Join(k.Bin, "pilot-discovery"), environment, "discovery",
		"--kubeconfig", k.Kubeconfig, "--meshConfig", mesh, "--monitoringAddr", FreeAddr(tb), "--httpAddr", i.Debug,
		"--httpsAddr", FreeAddr(tb), "--grpcAddr", FreeAddr(tb), "--secureGRPCAddr", i.Secure)
	i.Program.Quiet = true
	i.Ready(tb)
	i.RootFile = k.write(tb, "root-cert.pem", "")
	i.RefreshRoot(tb)
	return i
}

// Ready waits until istiod says that it is.
func (i *Istiod) Ready(tb testing.TB) {
	tb.Helper()
	i.Program.Await(tb, 90*time.Second, func() error {
		resp, err := http.Get("http://" + i.Debug + "/ready")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return errors.New(resp.Status)
		}
		return nil
	})
}

// RefreshRoot writes the root bundle as the ConfigMap istio-ca-root-cert has it, which is how a kubelet would mount it.
func (i *Istiod) RefreshRoot(tb testing.TB) {
	tb.Helper()
	i.Program.Await(tb, 30*time.Second, func() error {
		root, err := i.k.TryKubectl("-n", "istio-system", "get", "configmap", "istio-ca-root-cert", "-o", `jsonpath={.data.root-cert\.pem}`)
		if err != nil {
			return err
		}
		if !strings.Contains(root, "BEGIN CERTIFICATE") {
			return errors.New("the ConfigMap istio-ca-root-cert has no certificate")
		}
		next := i.RootFile + ".next"
		if err := os.WriteFile(next, []byte(root), 0o600); err != nil {
			return err
		}
		return os.Rename(next, i.RootFile)
	})
}

// TLS verifies istiod, as a client asks at every connect.
func (i *Istiod) TLS() (*tls.Config, error) {
	bundle, err := os.ReadFile(i.RootFile)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(bundle) {
		return nil, fmt.Errorf("%s has no certificate", i.RootFile)
	}
	return &tls.Config{RootCAs: roots, ServerName: i.SAN, MinVersion: tls.VersionTLS12}, nil
}

// Istioctl runs istioctl, which asks this istiod where the command takes --xds-address.
func (i *Istiod) Istioctl(args ...string) (string, error) {
	cmd := exec.Command(filepath.Join(i.k.Bin, "istioctl"), append([]string{"--kubeconfig", i.k.Kubeconfig}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("istioctl %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

// ProxyStatus is `istioctl proxy-status`.
func (i *Istiod) ProxyStatus() (string, error) {
	return i.Istioctl("proxy-status", "--xds-address", i.Secure, "--insecure")
}
