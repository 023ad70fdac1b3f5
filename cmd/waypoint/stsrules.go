package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"waymark.dev/waypoint/pkg/api/v1alpha1"
	"waymark.dev/waypoint/pkg/config"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/kube"
	"waymark.dev/waypoint/pkg/ruleset"
	"waymark.dev/waypoint/pkg/sts"
)

// stsRules is what a token service goes by: who may trade what, and whose tokens are taken.
type stsRules struct {
	generation string
	grants     []*sts.Grant
	subjects   sts.Verifier
}

// stsInForce are the rules in force.
type stsInForce struct{ atomic.Pointer[stsRules] }

func (r *stsInForce) grants() []*sts.Grant { return r.Load().grants }

// Verify implements sts.Verifier.
func (r *stsInForce) Verify(ctx context.Context, token string) (*identity.Claims, error) {
	return r.Load().subjects.Verify(ctx, token)
}

// nobodys takes no token, and does not say that it is bad: nothing is known of it.
type nobodys struct{}

// Verify implements sts.Verifier.
func (nobodys) Verify(context.Context, string) (*identity.Claims, error) {
	return nil, errors.New("the AgentAuthentication of the subjects cannot be used")
}

// fromDirectory reads the rules from YAML. before is what is in force, or nil: it is returned again if nothing has changed.
func (f *stsFlags) fromDirectory(a *ruleset.Authorities, before *stsRules) (*stsRules, error) {
	c, problems := config.LoadObjects(f.config)
	if len(problems) > 0 {
		return nil, fmt.Errorf("configuration %s:\n%w", f.config, problems)
	}
	if before != nil && before.generation == c.Generation() {
		return before, nil
	}
	r := &stsRules{generation: c.Generation()}
	var faults []string
	if r.grants, faults = sts.CompileGrants(c.Exchanges); len(faults) > 0 {
		return nil, fmt.Errorf("configuration %s:\n%s", f.config, strings.Join(faults, "\n"))
	}
	for _, o := range c.Authentications {
		if o.Namespace+"/"+o.Name != f.subjects {
			continue
		}
		issuers, faults := ruleset.NewIssuers(o, ruleset.ReferencesIn(c), a)
		for _, p := range faults {
			problems = append(problems, c.Problem(v1alpha1.KindAgentAuthentication, o.Namespace, o.Name, p.Field, p.Text))
		}
		if len(problems) > 0 {
			return nil, problems
		}
		r.subjects = issuers
		return r, nil
	}
	return nil, fmt.Errorf("--subjects: %s has no AgentAuthentication %s", f.config, f.subjects)
}

// follow keeps the rules as a directory or an API server has them, until ctx ends. It returns once there are some, and then what to
// do from time to time.
func (f *stsFlags) follow(ctx context.Context, running *sync.WaitGroup, in *stsInForce, a *ruleset.Authorities, log *slog.Logger) (look func(), err error) {
	if f.config == "" {
		return func() {}, f.fromCluster(ctx, running, in, a, log)
	}
	first, err := f.fromDirectory(a, nil)
	if err != nil {
		return nil, err
	}
	in.Store(first)
	return func() {
		switch next, err := f.fromDirectory(a, in.Load()); {
		case err != nil:
			log.Error("the grants in force stay", "cause", err)
		case next != in.Load():
			in.Store(next)
			log.Info("grants in force", "grants", len(next.grants), "generation", next.generation)
		}
	}, nil
}

// fromCluster follows the API server, and returns once tokens can be taken. Grants count in the namespace of the subjects alone: whoever may
// write them there says who gets which tokens.
func (f *stsFlags) fromCluster(ctx context.Context, running *sync.WaitGroup, in *stsInForce, a *ruleset.Authorities, log *slog.Logger) error {
	namespace, _, ok := strings.Cut(f.subjects, "/")
	if !ok {
		return errors.New("--subjects: must be NAMESPACE/NAME")
	}
	api, err := kube.ConfigFrom(f.kubeconfig)
	if err != nil {
		return fmt.Errorf("API server: %w", err)
	}
	ready := make(chan struct{})
	var first sync.Once
	source, err := kube.New(kube.Options{
		Config: api, Namespace: namespace, TokenService: true, Log: log,
		Apply: func(c *config.Cluster) {
			next, err := f.ofCluster(c, a, log)
			in.Store(next)
			if err != nil {
				log.Error("no token is taken", "cause", err)
				return
			}
			log.Info("grants in force", "grants", len(next.grants))
			first.Do(func() { close(ready) })
		},
	})
	if err != nil {
		return err
	}
	running.Go(func() { _ = source.Run(ctx) })
	select {
	case <-ready:
		return nil
	case <-ctx.Done():
		return errors.Join(ctx.Err(), source.Ready())
	}
}

// ofCluster makes rules of what the API server has. An object with a mistake permits nothing: with an error there are rules, too, by
// which no token is taken.
func (f *stsFlags) ofCluster(c *config.Cluster, a *ruleset.Authorities, log *slog.Logger) (*stsRules, error) {
	r := &stsRules{subjects: nobodys{}}
	for _, x := range c.Exchanges {
		grants, faults := sts.CompileGrants([]*v1alpha1.TokenExchange{x.Object})
		if x.Problem != "" {
			faults = append(faults, fmt.Sprintf("TokenExchange %s/%s: %s", x.Object.Namespace, x.Object.Name, x.Problem))
		}
		if len(faults) > 0 {
			log.Error("an object permits nothing", "cause", strings.Join(faults, "; "))
			continue
		}
		r.grants = append(r.grants, grants...)
	}
	for _, o := range c.Authentications {
		if o.Object.Namespace+"/"+o.Object.Name != f.subjects {
			continue
		}
		if o.Problem != "" {
			return r, fmt.Errorf("AgentAuthentication %s: %s", f.subjects, o.Problem)
		}
		issuers, faults := ruleset.NewIssuers(o.Object, ruleset.ReferencesByName(c, cmp.Or(os.Getenv("CLUSTER_DOMAIN"), kube.DefaultDomain)), a)
		if len(faults) > 0 {
			return r, fmt.Errorf("AgentAuthentication %s: %s", f.subjects, faults[0])
		}
		r.subjects = issuers
		return r, nil
	}
	return r, fmt.Errorf("--subjects: there is no AgentAuthentication %s", f.subjects)
}
