package testmesh

import (
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Service is one service behind the waypoint, with one port and the one workload that backs it.
type Service struct {
	Name     string
	Port     uint16            // of the service; unique among those written together
	Protocol string            // as a ServiceEntry has it: HTTP, HTTP2, GRPC, TCP, TLS, …; empty leaves it to sniffing
	Notes    map[string]string // annotations of the service, for example waymark.dev/protocol: mcp
	Account  string            // the workload's service account
	At       Placement         // a zero Tunnel makes the workload one outside the mesh, reached in plaintext
}

// Authority is what the ztunnel next to a caller names in CONNECT: the service's address and port.
func (s Service) Authority() string { return netip.AddrPortFrom(s.address(), s.Port).String() }

// address gives each port an address of its own, so that services written together never share one.
func (s Service) address() netip.Addr {
	return netip.AddrFrom4([4]byte{10, 96, byte(s.Port >> 8), byte(s.Port)})
}

// WriteServices writes a Gateway named agents in the given namespace, and the services attached to it, into
// dir/mesh.yaml. Policies are files of their own beside it.
func WriteServices(dir, namespace string, services ...Service) error {
	var out strings.Builder
	fmt.Fprintf(&out, gateway, namespace)
	for _, s := range services {
		s.write(&out, namespace)
	}
	return os.WriteFile(filepath.Join(dir, "mesh.yaml"), []byte(out.String()), 0o600)
}

const gateway = `apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata:
  name: agents
  namespace: %s
spec:
  gatewayClassName: waymark-waypoint
  listeners:
    - name: mesh
      port: 15008
      protocol: HBONE
`

const serviceEntry = `---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: %[2]s
  namespace: %[1]s
  labels:
    istio.io/use-waypoint: agents
%[3]sspec:
  hosts:
    - %[2]s.%[1]s.svc.cluster.local
  addresses:
    - %[4]s
  location: MESH_INTERNAL
  resolution: STATIC
  ports:
    - number: %[5]d
      name: app
      protocol: %[6]q
      targetPort: %[7]d
  workloadSelector:
    labels:
      app: %[2]s
`

const workloadOf = `---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata:
  name: %[2]s
  namespace: %[1]s
  labels:
    app: %[2]s
%[3]sspec:
  address: %[4]s
  serviceAccount: %[5]s
`

func (s Service) write(out *strings.Builder, namespace string) {
	fmt.Fprintf(out, serviceEntry, namespace, s.Name, annotations(s.Notes), s.address(), s.Port, s.Protocol, s.At.App.Port())
	tunnel := ""
	if s.At.Tunnel.IsValid() {
		tunnel = "    networking.istio.io/tunnel: http\n" +
			annotations(map[string]string{hbonePort: fmt.Sprint(s.At.Tunnel.Port())})
	}
	fmt.Fprintf(out, workloadOf, namespace, s.Name, tunnel, s.At.App.Addr(), s.Account)
}

func annotations(notes map[string]string) string {
	if len(notes) == 0 {
		return ""
	}
	var out strings.Builder
	out.WriteString("  annotations:\n")
	for _, k := range slices.Sorted(maps.Keys(notes)) {
		fmt.Fprintf(&out, "    %s: %q\n", k, notes[k])
	}
	return out.String()
}
