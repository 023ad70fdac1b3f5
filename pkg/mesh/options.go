package mesh

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Annotations of ours on a Service, ServiceEntry or WorkloadEntry.
const (
	annotationPrefix = "waymark.dev/"
	AnnProtocol      = "waymark.dev/protocol"
	AnnMode          = "waymark.dev/mode"
	AnnMaxBody       = "waymark.dev/max-body-bytes"
	AnnRefusals      = "waymark.dev/refusals"
	AnnHBONEPort     = "waymark.dev/hbone-port"
	AnnBatches       = "waymark.dev/mcp-batches"
	AnnURLHosts      = "waymark.dev/url-hosts"
)

// annKagentPort is how kagent marks the port of a Service that carries MCP (contract mcp-a2a, section 14). The other
// annotations of the field say where on a port MCP is, or in which form, which every message says by itself.
const annKagentPort = "kagent.dev/mcp-service-port"

// maxMaxBody bounds what an operator may ask us to hold in memory for one request, in bytes.
const maxMaxBody = 1 << 30

// DefaultHBONEPort is where a workload's ztunnel accepts tunnels.
const DefaultHBONEPort = 15008

// Options are what the annotations of one object say of its ports. The zero value is not valid: [ReadOptions] makes one.
type Options struct {
	protocol  byPort[Protocol]
	mode      byPort[Mode]
	batches   byPort[bool]
	marked    uint16 // a port that somebody else's annotation says is MCP; 0 if none
	maxBody   int64
	style     string
	hbonePort uint16
	urlHosts  []string
}

// Fault is something in the annotations of an object that cannot be used. Field is a path such as
// metadata.annotations[waymark.dev/mode].
type Fault struct{ Field, Text string }

func (f Fault) String() string { return f.Field + ": " + f.Text }

// ReadOptions reads the annotations of an object. With faults, what can be used is in the options all the same.
func ReadOptions(annotations map[string]string) (Options, []Fault) {
	o := Options{maxBody: DefaultMaxBody, style: "masked", hbonePort: DefaultHBONEPort}
	var faults []Fault
	for _, name := range slices.Sorted(maps.Keys(annotations)) {
		if name == annKagentPort {
			o.marked, _ = ParsePort(annotations[name]) // not ours: a slip in it is no problem of ours
		}
		if !strings.HasPrefix(name, annotationPrefix) {
			continue
		}
		if text := o.set(name, annotations[name]); text != "" {
			faults = append(faults, Fault{annotation(name), text})
		}
	}
	return o, faults
}

// CheckPorts reports what the annotations say of ports that the service does not have.
func (o *Options) CheckPorts(ports []uint16) []Fault {
	var faults []Fault
	for _, a := range []struct {
		name      string
		strangers []uint16
	}{
		{AnnProtocol, o.protocol.strangers(ports)}, {AnnMode, o.mode.strangers(ports)}, {AnnBatches, o.batches.strangers(ports)},
	} {
		for _, number := range a.strangers {
			faults = append(faults, Fault{annotation(a.name), fmt.Sprintf("port %d is not a port of the service", number)})
		}
	}
	return faults
}

// HBONEPort is where the tunnels of the object's workloads end.
func (o *Options) HBONEPort() uint16 { return o.hbonePort }

// URLHosts returns the hosts that the annotation lists, see [URLHosts].
func (o *Options) URLHosts() []string { return o.urlHosts }

// set applies one annotation and returns what is wrong with it.
func (o *Options) set(name, value string) (text string) {
	switch name {
	case AnnProtocol:
		o.protocol, text = readByPort(value, declared, "a protocol (http, http2, grpc, tcp, tls, mcp, a2a) nor port=protocol")
	case AnnMode:
		o.mode, text = readByPort(value, ParseMode, "a mode (enforce, auto, observe) nor port=mode")
	case AnnBatches:
		o.batches, text = readByPort(value, parseBool, "true, false, port=true nor port=false")
	case AnnMaxBody:
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil || n < 1 || n > maxMaxBody || value != strconv.FormatInt(n, 10) {
			return quoted(value) + " is not a number of bytes from 1 to " + strconv.Itoa(maxMaxBody)
		}
		o.maxBody = n
	case AnnRefusals:
		if !slices.Contains([]string{"masked", "explained", "result"}, value) {
			return quoted(value) + " is not one of masked, explained, result"
		}
		o.style = value
	case AnnHBONEPort:
		port, err := ParsePort(value)
		if err != nil {
			return err.Error()
		}
		o.hbonePort = port
	case AnnURLHosts:
		o.urlHosts = entries(value)
	default:
		return "unknown annotation; those of a mesh object are protocol, mode, mcp-batches, url-hosts, max-body-bytes, " +
			"refusals and hbone-port"
	}
	return text
}

// URLHosts returns the hosts that the annotation of an object lists, each as it stands there; nil without the
// annotation. What a host may look like is for the stage to say that judges by them.
func URLHosts(annotations map[string]string) []string {
	value, ok := annotations[AnnURLHosts]
	if !ok {
		return nil
	}
	return entries(value)
}

// entries reads a list with commas, and blanks around its entries.
func entries(value string) []string {
	list := strings.Split(value, ",")
	for i := range list {
		list[i] = strings.TrimSpace(list[i])
	}
	return list
}

// declared reads a protocol as our annotation spells it, or as an appProtocol does that names an agent protocol in
// somebody's domain, so that the annotation can repeat what stands in a Service.
func declared(s string) (Protocol, bool) {
	switch p := Protocol(s); p {
	case HTTP, HTTP2, GRPC, TCP, TLS, MCP, A2A:
		return p, true
	}
	p := ProtocolOf(s)
	return p, p.Agent() && strings.Contains(s, "/")
}

func parseBool(s string) (value, ok bool) { return s == "true", s == "true" || s == "false" }

// Apply completes a destination. The annotation wins over what the port itself declares; somebody else's refines a port
// that carries HTTP or declares nothing; what nobody declares is TCP on the ports of protocols in which the server
// speaks first.
func (o *Options) Apply(d *Destination, declared Protocol) {
	number := d.Service.Port
	d.Protocol = o.protocol.of(number)
	if d.Protocol == Unknown {
		d.Protocol = o.refined(declared, number)
	}
	d.HTTP2 = d.Protocol.Agent() && (declared == HTTP2 || declared == GRPC)
	if d.Protocol == Unknown && ServerFirst(number) {
		d.Protocol = TCP
	}
	d.Mode = o.mode.of(number)
	if d.Mode == "" {
		d.Mode = defaultMode(d.Protocol)
	}
	d.Batches = o.batches.of(number)
	d.MaxBody, d.Style = o.maxBody, o.style
}

func (o *Options) refined(p Protocol, number uint16) Protocol {
	if number == o.marked && (p == HTTP || p == Unknown) {
		return MCP
	}
	return p
}

// defaultMode enforces where the port is declared to carry an agent protocol.
func defaultMode(p Protocol) Mode {
	if p.Agent() {
		return Enforce
	}
	return Auto
}

func annotation(name string) string { return "metadata.annotations[" + name + "]" }

func quoted(s string) string { return strconv.Quote(s) }
