package wds_test

import (
	"net/netip"
	"testing"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"waymark.dev/waypoint/pkg/mesh/wds"
)

func TestNode(t *testing.T) {
	for _, tc := range []struct {
		name string
		node wds.Node
		want string
	}{
		{"everything", wds.Node{
			Type: wds.TypeZtunnel, IP: netip.MustParseAddr("10.1.2.3"), Name: "agents-7d9f", Namespace: "bank", ServiceAccount: "agents",
			NodeName: "node-1", Cluster: "c1", Network: "n1", Domain: "example.org", Version: "1.2.0",
			Labels: map[string]string{"app": "agents"}, Annotations: map[string]string{"a/b": "c"},
		}, `{"id": "ztunnel~10.1.2.3~agents-7d9f.bank~bank.svc.example.org", "metadata": {
			"NAME": "agents-7d9f", "NAMESPACE": "bank", "SERVICE_ACCOUNT": "agents", "INSTANCE_IPS": "10.1.2.3", "NODE_NAME": "node-1",
			"CLUSTER_ID": "c1", "NETWORK": "n1", "ISTIO_VERSION": "waymark-1.2.0", "LABELS": {"app": "agents"}, "ANNOTATIONS": {"a/b": "c"},
			"PROXY_CONFIG": {"discoveryAddress": "istiod:15012"}}, "userAgentName": "waymark", "userAgentVersion": "1.2.0"}`},
		{"the least", wds.Node{IP: netip.MustParseAddr("fd00::7"), Name: "w", Namespace: "bank", ServiceAccount: "agents"},
			`{"id": "waypoint~fd00::7~w.bank~bank.svc.cluster.local", "metadata": {
			"NAME": "w", "NAMESPACE": "bank", "SERVICE_ACCOUNT": "agents", "INSTANCE_IPS": "fd00::7", "ISTIO_VERSION": "waymark-devel",
			"PROXY_CONFIG": {"discoveryAddress": "istiod:15012"}}, "userAgentName": "waymark", "userAgentVersion": "devel"}`},
		{"an IPv4 address in IPv6", wds.Node{IP: netip.MustParseAddr("::ffff:10.1.2.3"), Name: "w", Namespace: "bank", ServiceAccount: "agents"},
			`{"id": "waypoint~10.1.2.3~w.bank~bank.svc.cluster.local", "metadata": {
			"NAME": "w", "NAMESPACE": "bank", "SERVICE_ACCOUNT": "agents", "INSTANCE_IPS": "10.1.2.3", "ISTIO_VERSION": "waymark-devel",
			"PROXY_CONFIG": {"discoveryAddress": "istiod:15012"}}, "userAgentName": "waymark", "userAgentVersion": "devel"}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var want core.Node
			if err := protojson.Unmarshal([]byte(tc.want), &want); err != nil {
				t.Fatal(err)
			}
			got, err := tc.node.Proto("istiod:15012")
			if err != nil {
				t.Fatal(err)
			}
			if !proto.Equal(got, &want) {
				t.Errorf("got  %s\nwant %s", protojson.Format(got), protojson.Format(&want))
			}
		})
	}
}
