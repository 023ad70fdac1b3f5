package ruleset

import (
	"slices"

	"waymark.dev/waypoint/pkg/api/v1alpha1"
	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/config"
	"waymark.dev/waypoint/pkg/mesh"
)

// catalog is what a ToolCatalog says of the risk of tools.
type catalog struct {
	namespace string
	refs      []v1alpha1.TargetRef
	tools     map[string]v1alpha1.RiskTier
	otherwise v1alpha1.RiskTier // "" is unknown
	unread    bool              // it may list any tool, with any tier
}

func newCatalog(o *v1alpha1.ToolCatalog) *catalog {
	c := &catalog{namespace: o.Namespace, refs: o.Spec.TargetRefs, tools: make(map[string]v1alpha1.RiskTier, len(o.Spec.Tools))}
	if o.Spec.Defaults != nil {
		c.otherwise = o.Spec.Defaults.RiskTier
	}
	for _, t := range o.Spec.Tools {
		if c.tools[t.Name] = t.RiskTier; t.RiskTier == "" {
			c.tools[t.Name] = c.otherwise
		}
	}
	return c
}

// catalogs are all of them.
type catalogs []*catalog

// of are those about the tools of what is attached.
func (all catalogs) of(s config.Scope, a mesh.Attached) catalogs {
	var some catalogs
	for _, c := range all {
		if s.Applies(c.namespace, c.refs, a) {
			some = append(some, c)
		}
	}
	return some
}

// within reports whether a call is one of a tool whose risk is in one of the tiers. Every catalog that knows the tool counts, and for
// a tool that none knows, what catalogs say of all others; a tool whose risk nobody knows is in every tier, and so is each one while
// there is a catalog that cannot be read.
func (all catalogs) within(c *call.Call, tiers []v1alpha1.RiskTier) bool {
	if c.Target.Kind != call.Tool {
		return false
	}
	var risks []v1alpha1.RiskTier
	listed := false
	for _, cat := range all {
		if cat.unread {
			return true
		}
		if risk, ok := cat.tools[c.Target.Name]; ok {
			risks, listed = append(risks, risk), true
		}
	}
	for _, cat := range all {
		if !listed {
			risks = append(risks, cat.otherwise)
		}
	}
	return len(risks) == 0 || slices.ContainsFunc(risks, func(r v1alpha1.RiskTier) bool { return r == "" || slices.Contains(tiers, r) })
}
