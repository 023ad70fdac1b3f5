package static

import (
	"fmt"
	"net/netip"
	"strings"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/mesh"
)

// View is what the objects of a directory say. It is immutable.
type View struct {
	addresses map[netip.Addr]map[uint16]*mesh.Destination
	hosts     map[string]map[uint16]*mesh.Destination
	known     map[string]map[uint16]*mesh.Destination // hosts of all services, attached or not
	workloads map[netip.Addr]*workload
	attached  []Attached
}

// Attached is a service or workload that this waypoint stands in front of, and what files say of it besides.
type Attached struct {
	mesh.Attached

	Ports   []*mesh.Destination
	Address netip.Addr // of a workload
}

// Attached lists what is attached, in the order of the objects. Ports of a workload are empty: any can be addressed.
func (v *View) Attached() []Attached { return v.attached }

// Resolve finds what an authority names, see mesh.View. Hosts are matched whole: there are no search domains here.
func (v *View) Resolve(authority string) (*mesh.Destination, error) {
	a, err := mesh.ParseAuthority(authority)
	if err != nil {
		return nil, err
	}
	ports, ok := v.hosts[a.Host]
	if a.Addr.IsValid() {
		if w, ok := v.workloads[a.Addr]; ok {
			return w.destination(a.Port)
		}
		ports, ok = v.addresses[a.Addr]
	}
	if !ok {
		return nil, fmt.Errorf("%w: %s", mesh.ErrNotAttached, a)
	}
	d, ok := ports[a.Port]
	if !ok {
		return nil, fmt.Errorf("%w: %s", mesh.ErrUnknownPort, a)
	}
	return d, nil
}

// Locate finds a port of any service of the directory, see mesh.Directory.
func (v *View) Locate(host string, port uint16) (*mesh.Destination, error) {
	ports, ok := v.known[strings.ToLower(host)]
	if !ok {
		return nil, fmt.Errorf("%w: %s", mesh.ErrUnknownHost, host)
	}
	d, ok := ports[port]
	if !ok {
		return nil, fmt.Errorf("%w: %s:%d", mesh.ErrUnknownPort, host, port)
	}
	return d, nil
}

// Version is always the same: a directory that changes makes another View.
func (v *View) Version() uint64 { return 0 }

// workload is a WorkloadEntry, checked.
type workload struct {
	*place
	object   Ref
	options  mesh.Options
	attached bool
	choice   mesh.Choice
}

// destination is one port of a workload that is addressed directly, whatever services it belongs to.
func (w *workload) destination(number uint16) (*mesh.Destination, error) {
	if mesh.Own(number) || number == w.options.HBONEPort() {
		return nil, fmt.Errorf("%w: %s", mesh.ErrOwnPort, netip.AddrPortFrom(w.addr, number))
	}
	d := &mesh.Destination{Service: w.service(), Choice: w.choice}
	d.Service.Port = number
	d.Endpoints = []mesh.Endpoint{w.endpoint(port{target: number}, nil)}
	w.options.Apply(d, mesh.Unknown)
	return d, nil
}

func (w *workload) service() call.Service {
	return call.Service{Namespace: w.object.Namespace, Name: w.object.Name}
}
