package kube

import (
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"waymark.dev/waypoint/pkg/api/v1alpha1"
	"waymark.dev/waypoint/pkg/config"
)

// restriction is an object that is meant to stop something and that is not carried out.
type restriction struct {
	config.Unenforced
	until time.Time // it ends by itself; zero: it does not
}

func (r *restriction) over(now time.Time) bool { return !r.until.IsZero() && !now.Before(r.until) }

// restricting keeps the objects of a kind of ours that is not carried out, if they stop anything.
func restricting(stops func(u *unstructured.Unstructured, spec map[string]any) bool) func(*reader, *unstructured.Unstructured) any {
	return func(_ *reader, u *unstructured.Unstructured) any {
		spec, ok := u.Object["spec"].(map[string]any)
		if ok && !stops(u, spec) {
			return nil
		}
		r := &restriction{Unenforced: unenforced(u)}
		r.TargetRefs, _ = targetsOf(spec)
		if text, _ := spec["expiresAt"].(string); text != "" {
			r.until, _ = time.Parse(time.RFC3339, text) // one that cannot be read never comes
		}
		return r
	}
}

func unenforced(u *unstructured.Unstructured) config.Unenforced {
	return config.Unenforced{Kind: u.GetKind(), Namespace: u.GetNamespace(), Name: u.GetName()}
}

func always(*unstructured.Unstructured, map[string]any) bool { return true }

// unlessDry leaves out what only looks and records.
func unlessDry(u *unstructured.Unstructured, _ map[string]any) bool { return !dry(u) }

func dry(u *unstructured.Unstructured) bool {
	return u.GetAnnotations()[v1alpha1.DryRunAnnotation] == "true"
}

// exchanging leaves out a TokenExchange that only says what the token service permits.
func exchanging(_ *unstructured.Unstructured, spec map[string]any) bool {
	return spec["exchange"] != nil || spec["grants"] == nil
}

// strictly leaves out an AgentAudit that lets a call pass whose record gets lost.
func strictly(_ *unstructured.Unstructured, spec map[string]any) bool {
	delivery, set := spec["delivery"]
	return set && delivery != "BestEffort"
}

// keepAuthorizationPolicy keeps one that a waypoint would have to carry out. An AUDIT and a dry run stop nothing.
func keepAuthorizationPolicy(r *reader, u *unstructured.Unstructured) any {
	spec, _ := u.Object["spec"].(map[string]any)
	if spec["action"] == "AUDIT" || dry(u) {
		return nil
	}
	return r.keepIstio(u, spec)
}

// keepIstio keeps a policy of Istio's that has targets: those without are for ztunnel, or for sidecars (contract ambient,
// section 6.1).
func (r *reader) keepIstio(u *unstructured.Unstructured, spec map[string]any) any {
	refs, concerns := istioTargets(u.GetNamespace(), spec)
	if !concerns {
		return nil
	}
	k := &restriction{Unenforced: unenforced(u)}
	k.TargetRefs = refs
	return k
}

// istioTargets reads the targets of a policy of Istio's. Without refs it concerns everything that it could.
func istioTargets(namespace string, spec map[string]any) (refs []v1alpha1.TargetRef, concerns bool) {
	list, ok := spec["targetRefs"].([]any)
	switch {
	case !ok && spec["targetRefs"] != nil:
		return nil, true
	case len(list) == 0 && spec["targetRef"] != nil: // the older form, with one
		list = []any{spec["targetRef"]}
	}
	for _, v := range list {
		ref, ok := v.(map[string]any)
		if !ok {
			return nil, true
		}
		group, _ := ref["group"].(string)
		kind, _ := ref["kind"].(string)
		name, _ := ref["name"].(string)
		switch {
		case kind == kindGatewayClass && group == groupGateway:
			if name == config.GatewayClass && namespace == config.RootNamespace {
				return nil, true
			}
		case groupOf(kind, group):
			refs = append(refs, v1alpha1.TargetRef{Group: group, Kind: kind, Name: name})
		}
	}
	return refs, len(refs) > 0
}

// groupOf reports whether a kind that a waypoint attaches policies to is of that group.
func groupOf(kind, group string) bool {
	switch kind {
	case kindService:
		return group == "" || group == "core"
	case kindServiceEntry:
		return group == groupNetworking
	case kindGateway:
		return group == groupGateway
	}
	return false
}
