// Package testbed runs a real control plane on loopback: etcd, kube-apiserver and istiod, unmodified, built from their modules
// by tools/controlplane into a cache outside the checkout. There are no nodes: pods are objects with addresses in 127.0.0.0/8,
// and what would run in them are processes and goroutines that listen there.
//
//	k := testbed.StartKubernetes(t)
//	k.Apply(t, "manifests/crds")
//	i := testbed.StartIstiod(t, k, testbed.IstiodOptions{})
//	k.ApplyText(t, testbed.Namespace("bank", map[string]string{"istio.io/dataplane-mode": "ambient"}))
//	k.Pod(t, testbed.Pod{Namespace: "bank", Name: "company-mcp-0", IP: "127.0.1.10", Account: "company-mcp"})
//	material := i.Certificates(t, "bank", "company-mcp")
//
// Everything ends with the test, also if the test program is killed.
package testbed
