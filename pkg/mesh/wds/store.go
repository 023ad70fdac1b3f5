package wds

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unique"

	"google.golang.org/protobuf/types/known/anypb"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/mesh"
)

// batch is how many resources are applied under one lock, so that a first state of 10,000 workloads holds up nobody's choice
// of an endpoint for longer than one of them would.
const batch = 64

// Self is this waypoint as the mesh knows it. It may change while the process runs.
type Self struct {
	Namespace, Gateway string       // the Gateway object
	Hosts              []string     // hostnames of our own Service, from the Gateway's status
	Addresses          []netip.Addr // from the Gateway's status
	PodIP              netip.Addr   // our own pod: its Workload says where we are, and nothing is ever forwarded to it
	Network, Cluster   string       // where we are for as long as our own Workload is not known
}

// StoreOptions says who we are and who wants to know what happens. Everything may be zero.
type StoreOptions struct {
	Self Self

	// TrustDomain is that of workloads which name none; nil, or a zero answer, means cluster.local, which is the one that
	// istiod leaves out (contract ambient, section 2.5).
	TrustDomain func() identity.TrustDomain

	Changed func()           // what Resolve answers may have changed; called without locks, possibly often
	Gone    func(netip.Addr) // a workload was removed from this address, or is another one, or not healthy any more; called without locks
	Choice  mesh.Choice      // nil chooses at random
	Log     *slog.Logger     // nil means slog.Default
}

// Store is what istiod says of the mesh. It implements mesh.View and is safe for concurrent use; one goroutine feeds it.
type Store struct {
	opt     StoreOptions
	version atomic.Uint64

	mu       sync.RWMutex // guards the fields below
	self     Self
	names    names // what names us
	place    place // where we are
	epoch    uint64
	sequence uint64
	updated  time.Time

	workloads map[string]*workload               // by uid
	at        map[netAddr][]*workload            // by address, the newest last; never those on the host's network
	resolved  map[mesh.Host][]*workload          // those with a hostname, by it and their namespace
	ours      map[string]*workload               // by uid: those that may be our own pod
	bound     map[mesh.Host]map[string]*workload // those attached, by namespace and name, by uid
	services  map[mesh.Host]*service             // those that anybody has spoken of
	hosts     map[string][]*service              // those that istiod has told, by hostname
	vips      map[netAddr][]*service             // by single addresses
	ranges    []vipRange                         // the longest prefix first
	policies  map[string]struct{}                // by name
	stats     struct{ services, attached int }   // attached: services only
}

// resource is one thing that istiod has said.
type resource struct {
	name, version string
	body          *anypb.Any
}

// rejected is a resource that cannot be used, and why.
type rejected struct {
	name string
	err  error
}

// text is a string of which there is one copy, however many workloads have it.
type text = unique.Handle[string]

// netAddr is an address on a network: the same one may mean something else on another.
type netAddr struct {
	network text
	ip      netip.Addr
}

// NewStore returns an empty one: nothing is attached until istiod has spoken.
func NewStore(o StoreOptions) *Store {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	s := &Store{
		opt:       o,
		workloads: map[string]*workload{},
		at:        map[netAddr][]*workload{},
		resolved:  map[mesh.Host][]*workload{},
		ours:      map[string]*workload{},
		bound:     map[mesh.Host]map[string]*workload{},
		services:  map[mesh.Host]*service{},
		hosts:     map[string][]*service{},
		vips:      map[netAddr][]*service{},
		policies:  map[string]struct{}{},
	}
	s.become(o.Self, &effects{})
	return s
}

// Version changes whenever Resolve may answer differently, see mesh.View.
func (s *Store) Version() uint64 { return s.version.Load() }

// Stats says how much is known.
type Stats struct {
	Workloads, Services, Policies int
	Attached                      int       // services and workloads
	Updated                       time.Time // when istiod said something last; zero: never
}

