package static

// Labels that bind an object to a waypoint (contract ambient, section 1.4).
const (
	labelUseWaypoint = "istio.io/use-waypoint"
	labelUseNS       = "istio.io/use-waypoint-namespace"
	labelCanary      = "istio.io/use-waypoint-canary"
	labelCanaryNS    = "istio.io/use-waypoint-canary-namespace"
	none             = "none"
)

// attached reports whether the labels of an object bind it to this waypoint. A label that names another waypoint is a
// problem: a directory describes one, so that the name can only be a slip.
func (g Gateway) attached(r report, namespace string, labels map[string]string) bool {
	for _, name := range []string{labelCanary, labelCanaryNS} {
		if _, ok := labels[name]; ok {
			r.add(label(name), "canary waypoints are not supported in files")
		}
	}
	name, ok := labels[labelUseWaypoint]
	if !ok || name == none {
		if _, stray := labels[labelUseNS]; stray {
			r.add(label(labelUseNS), "has no effect without a waypoint in the label %s", labelUseWaypoint)
		}
		return false
	}
	in, given := labels[labelUseNS]
	if !given {
		in = namespace
	}
	switch {
	case name != g.Name || in != g.Namespace:
		r.add(label(labelUseWaypoint), "names the waypoint %s/%s, but this directory is for %s/%s", in, name, g.Namespace, g.Name)
	case !g.serves(r.object.Kind):
		r.add(label(labelUseWaypoint), "the Gateway does not take objects of this kind: set its label istio.io/waypoint-for to all")
	case namespace != g.Namespace && !g.Foreign:
		r.add(label(labelUseWaypoint), "the Gateway admits its own namespace only: set allowedRoutes.namespaces.from to All")
	default:
		return true
	}
	return false
}

func (g Gateway) serves(kind string) bool {
	if kind == KindWorkloadEntry {
		return g.Workloads
	}
	return g.Services
}

func label(name string) string { return "metadata.labels[" + name + "]" }
