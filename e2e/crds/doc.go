// Package crds holds the custom resource definitions of manifests/ against a real API server: whether it serves them without
// complaint, what it accepts and refuses, what it fills in, and what kubectl shows.
//
// A schema is the only part of Waymark that judges an object while its author is looking. What it lets through by mistake
// shuts a service later, because what cannot be carried out is refused; what it refuses by mistake cannot be written at all.
// So every case is a whole object with one defect, and names the field that the author is to be told of.
//
// The API server and etcd are built by tools/controlplane/build. Without them the suite is skipped, and says why.
package crds
