package wds

import (
	"cmp"
	"slices"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/types/known/anypb"
)

// Resource is what a client hands to its sink.
type Resource struct {
	Name, Version string
	Body          *anypb.Any
}

// Sink is a sink of a test. It returns what it cannot use.
type Sink interface {
	Addresses(full bool, changed []Resource, removed []string) map[string]error
	Policies(full bool, changed []Resource, removed []string) map[string]error
}

// NewClientTo is NewClient with a sink of a test in place of the Store.
func NewClientTo(o ClientOptions, to Sink) (*Client, error) { return newClient(o, adapter{to}) }

type adapter struct{ Sink }

func (a adapter) applyAddresses(full bool, changed []resource, removed []string) []rejected {
	return refusals(a.Addresses(full, shown(changed), removed))
}

func (a adapter) applyPolicies(full bool, changed []resource, removed []string) []rejected {
	return refusals(a.Policies(full, shown(changed), removed))
}

func shown(resources []resource) []Resource {
	var out []Resource
	for _, r := range resources {
		out = append(out, Resource{r.name, r.version, r.body})
	}
	return out
}

func refusals(causes map[string]error) []rejected {
	var out []rejected
	for name, err := range causes {
		out = append(out, rejected{name: name, err: err})
	}
	slices.SortFunc(out, func(a, b rejected) int { return cmp.Compare(a.name, b.name) })
	return out
}

// Proto shows what istiod is told of a node.
func (n Node) Proto(discovery string) (*core.Node, error) { return n.proto(discovery) }

// Orderly shows how the end of a stream is taken.
var Orderly = orderly

// Backoff is the waits between streams.
type Backoff struct{ b backoff }

func (b *Backoff) Next(good bool) time.Duration { return b.b.next(good) }
