package testbed

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// Root is the checkout, from the folder of a suite.
const Root = "../.."

// The administrator's name and token, on a server that listens on loopback and ends with the test.
const (
	Admin      = "admin"
	AdminToken = "testbed-administrator"
)

// Kubernetes is an API server with its etcd.
type Kubernetes struct {
	URL        string // https://127.0.0.1:port
	CAFile     string // what its certificate is verified by
	Kubeconfig string // of an administrator
	Bin        string // the directory of the programs
	Server     *Program
	Etcd       *Program

	dir string
}

// programs builds the control plane once per run of tests, or takes what WAYMARK_CONTROLPLANE names.
var programs = sync.OnceValues(func() (string, error) {
	if dir := os.Getenv("WAYMARK_CONTROLPLANE"); dir != "" {
		return dir, nil
	}
	var said bytes.Buffer
	build := exec.Command(filepath.Join(Root, "tools", "controlplane", "build"))
	build.Stderr = &said
	out, err := build.Output()
	if err != nil {
		return "", fmt.Errorf("tools/controlplane/build: %w\n%s", err, said.String())
	}
	return strings.TrimSpace(string(out)), nil
})

// Programs returns the directory of etcd, kube-apiserver, kubectl, pilot-discovery and istioctl.
func Programs(tb testing.TB) string {
	tb.Helper()
	dir, err := programs()
	if err != nil {
		tb.Fatal(err)
	}
	return dir
}

// StartKubernetes runs an empty API server until the test ends. It takes about five seconds.
func StartKubernetes(tb testing.TB) *Kubernetes {
	tb.Helper()
	k := &Kubernetes{Bin: Programs(tb), dir: tb.TempDir()}
	clients, peers, secure := FreeAddr(tb), FreeAddr(tb), FreeAddr(tb)
	private, public := k.keys(tb)
	tokens := k.write(tb, "tokens.csv", AdminToken+","+Admin+",1,system:masters\n")
	k.Etcd = Run(tb, "etcd", filepath.Join(k.Bin, "etcd"), nil,
		"--data-dir", filepath.Join(k.dir, "etcd"), "--unsafe-no-fsync",
		"--listen-client-urls", "http://"+clients, "--advertise-client-urls", "http://"+clients,
		"--listen-peer-urls", "http://"+peers, "--initial-advertise-peer-urls", "http://"+peers,
		"--initial-cluster", "default=http://"+peers)
	certs := filepath.Join(k.dir, "certs")
	k.URL, k.CAFile = "https://"+secure, filepath.Join(certs, "apiserver.crt")
	k.Server = Run(tb, "kube-apiserver", filepath.Join(k.Bin, "kube-apiserver"), nil,
		"--etcd-servers", "http://"+clients, "--cert-dir", certs, "--secure-port", port(tb, secure), "--bind-address=127.0.0.1",
		"--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file", public,
		"--service-account-signing-key-file", private, "--api-audiences=https://kubernetes.default.svc,istio-ca",
		"--token-auth-file", tokens, "--authorization-mode=RBAC", "--endpoint-reconciler-type=none",
		"--service-cluster-ip-range=10.96.0.0/16", "--disable-admission-plugins=ServiceAccount")
	k.Etcd.Quiet, k.Server.Quiet = true, true
	k.Kubeconfig = k.kubeconfig(tb, Admin, AdminToken)
	k.Ready(tb)
	return k
}

// Ready waits until the API server answers, for example after it was started again.
func (k *Kubernetes) Ready(tb testing.TB) {
	tb.Helper()
	k.Server.Await(tb, 90*time.Second, func() error {
		_, err := k.try("", "get", "--raw", "/readyz")
		return err
	})
}

// Kubectl runs kubectl as the administrator and returns what it prints.
func (k *Kubernetes) Kubectl(tb testing.TB, args ...string) string {
	tb.Helper()
	out, err := k.try("", args...)
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

// TryKubectl is Kubectl for what may fail.
func (k *Kubernetes) TryKubectl(args ...string) (string, error) { return k.try("", args...) }

// Apply applies files or folders of the checkout.
func (k *Kubernetes) Apply(tb testing.TB, paths ...string) {
	tb.Helper()
	for _, p := range paths {
		if !filepath.IsAbs(p) {
			p = filepath.Join(Root, p)
		}
		k.Kubectl(tb, "apply", "--server-side", "--force-conflicts", "-f", p)
	}
}

// ApplyText applies YAML.
func (k *Kubernetes) ApplyText(tb testing.TB, yaml ...string) {
	tb.Helper()
	if _, err := k.try(strings.Join(yaml, "\n---\n"), "apply", "-f", "-"); err != nil {
		tb.Fatal(err)
	}
}

// PatchStatus merges into the status of an object, as a kubelet or a controller would.
func (k *Kubernetes) PatchStatus(tb testing.TB, namespace, object, status string) {
	tb.Helper()
	k.Kubectl(tb, "-n", namespace, "patch", object, "--subresource=status", "--type=merge", "-p", `{"status":`+status+`}`)
}

// Token returns a token of a service account.
func (k *Kubernetes) Token(tb testing.TB, namespace, account string, audience ...string) string {
	tb.Helper()
	args := []string{"-n", namespace, "create", "token", account, "--duration=24h"}
	for _, a := range audience {
		args = append(args, "--audience="+a)
	}
	return strings.TrimSpace(k.Kubectl(tb, args...))
}

// KubeconfigOf writes the kubeconfig of a service account and returns its path.
func (k *Kubernetes) KubeconfigOf(tb testing.TB, namespace, account string) string {
	tb.Helper()
	return k.kubeconfig(tb, namespace+"-"+account, k.Token(tb, namespace, account))
}

func (k *Kubernetes) try(stdin string, args ...string) (string, error) {
	cmd := exec.Command(filepath.Join(k.Bin, "kubectl"), append([]string{"--kubeconfig", k.Kubeconfig}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, said.String())
	}
	return out.String(), nil
}

func (k *Kubernetes) kubeconfig(tb testing.TB, name, token string) string {
	tb.Helper()
	return k.write(tb, name+".kubeconfig", fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: %q, certificate-authority: %q}}]
users: [{name: u, user: {token: %q}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
`, k.URL, k.CAFile, token))
}

func (k *Kubernetes) write(tb testing.TB, name, text string) string {
	tb.Helper()
	file := filepath.Join(k.dir, name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	return file
}

// keys writes the pair of keys that tokens of service accounts are signed with.
func (k *Kubernetes) keys(tb testing.TB) (private, public string) {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	secret, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		tb.Fatal(err)
	}
	open, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		tb.Fatal(err)
	}
	block := func(kind string, b []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}))
	}
	return k.write(tb, "sa.key", block("EC PRIVATE KEY", secret)), k.write(tb, "sa.pub", block("PUBLIC KEY", open))
}
