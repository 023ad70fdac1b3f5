package kube

import (
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"waymark.dev/waypoint/pkg/api/v1alpha1"
	"waymark.dev/waypoint/pkg/config"
)

// annLastApplied is kubectl's copy of the whole object.
const annLastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// keepPolicy reads a policy strictly. One that cannot be read is kept with its problem.
func keepPolicy(_ *reader, u *unstructured.Unstructured) any {
	p := &config.Policy{Object: &v1alpha1.AgentAuthorizationPolicy{ObjectMeta: metadata(u)}}
	if p.Problem = decode(u.Object["spec"], "spec", &p.Object.Spec); p.Problem == "" {
		if p.Problem = strangeTarget(p.Object.Spec.TargetRefs); p.Problem != "" {
			p.Blind = true
		}
		return p
	}
	p.Object.Spec = v1alpha1.AgentAuthorizationPolicySpec{Action: v1alpha1.Deny}
	spec, ok := u.Object["spec"].(map[string]any)
	if p.Blind = !ok; ok {
		p.Object.Spec.Action = actionOf(spec)
		p.Object.Spec.TargetRefs, p.Blind = targetsOf(spec)
	}
	return p
}

// actionOf reads the action of a spec that is wrong elsewhere. One that is no text counts as DENY.
func actionOf(spec map[string]any) v1alpha1.Action {
	switch a := spec["action"].(type) {
	case nil:
		return v1alpha1.Allow
	case string:
		return v1alpha1.Action(a)
	}
	return v1alpha1.Deny
}

// targetsOf reads the targets of a spec that is wrong elsewhere, or whose kind is not carried out. Blind means that they
// cannot be read: then there are none, and the object counts as one without targets.
func targetsOf(spec map[string]any) (refs []v1alpha1.TargetRef, blind bool) {
	v, ok := spec["targetRefs"]
	if !ok || v == nil {
		return nil, false
	}
	if decode(v, "spec.targetRefs", &refs) != "" || strangeTarget(refs) != "" {
		return nil, true
	}
	return refs, false
}

// strangeTarget says which target is of a kind that nothing can be attached to here. The schema of another version may know
// more kinds than this one does.
func strangeTarget(refs []v1alpha1.TargetRef) string {
	for i, ref := range refs {
		switch ref.Kind {
		case kindService, kindServiceEntry, kindGateway:
		default:
			return fmt.Sprintf("spec.targetRefs[%d].kind: %q is not one of Service, ServiceEntry, Gateway", i, ref.Kind)
		}
	}
	return ""
}

// metadata is what is kept of the metadata of an object.
func metadata(u *unstructured.Unstructured) metav1.ObjectMeta {
	m := metav1.ObjectMeta{Namespace: u.GetNamespace(), Name: u.GetName(), UID: u.GetUID(), Generation: u.GetGeneration()}
	if m.Annotations = u.GetAnnotations(); m.Annotations != nil {
		delete(m.Annotations, annLastApplied) // GetAnnotations made a copy
	}
	if len(m.Annotations) == 0 {
		m.Annotations = nil
	}
	return m
}

// decode reads a part of an object into v, strictly, and says where it is wrong and how.
func decode(part any, at string, v any) string {
	if part == nil {
		return at + ": is missing"
	}
	b, err := json.Marshal(part)
	if err != nil {
		return at + ": " + err.Error()
	}
	if err := json.Unmarshal(b, v, json.RejectUnknownMembers(true)); err != nil {
		return explain(at, err)
	}
	return ""
}

// explain turns an error of the decoder into a path and a sentence.
func explain(at string, err error) string {
	fault, ok := errors.AsType[*json.SemanticError](err)
	if !ok {
		return at + ": " + err.Error()
	}
	var b strings.Builder
	b.WriteString(at)
	for token := range fault.JSONPointer.Tokens() {
		if isIndex(token) {
			b.WriteString("[" + token + "]")
		} else {
			b.WriteString("." + token)
		}
	}
	switch {
	case errors.Is(fault.Err, json.ErrUnknownName):
		b.WriteString(": unknown field")
	case fault.Err != nil:
		b.WriteString(": " + fault.Err.Error())
	default:
		b.WriteString(": cannot be " + shape(fault.JSONKind))
	}
	return b.String()
}

func isIndex(token string) bool {
	return token != "" && strings.Trim(token, "0123456789") == ""
}

func shape(k jsontext.Kind) string {
	switch k {
	case '"':
		return "text"
	case '0':
		return "a number"
	case 't', 'f':
		return "true or false"
	case '{':
		return "a map"
	case '[':
		return "a list"
	}
	return "nothing"
}
