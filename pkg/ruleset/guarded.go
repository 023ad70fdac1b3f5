package ruleset

import (
	"crypto/sha256"
	"encoding/json/v2"
	"fmt"

	"google.golang.org/protobuf/proto"

	"waymark.dev/waypoint/pkg/api/v1alpha1"
	"waymark.dev/waypoint/pkg/config"
)

// protect compiles what comes before and after the rules. It is compiled in every snapshot, because only what a snapshot asks
// for is kept of its authorities; what was fetched from those stays. One with a mistake closes what it targets, see judging.
func (r *Cluster) protect(c *config.Cluster) {
	refs := referencesInCluster(c, clusterHost(c))
	for ref, d := range c.Data { // not its content, which a short digest might give away
		r.lines = append(r.lines, fmt.Sprintf("%s %s %q", ref, d.Version, d.Problem))
	}
	r.deps.Authorities.begin()
	defer r.deps.Authorities.retain()
	for _, o := range c.Authentications {
		spec, err := json.Marshal(&o.Object.Spec, json.Deterministic(true))
		r.guard(compileAuthentication(o.Object, &r.deps, refs), o.Problem, o.Blind, spec, err)
	}
	for _, o := range c.Requests {
		spec, err := proto.MarshalOptions{Deterministic: true}.Marshal(o.Object.Spec)
		r.guard(compileRequests(o.Object, &r.deps, refs), o.Problem, o.Blind, spec, err)
	}
	for _, o := range c.Exchanges {
		spec, err := json.Marshal(&o.Object.Spec, json.Deterministic(true))
		r.guard(compileExchange(o.Object, &r.deps, refs), o.Problem, o.Blind, spec, err)
	}
	for _, o := range c.Catalogs {
		known := newCatalog(o.Object)
		known.unread = o.Problem != ""
		r.catalogs = append(r.catalogs, known)
		name := fmt.Sprintf("%s %s/%s", v1alpha1.KindToolCatalog, o.Object.Namespace, o.Object.Name)
		spec, err := json.Marshal(&o.Object.Spec, json.Deterministic(true))
		r.lines = append(r.lines, fmt.Sprintf("%s %x %v %q", name, sha256.Sum256(spec), err, o.Problem))
		if o.Problem != "" {
			r.problems = append(r.problems, name+": "+o.Problem+"; until it can be read, every tool that it may be about is of unknown risk")
		}
	}
	for _, h := range r.policies { // whose problem it has already said, and whose content is in its own line
		o := h.source.Object
		if p := compileCustom(o, h.compiled, &r.deps, refs); p != nil {
			r.guard(p, "", h.source.Blind, nil, nil)
		}
	}
	r.problems = append(r.problems, r.protects.sentences()...)
}

func (r *Cluster) guard(p *protection, problem string, blind bool, spec []byte, err error) {
	if problem != "" {
		p.problems = []Problem{{Text: problem}}
	}
	if blind {
		p.refs = nil
	}
	r.protects = append(r.protects, p)
	r.lines = append(r.lines, fmt.Sprintf("%s %s %x %v %q", p.kind, p, sha256.Sum256(spec), err, p.problem()))
}

func referencesInCluster(c *config.Cluster, host func(string, string, v1alpha1.BackendRef) (string, error)) *References {
	return &References{
		Host:      host,
		ConfigMap: func(namespace, name, key string) ([]byte, error) { return c.Entry("ConfigMap", namespace, name, key) },
		Secret:    func(namespace, name, key string) ([]byte, error) { return c.Entry("Secret", namespace, name, key) },
	}
}

// ReferencesByName looks in a cluster, for who reaches a Service by its name and not through a view of the mesh: a token service, which
// is no waypoint. domain is the cluster's.
func ReferencesByName(c *config.Cluster, domain string) *References {
	return referencesInCluster(c, func(_, namespace string, ref v1alpha1.BackendRef) (string, error) {
		if ref.Kind != "" && ref.Kind != "Service" || ref.Namespace != "" && ref.Namespace != namespace {
			return "", fmt.Errorf("%s: must be a Service of namespace %s", ref.Name, namespace)
		}
		return ref.Name + "." + namespace + ".svc." + domain, nil
	})
}

// clusterHost finds the host of a Service, or the first one of a ServiceEntry. A reference into another namespace needs a
// ReferenceGrant there.
func clusterHost(c *config.Cluster) func(string, string, v1alpha1.BackendRef) (string, error) {
	return func(from, namespace string, ref v1alpha1.BackendRef) (string, error) {
		kind, in := ref.Kind, ref.Namespace
		if kind == "" {
			kind = "Service"
		}
		if in == "" {
			in = namespace
		}
		by, to := config.GrantFrom{Group: v1alpha1.Group, Kind: from, Namespace: namespace}, config.GrantTo{Group: ref.Group, Kind: kind, Name: ref.Name}
		if in != namespace && !c.Permits(by, in, to) {
			return "", fmt.Errorf("%s %s/%s: a reference into another namespace needs a ReferenceGrant there, from %s of group %s in namespace %s",
				kind, in, ref.Name, from, v1alpha1.Group, namespace)
		}
		best := ""
		for host, d := range c.Declared {
			if d.Object.Kind == kind && d.Object.Namespace == in && d.Object.Name == ref.Name && (best == "" || host.Hostname < best) {
				best = host.Hostname
			}
		}
		if best == "" {
			return "", fmt.Errorf("there is no %s %s/%s", kind, in, ref.Name)
		}
		return best, nil
	}
}
