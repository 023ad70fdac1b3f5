package kube

import (
	"encoding/json/v2"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"waymark.dev/waypoint/pkg/mesh"
)

// declaration is what a Service or ServiceEntry says of its hosts.
type declaration struct {
	hosts    []mesh.Host
	declared *mesh.Declared
	since    time.Time
}

// portSpec is a port of a Service or of a ServiceEntry.
type portSpec struct {
	Name        string `json:"name"`
	Port        uint16 `json:"port"`   // of a Service
	Number      uint16 `json:"number"` // of a ServiceEntry
	Protocol    string `json:"protocol"`
	AppProtocol string `json:"appProtocol"`
}

func keepService(r *reader, u *unstructured.Unstructured) any {
	d := declare(u, serviceProtocol)
	d.hosts = []mesh.Host{{Namespace: u.GetNamespace(), Hostname: u.GetName() + "." + u.GetNamespace() + ".svc." + r.domain}}
	return d
}

// serviceProtocol takes the name of a port only where there is no appProtocol, as Istio does.
func serviceProtocol(p portSpec) mesh.Protocol {
	switch {
	case p.Protocol != "" && p.Protocol != "TCP": // a tunnel carries nothing else
		return mesh.Unknown
	case p.AppProtocol != "":
		return mesh.ProtocolOf(p.AppProtocol)
	}
	return mesh.ProtocolOfName(p.Name)
}

func keepServiceEntry(_ *reader, u *unstructured.Unstructured) any {
	d := declare(u, entryProtocol)
	hosts, _, _ := unstructured.NestedStringSlice(u.Object, "spec", "hosts")
	for _, h := range hosts {
		d.hosts = append(d.hosts, mesh.Host{Namespace: u.GetNamespace(), Hostname: strings.ToLower(h)})
	}
	return d
}

// entryProtocol takes the name of a port where the protocol says nothing, and where the name says which agent protocol an
// HTTP port carries: Istio's own field has no word for those.
func entryProtocol(p portSpec) mesh.Protocol {
	byName := mesh.ProtocolOfName(p.Name)
	protocol, ok := mesh.ParseProtocol(p.Protocol)
	switch {
	case !ok:
		return mesh.Unknown
	case protocol == mesh.Unknown, protocol == mesh.HTTP && byName.Agent():
		return byName
	}
	return protocol
}

// declare reads annotations and ports.
func declare(u *unstructured.Unstructured, protocol func(portSpec) mesh.Protocol) *declaration {
	d := &mesh.Declared{Object: mesh.Ref{Kind: u.GetKind(), Namespace: u.GetNamespace(), Name: u.GetName()}}
	d.Options, d.Faults = mesh.ReadOptions(u.GetAnnotations())
	var ports []portSpec
	if v, ok, _ := unstructured.NestedFieldNoCopy(u.Object, "spec", "ports"); ok && v != nil {
		b, err := json.Marshal(v)
		if err == nil {
			err = json.Unmarshal(b, &ports)
		}
		if err != nil { // what the annotations restrict cannot be told either
			field, text, _ := strings.Cut(explain("spec.ports", err), ": ")
			d.Faults = append(d.Faults, mesh.Fault{Field: field, Text: text})
		}
	}
	numbers := make([]uint16, len(ports))
	for i, p := range ports {
		numbers[i] = p.Port | p.Number // one of them is 0
		if spoken := protocol(p); spoken != mesh.Unknown {
			if d.Ports == nil {
				d.Ports = map[uint16]mesh.Protocol{}
			}
			d.Ports[numbers[i]] = spoken
		}
	}
	d.Faults = append(d.Faults, d.Options.CheckPorts(numbers)...)
	return &declaration{declared: d, since: u.GetCreationTimestamp().Time}
}

// before reports whether d wins where both declare the same host: a Service over a ServiceEntry, then the older one.
func (d *declaration) before(o *declaration) bool {
	a, b := d.declared.Object, o.declared.Object
	switch {
	case a.Kind != b.Kind:
		return a.Kind == kindService
	case !d.since.Equal(o.since):
		return d.since.Before(o.since)
	}
	return a.Name < b.Name
}
