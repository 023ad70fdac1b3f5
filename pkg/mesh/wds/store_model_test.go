package wds_test

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"istio.io/istio/pkg/workloadapi"

	"waymark.dev/waypoint/pkg/mesh"
	"waymark.dev/waypoint/pkg/mesh/wds"
)

// model is what istiod has said, kept as it came. It answers each question from scratch and from the messages alone.
type model struct {
	self      wds.Self
	workloads map[string]*workloadapi.Workload
	services  map[string]*workloadapi.Service
	came      map[string]int // when a workload came to have its addresses
	clock     int
}

func newModel(self wds.Self) *model {
	return &model{self, map[string]*workloadapi.Workload{}, map[string]*workloadapi.Service{}, map[string]int{}, 0}
}

func (m *model) put(a *workloadapi.Address) {
	if v := a.GetService(); v != nil {
		m.services[v.Namespace+"/"+v.Hostname] = v
		return
	}
	w := a.GetWorkload()
	old := m.workloads[w.Uid]
	if old == nil || old.Network != w.Network || old.NetworkMode != w.NetworkMode || !slices.EqualFunc(old.Addresses, w.Addresses, slices.Equal) {
		m.clock++
		m.came[w.Uid] = m.clock
	}
	m.workloads[w.Uid] = w
}

func (m *model) remove(name string) {
	delete(m.workloads, name)
	delete(m.came, name)
	delete(m.services, name)
}

// all lists the workloads in the order in which they came to their addresses.
func (m *model) all() []*workloadapi.Workload {
	return slices.SortedFunc(maps.Values(m.workloads), func(a, b *workloadapi.Workload) int { return cmp.Compare(m.came[a.Uid], m.came[b.Uid]) })
}

func (m *model) at(network string, a netip.Addr) (owner *workloadapi.Workload) {
	for _, w := range m.all() {
		if w.Network == network && w.NetworkMode == workloadapi.NetworkMode_STANDARD && has(w, a) {
			owner = w
		}
	}
	return owner
}

func has(w *workloadapi.Workload, a netip.Addr) bool {
	return slices.ContainsFunc(w.Addresses, func(b []byte) bool { return slices.Equal(b, a.AsSlice()) })
}

// own is our own workload; its zero value if it is not known.
func (m *model) own() *workloadapi.Workload {
	best, most := &workloadapi.Workload{Network: m.self.Network, ClusterId: m.self.Cluster}, -1
	for _, w := range m.all() {
		if !has(w, m.self.PodIP) || w.NetworkMode != workloadapi.NetworkMode_STANDARD || w.Namespace != m.self.Namespace {
			continue
		}
		score := 0
		if w.Network == m.self.Network {
			score += 2
		}
		if w.ClusterId == m.self.Cluster {
			score++
		}
		if score >= most {
			best, most = w, score
		}
	}
	return best
}

func (m *model) names(g *workloadapi.GatewayAddress) bool {
	if h := g.GetHostname(); h != nil {
		return h.Namespace == m.self.Namespace && slices.Contains(m.self.Hosts, h.Hostname)
	}
	a := g.GetAddress()
	if a == nil {
		return false
	}
	ip, _ := netip.AddrFromSlice(a.Address)
	if a.Network == m.own().Network && slices.Contains(m.self.Addresses, ip) {
		return true
	}
	for _, h := range m.self.Hosts {
		for _, vip := range m.services[m.self.Namespace+"/"+h].GetAddresses() {
			if vip.Length == nil && vip.Network == a.Network && slices.Equal(vip.Address, a.Address) {
				return true
			}
		}
	}
	return false
}

func (m *model) attached(v *workloadapi.Service) bool {
	return m.names(v.Waypoint) || slices.ContainsFunc(v.WeightedWaypoints, func(w *workloadapi.WeightedWaypoint) bool { return m.names(w.Destination) })
}

