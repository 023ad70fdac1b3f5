package config

import (
	"fmt"
	"slices"
	"strings"

	"waymark.dev/waypoint/pkg/mesh/static"
)

// GatewayClass is the class of the Gateway that names a waypoint of ours.
const GatewayClass = "waymark-waypoint"

// The one listener of a waypoint (contract ambient, section 1.1).
const (
	listenerProtocol = "HBONE"
	listenerPort     = 15008
)

// AnnClientIdentity on a Gateway asks for x-forwarded-client-cert (contract ambient 5.2).
const AnnClientIdentity = "ambient.istio.io/xfcc-include-client-identity"

// labelFor says what kind of traffic a waypoint takes.
const labelFor = "istio.io/waypoint-for"

// gatewaySpec is what a waypoint reads of a Gateway. The other fields of that kind mean nothing to a waypoint, or, as
// spec.addresses, would do harm in a mesh; they are refused as unknown.
type gatewaySpec struct {
	GatewayClassName string            `json:"gatewayClassName"`
	Listeners        []gatewayListener `json:"listeners"`
}

type gatewayListener struct {
	Name          string         `json:"name"`
	Port          int            `json:"port"`
	Protocol      string         `json:"protocol"`
	AllowedRoutes *allowedRoutes `json:"allowedRoutes"`
}

type allowedRoutes struct {
	Namespaces struct {
		From string `json:"from"`
	} `json:"namespaces"`
}

func (l *loader) addGateway(o *object) Problems {
	var spec gatewaySpec
	if problems := o.decode(o.spec, "spec", &spec); len(problems) > 0 {
		return problems
	}
	l.gateways = append(l.gateways, o)
	var problems Problems
	add := func(field, format string, args ...any) {
		problems = append(problems, o.problem(field, format, args...))
	}
	if strings.Contains(o.Name, ".") || o.Name == "none" {
		add("metadata.name", "%q cannot be the value of the label istio.io/use-waypoint", o.Name)
	}
	if spec.GatewayClassName != GatewayClass {
		add("spec.gatewayClassName", "%s is not %s", given(spec.GatewayClassName), GatewayClass)
	}
	switch o.Annotations[AnnClientIdentity] {
	case "", "false", "true":
	default:
		add(join("metadata.annotations", AnnClientIdentity), "must be true or false")
	}
	traffic, ok := o.Labels[labelFor]
	if !ok {
		traffic = "service"
	}
	if !slices.Contains([]string{"service", "workload", "all"}, traffic) {
		add(join("metadata.labels", labelFor), "%q is not one of service, workload, all", traffic)
	}
	g := static.Gateway{
		Namespace: o.Namespace, Name: o.Name,
		Services: traffic != "workload", Workloads: traffic != "service",
	}
	if len(spec.Listeners) != 1 {
		add("spec.listeners", "a waypoint has exactly one listener, not %d", len(spec.Listeners))
	}
	for i, li := range spec.Listeners {
		at := fmt.Sprintf("spec.listeners[%d]", i)
		if li.Name == "" || li.Protocol != listenerProtocol || li.Port != listenerPort {
			add(at, "the listener of a waypoint has a name, port %d and protocol %s", listenerPort, listenerProtocol)
		}
		if li.AllowedRoutes != nil {
			from := li.AllowedRoutes.Namespaces.From
			g.Foreign = from == "All"
			if from != "All" && from != "Same" {
				add(at+".allowedRoutes.namespaces.from", "%s is not one of All, Same", given(from))
			}
		}
	}
	for name := range o.Annotations {
		if strings.HasPrefix(name, "ambient.istio.io/") && name != AnnClientIdentity {
			add(join("metadata.annotations", name), "is not supported here")
		}
	}
	g.ClientIdentity = o.Annotations[AnnClientIdentity] == "true"
	l.config.Gateway = g
	return problems
}
