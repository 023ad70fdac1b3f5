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
)

// maxMaxBody bounds what an operator may ask us to hold in memory for one request, in bytes.
const maxMaxBody = 1 << 30

// unsupported are annotations of Istio's that change how a service is reached, in ways that are not implemented here.
var unsupported = []string{
	"istio.io/connect-strategy", "networking.istio.io/exportTo", "networking.istio.io/traffic-distribution",
}

// options are what the annotations of one object say.
type options struct {
	everyPort mesh.Protocol
	onPort    map[uint16]mesh.Protocol
	mode      mesh.Mode // "" if not given
	maxBody   int64
	style     string
	hbonePort uint16
}

func readOptions(r report, annotations map[string]string) options {
	o := options{maxBody: mesh.DefaultMaxBody, style: "masked", hbonePort: 15008}
	for _, name := range slices.Sorted(maps.Keys(annotations)) {
		if slices.Contains(unsupported, name) {
			r.add(annotation(name), "is not supported here")
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
func (o *options) set(name, value string) string {
	switch name {
	case AnnProtocol:
		return o.setProtocol(value)
	case AnnMode:
		mode, ok := mesh.ParseMode(value)
		if !ok {
			return quoted(value) + " is not one of enforce, auto, observe"
		}
		o.mode = mode
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
	default:
		return "unknown annotation; those of a mesh object are protocol, mode, max-body-bytes, refusals and hbone-port"
	}
	return ""
}

// setProtocol reads "mcp" (every port) or "3000=mcp,9090=http".
func (o *options) setProtocol(value string) string {
	if p, ok := declared(value); ok {
		o.everyPort = p
		return ""
	}
	o.onPort = map[uint16]mesh.Protocol{}
	for item := range strings.SplitSeq(value, ",") {
		number, name, ok := strings.Cut(item, "=")
		p, known := declared(name)
		port, err := mesh.ParsePort(number)
		if !ok || !known || err != nil {
			return quoted(item) + " is neither a protocol (http, http2, grpc, tcp, tls, mcp, a2a) nor port=protocol"
		}
		if _, twice := o.onPort[port]; twice {
			return "port " + number + " is given twice"
		}
		o.onPort[port] = p
	}
	return ""
}

// declared reads a protocol as our annotation spells it.
func declared(s string) (mesh.Protocol, bool) {
	switch p := mesh.Protocol(s); p {
	case mesh.HTTP, mesh.HTTP2, mesh.GRPC, mesh.TCP, mesh.TLS, mesh.MCP, mesh.A2A:
		return p, true
	}
	return mesh.Unknown, false
}

// apply completes a destination. The annotation wins over what the port itself declares; what nobody declares is TCP on the
// ports of protocols in which the server speaks first.
func (o *options) apply(d *mesh.Destination, declared mesh.Protocol) {
	d.Protocol = declared
	if o.everyPort != mesh.Unknown {
		d.Protocol = o.everyPort
	}
	if p, ok := o.onPort[d.Service.Port]; ok {
		d.Protocol = p
	}
	if d.Protocol == mesh.Unknown && mesh.ServerFirst(d.Service.Port) {
		d.Protocol = mesh.TCP
	}
	d.Mode = o.mode
	if d.Mode == "" {
		d.Mode = defaultMode(d.Protocol)
	}
	d.MaxBody, d.Style = o.maxBody, o.style
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
