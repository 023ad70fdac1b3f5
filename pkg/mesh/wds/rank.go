package wds

import (
	"slices"

	"istio.io/istio/pkg/workloadapi"
)

// scope is one thing that an endpoint can have in common with us.
type scope uint8

const (
	region scope = iota
	zone
	subzone
	node
	cluster
	network
)

// preference says which endpoints of a service come first. The zero value has none.
type preference struct {
	scopes []scope
	strict bool // endpoints that do not have everything in common with us are none
}

// readPreference reads the routing preferences. Without a mode they mean nothing, as ztunnel has it, and neither does a scope
// that this version does not know.
func readPreference(m *workloadapi.LoadBalancing) preference {
	var p preference
	switch m.GetMode() {
	case workloadapi.LoadBalancing_STRICT:
		p.strict = true
	case workloadapi.LoadBalancing_FAILOVER:
	default:
		return p
	}
	for _, s := range m.GetRoutingPreference() {
		switch s {
		case workloadapi.LoadBalancing_REGION:
			p.scopes = append(p.scopes, region)
		case workloadapi.LoadBalancing_ZONE:
			p.scopes = append(p.scopes, zone)
		case workloadapi.LoadBalancing_SUBZONE:
			p.scopes = append(p.scopes, subzone)
		case workloadapi.LoadBalancing_NODE:
			p.scopes = append(p.scopes, node)
		case workloadapi.LoadBalancing_CLUSTER:
			p.scopes = append(p.scopes, cluster)
		case workloadapi.LoadBalancing_NETWORK:
			p.scopes = append(p.scopes, network)
		}
	}
	return p
}

// ranks is how many there are.
func (p *preference) ranks() int { return 2*len(p.scopes) + 1 }

// rank says how good an endpoint is, seen from a place: how many scopes match, from the left until the first that does not.
// Where the network comes first and is another one, the other scopes count all the same, below every endpoint on our own
// (contract ambient, section 2.5). It is false for an endpoint that is none.
func (p *preference) rank(from, to *place) (rank int, ok bool) {
	near := len(p.scopes) > 0 && p.scopes[0] == network
	for i, s := range p.scopes {
		if s.same(from, to) {
			rank++
			continue
		}
		if i > 0 || s != network {
			break
		}
		near = false
	}
	if p.strict && rank < len(p.scopes) {
		return 0, false
	}
	if near {
		rank += len(p.scopes)
	}
	return rank, true
}

func (s scope) same(a, b *place) bool {
	switch s {
	case region:
		return a.region == b.region
	case zone:
		return a.zone == b.zone
	case subzone:
		return a.subzone == b.subzone
	case node:
		return a.node == b.node
	case cluster:
		return a.cluster == b.cluster
	}
	return a.network == b.network
}

// tree is a list of weights from which one is chosen by weight in logarithmic time (P. Fenwick, A new data structure for
// cumulative frequency tables, 1994): sums[i-1] is the sum of the weights from i minus its lowest bit, exclusive, to i.
type tree struct{ sums []uint64 }

func (t *tree) append(weight uint64) {
	i := len(t.sums) + 1
	for j := i - 1; j > i-i&-i; j -= j & -j {
		weight += t.sums[j-1]
	}
	t.sums = append(t.sums, weight)
}

// add changes the weight at an index. The difference may be negative: sums wrap around.
func (t *tree) add(at int, difference uint64) {
	for i := at + 1; i <= len(t.sums); i += i & -i {
		t.sums[i-1] += difference
	}
}

// cut takes the last weight off.
func (t *tree) cut() { t.sums = t.sums[:len(t.sums)-1] }

func (t *tree) total() uint64 {
	var sum uint64
	for i := len(t.sums); i > 0; i -= i & -i {
		sum += t.sums[i-1]
	}
	return sum
}

// find returns the index at which the sum of the weights up to it first exceeds x, which is less than the total.
func (t *tree) find(x uint64) int {
	step := 1
	for step*2 <= len(t.sums) {
		step *= 2
	}
	at := 0
	for ; step > 0; step /= 2 {
		if next := at + step; next <= len(t.sums) && t.sums[next-1] <= x {
			at, x = next, x-t.sums[next-1]
		}
	}
	return at
}

// bucket holds the endpoints of one rank.
type bucket struct {
	items   []item
	weights tree
}

func (b *bucket) put(it item) (at int) {
	b.items = append(b.items, it)
	b.weights.append(it.weight())
	return len(b.items) - 1
}

// drop takes an item out, and moves the last one to its place.
func (b *bucket) drop(at int) (moved *item) {
	last := len(b.items) - 1
	if at != last {
		b.weights.add(at, b.items[last].weight()-b.items[at].weight())
		b.items[at] = b.items[last]
		moved = &b.items[at]
	}
	b.items[last] = item{}
	b.items = b.items[:last]
	b.weights.cut()
	return moved
}

// clip gives memory back after many items have gone.
func (b *bucket) clip() {
	if cap(b.items) > 64 && len(b.items) < cap(b.items)/4 {
		b.items = slices.Clone(b.items)
		b.weights.sums = slices.Clone(b.weights.sums)
	}
}
