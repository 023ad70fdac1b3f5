package kube

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"waymark.dev/waypoint/pkg/mesh"
)

// Status says how far everything is, for an operator.
type Status struct {
	Version       string // of the picture that was handed over last; "" before the first
	Kinds         []KindStatus
	NotCarriedOut []mesh.Ref // routes that this version ignores
	Shadowed      []string   // objects without effect, one sentence each
}

// KindStatus is the state of one kind.
type KindStatus struct {
	Kind            string
	Resource        string // as RBAC names it: agentguards.waymark.dev
	Version         string // of the API; "" if the kind is not installed
	Installed       bool   // it is there, or was
	Synced          bool   // it was listed once, or is not installed
	Count           int
	ResourceVersion string
	Err             error // of the last attempt; nil if it is being followed
}

// Status returns the state of the moment.
func (s *Source) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	var st Status
	if s.version > 0 {
		st.Version = strconv.FormatUint(s.version, 10)
	}
	st.Shadowed = slices.Clone(s.shadowed)
	for _, f := range s.followers {
		k := KindStatus{
			Kind: f.kind.name, Resource: f.kind.title(), Installed: f.installed, Synced: f.listed, Count: len(f.objects),
			ResourceVersion: f.revision, Err: f.err,
		}
		if f.installed {
			k.Version = f.served
		}
		st.Kinds = append(st.Kinds, k)
		for _, kept := range f.objects {
			if r, ok := kept.(*route); ok {
				st.NotCarriedOut = append(st.NotCarriedOut, r.Ref)
			}
		}
	}
	slices.SortFunc(st.NotCarriedOut, func(a, b mesh.Ref) int { return strings.Compare(a.String(), b.String()) })
	return st
}

// maxCauses bounds how many causes Ready names.
const maxCauses = 3

// Ready returns nil once every kind was listed and is, or was, watched; and from then on always: what is known is used for
// as long as the API server is away.
func (s *Source) Ready() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var waiting []string
	var causes []error
	for _, f := range s.followers {
		if f.listed && (f.watched || !f.installed) {
			continue
		}
		waiting = append(waiting, f.kind.name)
		if f.err != nil && len(causes) < maxCauses {
			causes = append(causes, f.err)
		}
	}
	if len(waiting) == 0 {
		return nil
	}
	err := fmt.Errorf("kube: not read yet: %s", strings.Join(waiting, ", "))
	if len(causes) > 0 {
		err = fmt.Errorf("%w: %w", err, errors.Join(causes...))
	}
	return err
}
