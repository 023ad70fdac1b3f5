package kube

import (
	"fmt"
	"runtime/debug"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// How many requests a second a waypoint may send. It sends about forty when it starts, and then hardly any.
const (
	queriesPerSecond = 50
	queryBurst       = 100
)

// ConfigFrom says how to reach the API server: as a kubeconfig says, or with "" as a pod does, by its service account, whose
// token is read again as the kubelet renews it.
func ConfigFrom(kubeconfig string) (*rest.Config, error) {
	cfg, err := read(kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("kube: %w", err)
	}
	cfg.QPS, cfg.Burst = queriesPerSecond, queryBurst
	cfg.UserAgent = userAgent()
	return cfg, nil
}

func read(kubeconfig string) (*rest.Config, error) {
	if kubeconfig == "" {
		cfg, err := rest.InClusterConfig()
		if err != nil {
			return nil, fmt.Errorf("no kubeconfig is named, and this is no pod: %w", err)
		}
		return cfg, nil
	}
	rules := &clientcmd.ClientConfigLoadingRules{ExplicitPath: kubeconfig}
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, nil).ClientConfig()
}

// userAgent is how the API server's audit log knows us.
func userAgent() string {
	version := "devel"
	if b, ok := debug.ReadBuildInfo(); ok && b.Main.Version != "" && b.Main.Version != "(devel)" {
		version = b.Main.Version
	}
	return "waymark-waypoint/" + version
}
