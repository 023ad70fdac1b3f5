package kube

import (
	"encoding/json/v2"

	"google.golang.org/protobuf/encoding/protojson"
	security "istio.io/api/security/v1beta1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"waymark.dev/waypoint/pkg/api/v1alpha1"
	"waymark.dev/waypoint/pkg/config"
)

// keepAuthentication reads an AgentAuthentication strictly. One that cannot be read is kept with its problem, and its targets.
func keepAuthentication(_ *reader, u *unstructured.Unstructured) any {
	a := &config.Authentication{Object: &v1alpha1.AgentAuthentication{ObjectMeta: metadata(u)}}
	if a.Problem = decode(u.Object["spec"], "spec", &a.Object.Spec); a.Problem == "" {
		a.Problem = strangeTarget(a.Object.Spec.TargetRefs)
		a.Blind = a.Problem != ""
		a.Refs = references(u.GetNamespace(), a.Object.Spec)
		return a
	}
	a.Object.Spec = v1alpha1.AgentAuthenticationSpec{}
	a.Object.Spec.TargetRefs, a.Blind = targetsIn(u)
	return a
}

// keepExchange reads a TokenExchange strictly. Those that only say what the token service permits are its own.
func keepExchange(_ *reader, u *unstructured.Unstructured) any {
	if spec, ok := u.Object["spec"].(map[string]any); ok && !exchanging(u, spec) {
		return nil
	}
	return readExchange(u)
}

// keepCatalog reads a ToolCatalog strictly. Nobody knows which tools one lists that cannot be read.
func keepCatalog(_ *reader, u *unstructured.Unstructured) any {
	c := &config.Catalog{Object: &v1alpha1.ToolCatalog{ObjectMeta: metadata(u)}}
	spec := &c.Object.Spec
	if c.Problem = decode(u.Object["spec"], "spec", spec); c.Problem == "" {
		c.Problem = strangeTarget(spec.TargetRefs)
	}
	if c.Problem != "" {
		*spec = v1alpha1.ToolCatalogSpec{}
		spec.TargetRefs, _ = targetsIn(u) // none, if they cannot be read either
	}
	return c
}

// keepGrants keeps what a token service permits.
func keepGrants(_ *reader, u *unstructured.Unstructured) any {
	if spec, ok := u.Object["spec"].(map[string]any); ok && spec["grants"] == nil {
		return nil
	}
	return readExchange(u)
}

func readExchange(u *unstructured.Unstructured) *config.Exchange {
	x := &config.Exchange{Object: &v1alpha1.TokenExchange{ObjectMeta: metadata(u)}}
	if x.Problem = decode(u.Object["spec"], "spec", &x.Object.Spec); x.Problem == "" {
		x.Problem = strangeTarget(x.Object.Spec.TargetRefs)
		x.Blind = x.Problem != ""
		x.Refs = references(u.GetNamespace(), x.Object.Spec)
		return x
	}
	x.Object.Spec = v1alpha1.TokenExchangeSpec{}
	x.Object.Spec.TargetRefs, x.Blind = targetsIn(u)
	return x
}

// targetsIn reads the targets of an object that is wrong elsewhere.
func targetsIn(u *unstructured.Unstructured) (refs []v1alpha1.TargetRef, blind bool) {
	spec, ok := u.Object["spec"].(map[string]any)
	if !ok {
		return nil, true
	}
	return targetsOf(spec)
}

// keepRequestAuthentication keeps one that a waypoint has to carry out: it has targets, and rules by which a token can be refused.
func keepRequestAuthentication(_ *reader, u *unstructured.Unstructured) any {
	spec, _ := u.Object["spec"].(map[string]any)
	if rules, ok := spec["jwtRules"].([]any); spec["jwtRules"] == nil || ok && len(rules) == 0 {
		return nil
	}
	refs, concerns := istioTargets(u.GetNamespace(), spec)
	if !concerns {
		return nil
	}
	r := &config.Requests{Object: &config.RequestAuthentication{
		Namespace: u.GetNamespace(), Name: u.GetName(), TargetRefs: refs, Spec: &security.RequestAuthentication{},
	}}
	b, err := json.Marshal(spec)
	if err == nil {
		err = protojson.Unmarshal(b, r.Object.Spec)
	}
	if err != nil {
		r.Problem, r.Object.Spec = "spec: "+err.Error(), &security.RequestAuthentication{}
	}
	return r
}
