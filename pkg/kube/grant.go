package kube

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"waymark.dev/waypoint/pkg/config"
)

// keepGrant reads a ReferenceGrant. A part that cannot be read permits nothing.
func keepGrant(_ *reader, u *unstructured.Unstructured) any {
	g := &config.ReferenceGrant{Namespace: u.GetNamespace()}
	spec, _ := u.Object["spec"].(map[string]any)
	for _, m := range maps(spec["from"]) {
		from := config.GrantFrom{Group: text(m, "group"), Kind: text(m, "kind"), Namespace: text(m, "namespace")}
		if from.Kind != "" && from.Namespace != "" {
			g.From = append(g.From, from)
		}
	}
	for _, m := range maps(spec["to"]) {
		to := config.GrantTo{Group: text(m, "group"), Kind: text(m, "kind"), Name: text(m, "name")}
		if _, named := m["name"]; to.Kind != "" && (to.Name != "" || !named) {
			g.To = append(g.To, to)
		}
	}
	if g.From == nil || g.To == nil {
		return nil
	}
	return g
}

func maps(list any) []map[string]any {
	var out []map[string]any
	entries, _ := list.([]any)
	for _, e := range entries {
		if m, ok := e.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}

func text(m map[string]any, name string) string {
	s, _ := m[name].(string)
	return s
}
