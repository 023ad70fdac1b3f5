package kube

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"waymark.dev/waypoint/pkg/config"
)

// Defaults of the options.
const (
	DefaultDomain   = "cluster.local"
	DefaultDebounce = 10 * time.Millisecond
	DefaultLook     = 30 * time.Second
)

// patience is how many times the debounce a picture may be put off while changes keep coming.
const patience = 5

// Options say whose picture is kept, and who gets it.
type Options struct {
	Config             *rest.Config // see [ConfigFrom]
	Namespace, Gateway string       // the Gateway that the waypoint belongs to

	// TokenService follows what a token service reads, in Namespace alone: AgentAuthentications, the TokenExchanges that have grants,
	// and what they refer to. There is no Gateway then.
	TokenService bool

	ClusterDomain string // of Services; "" means DefaultDomain
	Log           *slog.Logger

	// Apply takes a new picture over. It is called by one goroutine, in the order of the changes, and only once every kind was
	// read. It must not change what it is given.
	Apply func(*config.Cluster)

	Debounce time.Duration // how long no change must come before a picture is made; five times that under continuous change
	Look     time.Duration // how often a kind that is not installed is looked for
}

// Source is the picture, and what keeps it. It is safe for concurrent use.
type Source struct {
	opt       Options
	log       *slog.Logger
	http      *http.Client
	api       dynamic.Interface
	followers []*follower
	changed   chan struct{} // something that is handed over has changed; holds one

	data map[config.DataRef]*data // what objects refer to; mu guards it, and only deliver changes it

	mu       sync.Mutex // also guards what the followers hold
	version  uint64     // of the picture made last
	failing  int        // followers whose last attempt failed
	shadowed []string
}

// New prepares a source. It does not talk to the API server yet.
func New(o Options) (*Source, error) {
	switch {
	case o.Config == nil:
		return nil, errors.New("kube: Options.Config is required")
	case o.TokenService && (o.Namespace == "" || o.Gateway != ""):
		return nil, errors.New("kube: Options.Namespace is required for a token service, and Options.Gateway is not for it")
	case !o.TokenService && (o.Namespace == "" || o.Gateway == ""):
		return nil, errors.New("kube: Options.Namespace and Options.Gateway are required")
	case o.Apply == nil:
		return nil, errors.New("kube: Options.Apply is required")
	case o.Debounce < 0 || o.Look < 0:
		return nil, errors.New("kube: Options.Debounce and Options.Look must not be negative")
	}
	setDefault(&o.ClusterDomain, DefaultDomain)
	setDefault(&o.Debounce, DefaultDebounce)
	setDefault(&o.Look, DefaultLook)
	setDefault(&o.Log, slog.New(slog.DiscardHandler))

	cfg := rest.CopyConfig(o.Config)
	cfg.WarningHandler = rest.NoWarnings{} // they are about how somebody wrote an object, and go to another log than ours
	setDefault(&cfg.UserAgent, userAgent())
	client, err := rest.HTTPClientFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("kube: %w", err)
	}
	api, err := dynamic.NewForConfigAndClient(cfg, client)
	if err != nil {
		return nil, fmt.Errorf("kube: %w", err)
	}
	s := &Source{opt: o, log: o.Log, http: client, api: api, changed: make(chan struct{}, 1), data: map[config.DataRef]*data{}}
	followed := kinds(&key{o.Namespace, o.Gateway})
	if o.TokenService {
		followed = kindsOfTokenService(o.Namespace)
	}
	for _, k := range followed {
		s.followers = append(s.followers, newFollower(s, k))
	}
	return s, nil
}

func setDefault[T comparable](v *T, otherwise T) {
	if *v == *new(T) {
		*v = otherwise
	}
}

// Run follows the API server until ctx ends, and then returns nil. It can be called once.
func (s *Source) Run(ctx context.Context) error {
	defer utilnet.CloseIdleConnectionsFor(s.http.Transport)
	var all sync.WaitGroup
	for _, f := range s.followers {
		all.Go(func() { f.run(ctx) })
	}
	s.deliver(ctx, &all)
	all.Wait()
	return nil
}

// deliver hands over a picture after each change, once it knows of everything that it refers to whether it can be read.
func (s *Source) deliver(ctx context.Context, running *sync.WaitGroup) {
	var again <-chan time.Time // when the picture changes by itself
	for {
		select {
		case <-ctx.Done():
			return
		case <-again:
		case <-s.changed:
		}
		if !s.settle(ctx) {
			return
		}
		c, refs, until := s.picture(time.Now())
		if refs != nil {
			s.want(ctx, running, refs)
		}
		if again = nil; !until.IsZero() {
			again = time.After(time.Until(until))
		}
		if c != nil {
			s.opt.Apply(c)
		}
	}
}

// settle waits until no change has come for a moment, but not forever.
func (s *Source) settle(ctx context.Context) bool {
	latest := time.After(patience * s.opt.Debounce)
	for {
		select {
		case <-ctx.Done():
			return false
		case <-s.changed:
		case <-latest:
			return true
		case <-time.After(s.opt.Debounce):
			return true
		}
	}
}

// note remembers that a new picture is due.
func (s *Source) note() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}
