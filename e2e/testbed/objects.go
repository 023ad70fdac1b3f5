package testbed

import (
	"encoding/json/v2"
	"fmt"
	"strings"
	"testing"
)

// Namespace returns a namespace as YAML.
func Namespace(name string, labels map[string]string) string {
	return object("v1", "Namespace", "", name, labels, nil, "")
}

// ServiceAccount returns a service account as YAML.
func ServiceAccount(namespace, name string) string {
	return object("v1", "ServiceAccount", namespace, name, nil, nil, "")
}

// ServicePort is one port of a Service.
type ServicePort struct {
	Name, AppProtocol string
	Port, Target      int
}

// Service returns a Service as YAML; it selects the pods with the label app of its own name.
func Service(namespace, name string, labels, annotations map[string]string, ports ...ServicePort) string {
	var list []map[string]any
	for _, p := range ports {
		m := map[string]any{"name": p.Name, "port": p.Port, "targetPort": p.Target}
		if p.AppProtocol != "" {
			m["appProtocol"] = p.AppProtocol
		}
		list = append(list, m)
	}
	spec := map[string]any{"selector": map[string]string{"app": name}, "ports": list}
	return object("v1", "Service", namespace, name, labels, annotations, text(spec))
}

// Waypoint returns a Gateway of our class as YAML. Its status is for the test to write: see PatchGateway.
func Waypoint(namespace, name, trafficType string) string {
	return object("gateway.networking.k8s.io/v1", "Gateway", namespace, name, map[string]string{"istio.io/waypoint-for": trafficType}, nil,
		`{"gatewayClassName":"waymark-waypoint","listeners":[{"name":"mesh","port":15008,"protocol":"HBONE","allowedRoutes":{"namespaces":{"from":"All"}}}]}`)
}

// WaypointClass is our GatewayClass as YAML.
func WaypointClass() string {
	return object("gateway.networking.k8s.io/v1", "GatewayClass", "", "waymark-waypoint", nil, nil, `{"controllerName":"waymark.dev/waypoint-controller"}`)
}

// PatchGateway writes the addresses of a waypoint's Gateway: what is an IP address by its look, and hostnames.
func (k *Kubernetes) PatchGateway(tb testing.TB, namespace, name string, addresses ...string) {
	tb.Helper()
	var list []map[string]string
	for _, a := range addresses {
		kind := "IPAddress"
		if strings.HasSuffix(a, ".local") {
			kind = "Hostname"
		}
		list = append(list, map[string]string{"type": kind, "value": a})
	}
	k.PatchStatus(tb, namespace, "gateway/"+name, text(map[string]any{"addresses": list}))
}

// Pod is a pod without a node: an address, and who it is.
type Pod struct {
	Namespace, Name, IP, Account string
	Labels, Annotations          map[string]string
	NotReady                     bool
	Plain                        bool // not captured by ztunnel: reached in plain text
}

// Pod creates or changes a pod, and says in its status that it runs.
func (k *Kubernetes) Pod(tb testing.TB, p Pod) {
	tb.Helper()
	annotations := map[string]string{}
	if !p.Plain {
		annotations["ambient.istio.io/redirection"] = "enabled"
	}
	for name, value := range p.Annotations {
		annotations[name] = value
	}
	spec := map[string]any{"nodeName": "node-1", "serviceAccountName": p.Account, "containers": []map[string]string{{"name": "c", "image": "none"}}}
	k.ApplyText(tb, object("v1", "Pod", p.Namespace, p.Name, p.Labels, annotations, text(spec)))
	ready := "True"
	if p.NotReady {
		ready = "False"
	}
	k.PatchStatus(tb, p.Namespace, "pod/"+p.Name, fmt.Sprintf(
		`{"phase":"Running","podIP":%q,"podIPs":[{"ip":%q}],"conditions":[{"type":"Ready","status":%q}]}`, p.IP, p.IP, ready))
}

// DeletePod removes a pod at once.
func (k *Kubernetes) DeletePod(tb testing.TB, namespace, name string) {
	tb.Helper()
	k.Kubectl(tb, "-n", namespace, "delete", "pod", name, "--grace-period=0", "--force", "--wait=false")
}

// ClusterIP is the address of a Service.
func (k *Kubernetes) ClusterIP(tb testing.TB, namespace, name string) string {
	tb.Helper()
	return k.Kubectl(tb, "-n", namespace, "get", "service", name, "-o", "jsonpath={.spec.clusterIP}")
}

// object is one object as JSON, which is YAML too.
func object(version, kind, namespace, name string, labels, annotations map[string]string, spec string) string {
	metadata := map[string]any{"name": name}
	if namespace != "" {
		metadata["namespace"] = namespace
	}
	if len(labels) > 0 {
		metadata["labels"] = labels
	}
	if len(annotations) > 0 {
		metadata["annotations"] = annotations
	}
	s := fmt.Sprintf(`{"apiVersion":%q,"kind":%q,"metadata":%s`, version, kind, text(metadata))
	if spec != "" {
		s += `,"spec":` + spec
	}
	return s + "}"
}

func text(v any) string {
	b, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		panic(err) // maps of strings
	}
	return string(b)
}