// resolve says what an authority leads to: the key of a service, the uid of a workload, or an error.
func (m *model) resolve(host string, a netip.Addr, number uint32) (key string, err error) {
	if host == "" && a == m.self.PodIP {
		return "", mesh.ErrOwnPort
	}
	lengths := map[int][]*workloadapi.Service{}
	best := -1
	for _, v := range m.services {
		if host != "" && v.Hostname == host {
			best = 0
			lengths[0] = append(lengths[0], v)
		}
		for _, vip := range v.Addresses {
			ip, _ := netip.AddrFromSlice(vip.Address)
			bits := ip.BitLen()
			if vip.Length != nil {
				bits = int(*vip.Length)
			}
			if host == "" && vip.Network == m.own().Network && netip.PrefixFrom(ip, bits).Contains(a) {
				best = max(best, bits)
				lengths[bits] = append(lengths[bits], v)
			}
		}
	}
	found := slices.DeleteFunc(lengths[best], func(v *workloadapi.Service) bool { return !m.attached(v) })
	if w := m.at(m.own().Network, a); host == "" && w != nil && m.names(w.Waypoint) && (best < a.BitLen() || len(found) == 0) {
		if mesh.Own(uint16(number)) {
			return "", mesh.ErrOwnPort
		}
		return w.Uid, nil
	}
	if len(found) == 0 {
		return "", mesh.ErrNotAttached
	}
	slices.SortFunc(found, func(a, b *workloadapi.Service) int {
		if a.Canonical != b.Canonical {
			return map[bool]int{true: -1, false: 1}[a.Canonical]
		}
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Hostname, b.Hostname))
	})
	for _, v := range found {
		if p := portOf(v.Ports, number); p != nil {
			if mesh.Own(uint16(p.TargetPort)) {
				return "", mesh.ErrOwnPort
			}
			return v.Namespace + "/" + v.Hostname, nil
		}
	}
	return "", mesh.ErrUnknownPort
}

func portOf(ports []*workloadapi.Port, number uint32) *workloadapi.Port {
	for _, p := range ports {
		if p.ServicePort == number {
			return p
		}
	}
	return nil
}

// candidate is an endpoint in the notation of show, with its share and its rank.
type candidate struct {
	text   string
	weight int
	rank   int
}

// picks says what could be picked from a port of a service, in the notation of landscape.choices, but without counts.
func (m *model) picks(key string, number uint32, tried ...string) map[string]float64 {
	v := m.services[key]
	p := portOf(v.GetPorts(), number)
	if p == nil {
		return nil
	}
	var all []candidate
	top := -1
	for _, w := range m.all() {
		list, member := w.Services[key]
		healthy := w.Status == workloadapi.WorkloadStatus_HEALTHY || v.LoadBalancing.GetHealthPolicy() == workloadapi.LoadBalancing_ALLOW_ALL
		rank := m.rank(v.LoadBalancing, w)
		if !member || !healthy || rank < 0 {
			continue
		}
		weight := 1
		if w.Capacity != nil {
			weight = int(w.Capacity.Value)
		}
		if weight == 0 {
			continue
		}
		for text, share := range m.texts(v, p, w, list, tried) {
			all = append(all, candidate{text, weight * share, rank})
			top = max(top, rank)
		}
	}
	return shares(all, top)
}

// shares sums up the best candidates, in parts of one.
func shares(all []candidate, top int) map[string]float64 {
	total, sum := 0.0, map[string]float64{}
	for _, c := range all {
		if c.rank == top {
			sum[c.text] += float64(c.weight)
			total += float64(c.weight)
		}
	}
	for text := range sum {
		sum[text] /= total
	}
	return sum
}

