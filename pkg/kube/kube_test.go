package kube_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/rest"

	"waymark.dev/waypoint/pkg/config"
	"waymark.dev/waypoint/pkg/kube"
)

func TestOptions(t *testing.T) {
	good := kube.Options{Config: &rest.Config{Host: "http://127.0.0.1:1"}, Namespace: "bank", Gateway: "agents", Apply: func(*config.Cluster) {}}
	for _, c := range []struct {
		want   string
		change func(*kube.Options)
	}{
		{"kube: Options.Config is required", func(o *kube.Options) { o.Config = nil }},
		{"kube: Options.Namespace and Options.Gateway are required", func(o *kube.Options) { o.Namespace = "" }},
		{"kube: Options.Namespace and Options.Gateway are required", func(o *kube.Options) { o.Gateway = "" }},
		{"kube: Options.Apply is required", func(o *kube.Options) { o.Apply = nil }},
		{"kube: Options.Debounce and Options.Look must not be negative", func(o *kube.Options) { o.Look = -1 }},
		{"kube: unable to load root certificates: unable to parse bytes as PEM block", func(o *kube.Options) {
			o.Config = &rest.Config{Host: "https://127.0.0.1:1", TLSClientConfig: rest.TLSClientConfig{CAData: []byte("x")}}
		}},
	} {
		o := good
		c.change(&o)
		if _, err := kube.New(o); err == nil || err.Error() != c.want {
			t.Errorf("got  %v\nwant %s", err, c.want)
		}
	}
	s, err := kube.New(good)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Ready(); err == nil || !strings.HasPrefix(err.Error(), "kube: not read yet: AgentAuthorizationPolicy, ") {
		t.Errorf("Ready: got %v", err)
	}
}

func TestConfigFrom(t *testing.T) {
	file := filepath.Join(t.TempDir(), "kc")
	if err := os.WriteFile(file, []byte(`{"apiVersion":"v1","kind":"Config","current-context":"x","contexts":[{"name":"x","context":{"cluster":"c","user":"u"}}],
		"clusters":[{"name":"c","cluster":{"server":"https://127.0.0.1:6443"}}],"users":[{"name":"u","user":{"token":"t"}}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := kube.ConfigFrom(file)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Host != "https://127.0.0.1:6443" || cfg.BearerToken != "t" || cfg.QPS != 50 || cfg.Burst != 100 || !strings.HasPrefix(cfg.UserAgent, "waymark-waypoint/") {
		t.Errorf("got %v, user agent %s", cfg, cfg.UserAgent)
	}
	if _, err := kube.ConfigFrom(file + "x"); err == nil || !strings.HasPrefix(err.Error(), "kube: ") || !os.IsNotExist(unwrapped(err)) {
		t.Errorf("got %v", err)
	}
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	want := "kube: no kubeconfig is named, and this is no pod: unable to load in-cluster configuration, KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT must be defined"
	if _, err := kube.ConfigFrom(""); err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func unwrapped(err error) error {
	for {
		u, ok := err.(interface{ Unwrap() error })
		if !ok || os.IsNotExist(err) {
			return err
		}
		err = u.Unwrap()
	}
}
