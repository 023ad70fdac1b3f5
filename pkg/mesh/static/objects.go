package static

import (
	"fmt"
	"maps"
	"slices"

	networking "istio.io/api/networking/v1alpha3"

	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/mesh"
)

// Kinds of the objects read here.
const (
	KindServiceEntry  = "ServiceEntry"
	KindWorkloadEntry = "WorkloadEntry"
)

// Ref names an object.
type Ref = mesh.Ref

// Gateway is this waypoint as the mesh names it, and what may attach to it.
type Gateway struct {
	Namespace, Name string
	Services        bool // istio.io/waypoint-for is service (the default) or all
	Workloads       bool // istio.io/waypoint-for is workload or all
	ClientIdentity  bool // tell servers by x-forwarded-client-cert who calls
	Foreign         bool // objects of other namespaces may attach: allowedRoutes.namespaces.from is All
}

// Service is a ServiceEntry object.
type Service struct {
	Namespace, Name     string
	Labels, Annotations map[string]string
	Spec                *networking.ServiceEntry
}

// Workload is a WorkloadEntry object.
type Workload struct {
	Namespace, Name     string
	Labels, Annotations map[string]string
	Spec                *networking.WorkloadEntry
}

// labels are those of the object over those of its spec, as Istio merges them, and where the one that matters here stands.
func (w *Workload) labels() (labels map[string]string, at string) {
	labels, at = map[string]string{}, "spec.labels"
	maps.Copy(labels, w.Spec.Labels)
	maps.Copy(labels, w.Labels)
	if _, ok := w.Labels[labelTunnel]; ok {
		at = "metadata.labels"
	}
	return labels, at
}

// Objects is everything a View is built from. TrustDomain is the domain of workloads' identities.
type Objects struct {
	Gateway     Gateway
	TrustDomain identity.TrustDomain
	Services    []Service
	Workloads   []Workload
	Choice      mesh.Choice // nil chooses endpoints at random
}

// Problem is something in an object that cannot be used. Field is a path such as spec.ports[0].number.
type Problem struct {
	Object Ref
	Field  string
	Text   string
}

func (p Problem) String() string { return fmt.Sprintf("%s: %s: %s", p.Object, p.Field, p.Text) }

// report collects the problems of one object.
type report struct {
	object Ref
	all    *[]Problem
}

func (r report) add(field, format string, args ...any) {
	*r.all = append(*r.all, Problem{r.object, field, fmt.Sprintf(format, args...)})
}

// unsupported are annotations of Istio's that change how a service is reached, in ways that are not implemented here.
var unsupported = []string{
	"istio.io/connect-strategy", "networking.istio.io/exportTo", "networking.istio.io/traffic-distribution",
}

// options reads the annotations of the object.
func (r report) options(annotations map[string]string) mesh.Options {
	o, faults := mesh.ReadOptions(annotations)
	for _, name := range slices.Sorted(maps.Keys(annotations)) {
		if slices.Contains(unsupported, name) {
			faults = append(faults, mesh.Fault{Field: "metadata.annotations[" + name + "]", Text: "is not supported here"})
		}
	}
	for _, f := range faults {
		r.add(f.Field, "%s", f.Text)
	}
	return o
}
