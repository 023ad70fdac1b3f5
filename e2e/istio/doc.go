// Package istio runs the waypoint, as it is shipped, in a mesh of a real istiod and a real API server: on loopback by default
// (e2e/testbed), where the suite plays the nodes, the ztunnels and the pods; or in the cluster that E2E_KUBECONFIG names, where
// nothing is played and the cases that need to kill a part are skipped.
//
//	make e2e E2E=istio
package istio