// texts is how a workload can be reached as an endpoint: in no way, in one, or through several pods of a gateway, in which
// case their shares are in parts of the workload's. (The test has gateways of one pod only.)
func (m *model) texts(v *workloadapi.Service, p *workloadapi.Port, w *workloadapi.Workload, list *workloadapi.PortList, tried []string) map[string]int {
	id := "/ns/bank/sa/" + w.ServiceAccount
	if w.Network != m.own().Network {
		door := m.door(w.NetworkGateway)
		if door == "" || w.TunnelProtocol != workloadapi.TunnelProtocol_HBONE || slices.Contains(tried, strings.Split(door, "=")[0]) {
			return nil
		}
		if len(v.SubjectAltNames) > 0 {
			id = strings.ReplaceAll(strings.Join(v.SubjectAltNames, " "), "spiffe://cluster.local", "")
		}
		return map[string]int{fmt.Sprintf("via %s to %s:%d=[%s]", door, v.Hostname, p.ServicePort, id): 1}
	}
	target := p.TargetPort
	if own := portOf(list.Ports, p.ServicePort); own != nil && own.TargetPort != 0 {
		target = own.TargetPort
	}
	if target == 0 || mesh.Own(uint16(target)) {
		return nil
	}
	if len(w.Addresses) == 0 {
		if w.Hostname == "" || w.TunnelProtocol == workloadapi.TunnelProtocol_HBONE {
			return nil
		}
		return map[string]int{fmt.Sprintf("%s:%d", w.Hostname, target): 1}
	}
	a, _ := netip.AddrFromSlice(w.Addresses[0])
	at := netip.AddrPortFrom(a, uint16(target)).String()
	if has(w, m.self.PodIP) || slices.Contains(tried, at) {
		return nil
	}
	if w.TunnelProtocol == workloadapi.TunnelProtocol_HBONE {
		ids := append([]string{"spiffe://cluster.local" + id}, v.SubjectAltNames...)
		at += fmt.Sprintf("~%s:15008=%v", a, ids)
	}
	return map[string]int{strings.ReplaceAll(at, "spiffe://cluster.local", ""): 1}
}

// door is a gateway by address, in the notation of show; "" if nobody is there.
func (m *model) door(g *workloadapi.GatewayAddress) string {
	a := g.GetAddress()
	if a == nil || a.Network == m.own().Network {
		return ""
	}
	ip, _ := netip.AddrFromSlice(a.Address)
	w := m.at(a.Network, ip)
	if w == nil || w.Capacity != nil && w.Capacity.Value == 0 || ip == m.self.PodIP {
		return ""
	}
	return fmt.Sprintf("%s:%d=[/ns/bank/sa/%s]", ip, g.HboneMtlsPort, w.ServiceAccount)
}

// rank is less than 0 for what is no endpoint.
func (m *model) rank(lb *workloadapi.LoadBalancing, w *workloadapi.Workload) int {
	if lb.GetMode() != workloadapi.LoadBalancing_FAILOVER && lb.GetMode() != workloadapi.LoadBalancing_STRICT {
		return 0
	}
	own := m.own()
	matches := map[workloadapi.LoadBalancing_Scope]bool{
		workloadapi.LoadBalancing_REGION: own.Locality.GetRegion() == w.Locality.GetRegion(),
		workloadapi.LoadBalancing_ZONE:   own.Locality.GetZone() == w.Locality.GetZone(),
		workloadapi.LoadBalancing_NODE:   own.Node == w.Node, workloadapi.LoadBalancing_NETWORK: own.Network == w.Network,
	}
	scopes, rank := lb.RoutingPreference, 0
	if len(scopes) > 0 && scopes[0] == workloadapi.LoadBalancing_NETWORK {
		if matches[scopes[0]] {
			rank = 1000
		} else if lb.Mode == workloadapi.LoadBalancing_STRICT {
			return -1
		}
		scopes = scopes[1:]
	}
	for i, s := range scopes {
		if !matches[s] {
			break
		}
		rank++
		if i == len(scopes)-1 {
			return rank
		}
	}
	if lb.Mode == workloadapi.LoadBalancing_STRICT && len(scopes) > 0 {
		return -1
	}
	return rank
}
