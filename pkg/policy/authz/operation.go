package authz

import (
	"slices"
	"strconv"
	"strings"

	"waymark.dev/waypoint/pkg/api/v1alpha1"
	"waymark.dev/waypoint/pkg/call"
)

// operation is one compiled entry of to.
type operation struct {
	protocols           []call.Protocol
	ports, notPorts     []uint16
	hosts, notHosts     *patterns // in lower case
	paths, notPaths     *patterns
	methods, notMethods *patterns
	kind                call.Kind // what targets and notTargets speak of; None if neither is there
	targets, notTargets *patterns
	arguments           []argument
}

func (o *operation) match(j *judgment) truth {
	if o.protocols != nil && !slices.Contains(o.protocols, j.c.Protocol) {
		return no
	}
	port := j.c.Route.Service.Port
	if o.ports != nil && !slices.Contains(o.ports, port) || slices.Contains(o.notPorts, port) {
		return no
	}
	if j.blind() {
		if o.layer7() {
			return j.unseen()
		}
		return yes
	}
	t := o.matchHTTP(j)
	if t != no {
		t = min(t, o.matchMethod(j))
	}
	if t != no {
		t = min(t, o.matchTarget(j))
	}
	for i := range o.arguments {
		if t == no {
			break
		}
		t = min(t, o.arguments[i].match(j))
	}
	return t
}

// layer7 reports whether o asks for anything that a raw connection does not show.
func (o *operation) layer7() bool {
	return o.hosts != nil || o.notHosts != nil || o.paths != nil || o.notPaths != nil || o.methods != nil || o.notMethods != nil ||
		o.kind != call.None || o.arguments != nil
}

func (o *operation) matchHTTP(j *judgment) truth {
	if o.hosts != nil || o.notHosts != nil {
		if !within(strings.ToLower(j.c.HTTP.Host), o.hosts, o.notHosts) {
			return no
		}
	}
	if o.paths != nil || o.notPaths != nil {
		return truthOf(within(j.c.HTTP.Path, o.paths, o.notPaths))
	}
	return yes
}

// matchMethod does not hold the method of a lifecycle call against an ALLOW rule: who may call a tool may say hello.
func (o *operation) matchMethod(j *judgment) truth {
	if o.methods == nil && o.notMethods == nil || within(j.c.Method, o.methods, o.notMethods) {
		return yes
	}
	if j.mode == lifecycle && !j.against {
		return open
	}
	return no
}

func (o *operation) matchTarget(j *judgment) truth {
	switch {
	case o.kind == call.None:
		return yes
	case j.mode == lifecycle:
		return j.unsaid()
	}
	return truthOf(j.kind() == o.kind && within(j.c.Target.Name, o.targets, o.notTargets))
}

func (k *compiler) compileOperation(field string, o *v1alpha1.Operation) operation {
	kind, targets, notTargets := k.targets(field, o)
	out := operation{
		protocols: k.protocols(field+".protocols", o.Protocols),
		ports:     k.ports(field+".ports", o.Ports),
		notPorts:  k.ports(field+".notPorts", o.NotPorts),
		hosts:     k.hosts(field+".hosts", o.Hosts),
		notHosts:  k.hosts(field+".notHosts", o.NotHosts),
		paths:     k.strings(field+".paths", o.Paths),
		notPaths:  k.strings(field+".notPaths", o.NotPaths),
		methods:   k.strings(field+".methods", o.Methods), notMethods: k.strings(field+".notMethods", o.NotMethods),
		kind: kind, targets: targets, notTargets: notTargets,
		arguments: k.arguments(field+".arguments", o.Arguments),
	}
	if !out.layer7() && out.protocols == nil && out.ports == nil && out.notPorts == nil {
		k.add(field, "must have at least one field; leave to out to match every call")
	}
	return out
}

// targets compiles tools, resources and prompts. A call names one target, so that an operation which speaks of two kinds
// could never match.
func (k *compiler) targets(field string, o *v1alpha1.Operation) (kind call.Kind, targets, notTargets *patterns) {
	for _, f := range []struct {
		kind         call.Kind
		name, not    string
		values, nots []string
	}{
		{call.Tool, ".tools", ".notTools", o.Tools, o.NotTools},
		{call.Resource, ".resources", ".notResources", o.Resources, o.NotResources},
		{call.Prompt, ".prompts", ".notPrompts", o.Prompts, o.NotPrompts},
	} {
		if f.values == nil && f.nots == nil {
			continue
		}
		if kind != call.None {
			k.add(field, "names a %s and a %s: a call names only one, so this never matches; write two entries", kind, f.kind)
		}
		kind, targets, notTargets = f.kind, k.strings(field+f.name, f.values), k.strings(field+f.not, f.nots)
	}
	return kind, targets, notTargets
}

func (k *compiler) protocols(field string, values []v1alpha1.Protocol) []call.Protocol {
	if values == nil {
		return nil
	}
	names := make([]string, len(values))
	for i, v := range values {
		names[i] = string(v)
	}
	k.list(field, names, maxEntries, func(v string) string {
		switch v1alpha1.Protocol(v) {
		case v1alpha1.MCP, v1alpha1.A2A, v1alpha1.HTTP, v1alpha1.TCP:
			return ""
		}
		return "must be mcp, a2a, http or tcp"
	})
	out := make([]call.Protocol, len(values))
	for i, v := range values {
		out[i] = call.Protocol(v)
	}
	return out
}

func (k *compiler) hosts(field string, values []string) *patterns {
	k.list(field, values, maxEntries, checkPattern)
	if values == nil {
		return nil
	}
	lower := make([]string, len(values))
	for i, v := range values {
		lower[i] = strings.ToLower(v)
	}
	return newPatterns(lower)
}

func (k *compiler) ports(field string, values []string) []uint16 {
	k.list(field, values, maxPorts, checkPort)
	if values == nil {
		return nil
	}
	out := make([]uint16, len(values))
	for i, v := range values {
		n, _ := strconv.ParseUint(v, 10, 16)
		out[i] = uint16(n)
	}
	return out
}

func checkPort(v string) string {
	if n, err := strconv.ParseUint(v, 10, 16); err != nil || n == 0 || v[0] == '0' || v[0] == '+' {
		return "must be a port from 1 to 65535"
	}
	return ""
}