// Stats returns the present counts.
func (s *Store) Stats() Stats {
	s.mu.RLock()
	defer s.mu.RUnlock()
	st := Stats{
		Workloads: len(s.workloads), Services: s.stats.services, Policies: len(s.policies),
		Attached: s.stats.attached, Updated: s.updated,
	}
	for _, w := range s.bound {
		st.Attached += len(w)
	}
	return st
}

// effects collects what those outside have to be told once no lock is held.
type effects struct {
	changed bool
	gone    []netip.Addr
	notes   []note
}

// note is a line of the log.
type note struct {
	level slog.Level
	text  string
	args  []any
}

func (e *effects) note(level slog.Level, text string, args ...any) {
	e.notes = append(e.notes, note{level, text, args})
}

func (e *effects) noteBound(attached bool, what call.Service) {
	text := "detached"
	if attached {
		text = "attached"
	}
	e.note(slog.LevelDebug, text, "service", what.String(), "hostname", what.Hostname)
}

// update changes the store and then tells those outside.
func (s *Store) update(change func(*effects)) {
	var e effects
	s.mu.Lock()
	change(&e)
	if e.changed {
		s.version.Add(1)
	}
	s.mu.Unlock()
	s.tell(e)
}

func (s *Store) tell(e effects) {
	for _, n := range e.notes {
		s.opt.Log.Log(context.Background(), n.level, n.text, n.args...)
	}
	if s.opt.Gone != nil {
		for _, a := range e.gone {
			s.opt.Gone(a)
		}
	}
	if e.changed && s.opt.Changed != nil {
		s.opt.Changed()
	}
}

// applyAddresses takes over workloads and services. With full these are all there are. What is new comes before what is
// gone, so that a service whose pods are all replaced at once is never without one.
func (s *Store) applyAddresses(full bool, changed []resource, removed []string) []rejected {
	var refused []rejected
	for part := range slices.Chunk(changed, batch) {
		read, bad := s.read(part)
		refused = append(refused, bad...)
		s.update(func(e *effects) {
			for _, r := range read {
				if r.workload != nil {
					s.putWorkload(r.workload, e)
				} else {
					s.define(r.service, e)
				}
			}
		})
	}
	if full {
		removed = s.strangers(changed)
	}
	for part := range slices.Chunk(removed, batch) {
		s.update(func(e *effects) {
			for _, name := range part {
				s.remove(name, e)
			}
		})
	}
	s.update(func(*effects) { s.updated = time.Now() })
	return refused
}

// applyPolicies counts the policies of ztunnel.
func (s *Store) applyPolicies(full bool, changed []resource, removed []string) []rejected {
	s.update(func(*effects) {
		if full {
			clear(s.policies)
		}
		for _, r := range changed {
			s.policies[r.name] = struct{}{}
		}
		for _, name := range removed {
			delete(s.policies, name)
		}
		s.updated = time.Now()
	})
	return nil
}

// strangers returns the names of what is known and not among the given resources. One that was refused is among them: istiod
// has it, and what we knew of it before stays.
func (s *Store) strangers(all []resource) []string {
	there := make(map[string]struct{}, len(all))
	for _, r := range all {
		there[r.name] = struct{}{}
		if host, ok := hostOf(r.name); ok {
			there[host.Namespace+"/"+host.Hostname] = struct{}{}
		}
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	var names []string
	for uid := range s.workloads {
		if _, ok := there[uid]; !ok {
			names = append(names, uid)
		}
	}
	for host, svc := range s.services {
		if name := host.Namespace + "/" + host.Hostname; svc.def != nil {
			if _, ok := there[name]; !ok {
				names = append(names, name)
			}
		}
	}
	return names
}

// remove forgets what had this name: a workload, or a service as namespace/hostname. Names are opaque, so that their shape
// does not say which (contract ambient, section 2.4).
func (s *Store) remove(name string, e *effects) {
	if w := s.workloads[name]; w != nil {
		s.removeWorkload(w, e)
		return
	}
	if host, ok := hostOf(name); ok {
		s.undefine(host, e)
	}
}
