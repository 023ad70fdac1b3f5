package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func environment(more map[string]string) func(string) string {
	env := map[string]string{"POD_NAME": "agents-0", "POD_NAMESPACE": "bank", "SERVICE_ACCOUNT": "agents", "INSTANCE_IP": "10.0.0.7"}
	for k, v := range more {
		env[k] = v
	}
	return func(name string) string { return env[name] }
}

func TestReadPod(t *testing.T) {
	p, err := readPod(environment(map[string]string{"XDS_ADDRESS": "istiod.x.svc:15012", "CLUSTER_ID": "east"}))
	if err != nil {
		t.Fatal(err)
	}
	if p.ca != "istiod.x.svc:15012" || p.cluster != "east" || p.domain != "cluster.local" || p.ip.String() != "10.0.0.7" || p.nodeType != "waypoint" {
		t.Errorf("got %+v", p)
	}
	for _, tt := range []struct {
		name, value, want string
	}{
		{"POD_NAME", "", "POD_NAME is not set: the pod's manifest takes it from the downward API"},
		{"INSTANCE_IP", "", "INSTANCE_IP is not set: the pod's manifest takes it from the downward API"},
		{"INSTANCE_IP", "bank", `INSTANCE_IP: ParseAddr("bank"): unable to parse IP`},
		{"XDS_ADDRESS", "istiod", "XDS_ADDRESS: address istiod: missing port in address"},
		{"CA_ADDRESS", "istiod", "CA_ADDRESS: address istiod: missing port in address"},
		{"SECRET_TTL", "soon", `SECRET_TTL: "soon" is not a number of seconds such as 24h or 90s`},
		{"SECRET_TTL", "1500ms", `SECRET_TTL: "1500ms" is not a number of seconds such as 24h or 90s`},
		{"NODE_TYPE", "router", `NODE_TYPE: "router" is neither waypoint nor ztunnel`},
	} {
		_, err := readPod(environment(map[string]string{tt.name: tt.value}))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s=%q: got %v, want %q", tt.name, tt.value, err, tt.want)
		}
	}
}

// The token and the roots are read anew each time: both are replaced while the pod runs.
func TestPodFiles(t *testing.T) {
	dir := t.TempDir()
	token, roots := filepath.Join(dir, "token"), filepath.Join(dir, "root-cert.pem")
	p, err := readPod(environment(map[string]string{"TOKEN_FILE": token}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.bearer(); err == nil {
		t.Error("a missing token is no error")
	}
	for _, want := range []string{"one", "two"} {
		if err := os.WriteFile(token, []byte(want+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := p.bearer(); got != want || err != nil {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
	if err := os.WriteFile(token, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := p.bearer(); err == nil || err.Error() != token+" is empty" {
		t.Errorf("got %v of an empty token", err)
	}
	verify := p.istiod("istiod.istio-system.svc:15012", roots)
	if _, err := verify(); err == nil {
		t.Error("missing roots are no error")
	}
	if err := os.WriteFile(roots, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := verify(); err == nil || err.Error() != roots+" has no certificate" {
		t.Errorf("got %v of a bundle without a certificate", err)
	}
}
