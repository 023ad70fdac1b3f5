package kube

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"waymark.dev/waypoint/pkg/api/v1alpha1"
)

// API groups.
const (
	groupGateway    = "gateway.networking.k8s.io"
	groupNetworking = "networking.istio.io"
	groupSecurity   = "security.istio.io"
	groupTelemetry  = "telemetry.istio.io"
)

// Names of kinds that are spoken of in more than one place.
const (
	kindService      = "Service"
	kindServiceEntry = "ServiceEntry"
	kindGateway      = "Gateway"
	kindGatewayClass = "GatewayClass"
)

// kind is what is watched, and what is kept of it.
type kind struct {
	name, group, resource string

	versions []string // the first one that the API server has is taken
	only     *key     // one object of the kind; nil is all of them
	within   string   // one namespace; "" is all of them
	aside    bool     // what is kept is not handed over: it only shows in the status

	// keep makes of an object what is kept of it, nil if nothing is. It must not hold on to the object.
	keep func(r *reader, u *unstructured.Unstructured) any
}

func (k *kind) in(version string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: k.group, Version: version, Resource: k.resource}
}

// title names the resource as RBAC and kubectl do.
func (k *kind) title() string {
	return schema.GroupResource{Group: k.group, Resource: k.resource}.String()
}

// reader is what the conversions need to know of this waypoint.
type reader struct{ namespace, gateway, domain string }

// kinds is everything that is watched. A new kind is a new line here, and in manifests/clusterrole.yaml.
// own is the Gateway of this waypoint.
func kinds(own *key) []*kind {
	ours := []string{v1alpha1.Version}
	stable, beta := []string{"v1", "v1beta1"}, []string{"v1", "v1beta1", "v1alpha3"}
	return []*kind{
		{name: v1alpha1.KindAgentAuthorizationPolicy, group: v1alpha1.Group, resource: "agentauthorizationpolicies", versions: ours, keep: keepPolicy},
		{name: v1alpha1.KindAgentAuthentication, group: v1alpha1.Group, resource: "agentauthentications", versions: ours, keep: keepAuthentication},
		{name: v1alpha1.KindTokenExchange, group: v1alpha1.Group, resource: "tokenexchanges", versions: ours, keep: keepExchange},
		{name: v1alpha1.KindAgentGuard, group: v1alpha1.Group, resource: "agentguards", versions: ours, keep: restricting(unlessDry)},
		{name: v1alpha1.KindAgentLimit, group: v1alpha1.Group, resource: "agentlimits", versions: ours, keep: restricting(unlessDry)},
		{name: v1alpha1.KindQuarantine, group: v1alpha1.Group, resource: "quarantines", versions: ours, keep: restricting(always)},
		{name: v1alpha1.KindAgentAudit, group: v1alpha1.Group, resource: "agentaudits", versions: ours, keep: restricting(strictly)},
		{name: v1alpha1.KindToolCatalog, group: v1alpha1.Group, resource: "toolcatalogs", versions: ours, keep: keepCatalog},
		{name: v1alpha1.KindApprovalRequest, group: v1alpha1.Group, resource: "approvalrequests", versions: ours, aside: true, keep: nothing},

		{name: "AuthorizationPolicy", group: groupSecurity, resource: "authorizationpolicies", versions: stable, keep: keepAuthorizationPolicy},
		{name: "RequestAuthentication", group: groupSecurity, resource: "requestauthentications", versions: stable, keep: keepRequestAuthentication},
		{name: "Telemetry", group: groupTelemetry, resource: "telemetries", versions: []string{"v1", "v1alpha1"}, aside: true, keep: nothing},
		{name: "DestinationRule", group: groupNetworking, resource: "destinationrules", versions: beta, aside: true, keep: nothing},
		{name: kindServiceEntry, group: groupNetworking, resource: "serviceentries", versions: beta, keep: keepServiceEntry},

		{name: kindGateway, group: groupGateway, resource: "gateways", versions: stable, only: own, keep: keepGateway},
		{name: "ReferenceGrant", group: groupGateway, resource: "referencegrants", versions: stable, keep: keepGrant},
		{name: "HTTPRoute", group: groupGateway, resource: "httproutes", versions: stable, aside: true, keep: keepRoute},
		{name: "GRPCRoute", group: groupGateway, resource: "grpcroutes", versions: []string{"v1", "v1alpha2"}, aside: true, keep: keepRoute},
		{name: "TCPRoute", group: groupGateway, resource: "tcproutes", versions: []string{"v1", "v1alpha2"}, aside: true, keep: keepRoute},
		{name: "TLSRoute", group: groupGateway, resource: "tlsroutes", versions: []string{"v1", "v1alpha3", "v1alpha2"}, aside: true, keep: keepRoute},

		{name: kindService, group: "", resource: "services", versions: []string{"v1"}, keep: keepService},
	}
}

// kindsOfTokenService is what a token service watches, see [Options].
func kindsOfTokenService(namespace string) []*kind {
	ours := []string{v1alpha1.Version}
	return []*kind{
		{name: v1alpha1.KindAgentAuthentication, group: v1alpha1.Group, resource: "agentauthentications", versions: ours, within: namespace, keep: keepAuthentication},
		{name: v1alpha1.KindTokenExchange, group: v1alpha1.Group, resource: "tokenexchanges", versions: ours, within: namespace, keep: keepGrants},
	}
}

func nothing(*reader, *unstructured.Unstructured) any { return nil }
