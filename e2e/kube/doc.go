// Package kube follows a real kube-apiserver with pkg/kube: every kind, what is malformed, what is forbidden, kinds that are
// installed late, and a server that is killed and comes back.
//
// The API server and etcd are built by tools/controlplane/build.
package kube
