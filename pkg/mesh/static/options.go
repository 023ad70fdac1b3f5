package static

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"waymark.dev/waypoint/pkg/mesh"
)

// Annotations of ours on a ServiceEntry or WorkloadEntry.
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

// unsupported are annotations of Istio's that change how a service is reached, in ways that are not implemented here.
var unsupported = []string{
	"istio.io/connect-strategy", "networking.istio.io/exportTo", "networking.istio.io/traffic-distribution",
}

// options are what the annotations of one object say.
type options struct {
	protocol  byPort[mesh.Protocol]
	mode      byPort[mesh.Mode]
	batches   byPort[bool]
	marked    uint16 // a port that somebody else's annotation says is MCP; 0 if none
	maxBody   int64
	style     string
	hbonePort uint16
	urlHosts  []string
}

func readOptions(r report, annotations map[string]string) options {
	o := options{maxBody: mesh.DefaultMaxBody, style: "masked", hbonePort: 15008}
	for _, name := range slices.Sorted(maps.Keys(annotations)) {
		if slices.Contains(unsupported, name) {
			r.add(annotation(name), "is not supported here")
		}
		if name == annKagentPort {
			o.marked, _ = mesh.ParsePort(annotations[name]) // not ours: a slip in it is no problem of ours
		}
		if !strings.HasPrefix(name, annotationPrefix) {
			continue
		}
		if text := o.set(name, annotations[name]); text != "" {
			r.add(annotation(name), "%s", text)
		}
	}
	return o
}

// set applies one annotation and returns what is wrong with it.
func (o *options) set(name, value string) (text string) {
	switch name {
	case AnnProtocol:
		o.protocol, text = readByPort(value, declared, "a protocol (http, http2, grpc, tcp, tls, mcp, a2a) nor port=protocol")
	case AnnMode:
		o.mode, text = readByPort(value, mesh.ParseMode, "a mode (enforce, auto, observe) nor port=mode")
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
		port, err := mesh.ParsePort(value)
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
func declared(s string) (mesh.Protocol, bool) {
	switch p := mesh.Protocol(s); p {
	case mesh.HTTP, mesh.HTTP2, mesh.GRPC, mesh.TCP, mesh.TLS, mesh.MCP, mesh.A2A:
		return p, true
	}
	p := mesh.ProtocolOf(s)
	return p, p.Agent() && strings.Contains(s, "/")
}

func parseBool(s string) (value, ok bool) { return s == "true", s == "true" || s == "false" }

// apply completes a destination. The annotation wins over what the port itself declares; somebody else's refines a port
// that carries HTTP or declares nothing; what nobody declares is TCP on the ports of protocols in which the server
// speaks first.
func (o *options) apply(d *mesh.Destination, declared mesh.Protocol) {
	number := d.Service.Port
	d.Protocol = o.protocol.of(number)
	if d.Protocol == mesh.Unknown {
		d.Protocol = o.refined(declared, number)
	}
	d.HTTP2 = d.Protocol.Agent() && (declared == mesh.HTTP2 || declared == mesh.GRPC)
	if d.Protocol == mesh.Unknown && mesh.ServerFirst(number) {
		d.Protocol = mesh.TCP
	}
	d.Mode = o.mode.of(number)
	if d.Mode == "" {
		d.Mode = defaultMode(d.Protocol)
	}
	d.Batches = o.batches.of(number)
	d.MaxBody, d.Style = o.maxBody, o.style
}

func (o *options) refined(p mesh.Protocol, number uint16) mesh.Protocol {
	if number == o.marked && (p == mesh.HTTP || p == mesh.Unknown) {
		return mesh.MCP
	}
	return p
}

// defaultMode enforces where the port is declared to carry an agent protocol.
func defaultMode(p mesh.Protocol) mesh.Mode {
	if p.Agent() {
		return mesh.Enforce
	}
	return mesh.Auto
}

func annotation(name string) string { return "metadata.annotations[" + name + "]" }

func quoted(s string) string { return strconv.Quote(s) }
