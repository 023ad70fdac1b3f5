package kube

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

const (
	pageSize    = 500         // objects in one answer
	listTimeout = time.Minute // for one page
	steady      = time.Second // a watch that lasted so long was a good one
)

// follower keeps what is known of one kind.
type follower struct {
	source    *Source
	kind      *kind
	reader    *reader
	reflector *cache.Reflector

	// Only run, and what it calls, use these.
	version int       // of those of the kind
	due     time.Time // when the watch was to end by itself; zero if there was none since the list

	// Guarded by source.mu.
	objects   map[key]any // what is kept of every object, also nil
	listed    bool        // once, or known to be not installed
	watched   bool        // once
	installed bool        // once
	err       error       // of the last attempt
	forgotten bool        // nobody wants to know any more
	revision  string
	served    string // the version of the API that was listed
}

type key struct{ namespace, name string }

func newFollower(s *Source, k *kind) *follower {
	f := &follower{source: s, kind: k, reader: &reader{s.opt.Namespace, s.opt.Gateway, s.opt.ClusterDomain}, objects: map[key]any{}}
	f.reflector = cache.NewReflectorWithOptions(pages{&cache.ListWatch{ListWithContextFunc: f.list, WatchFuncWithContext: f.watch}}, nil,
		(*objects)(f), cache.ReflectorOptions{
			Logger: &klog.Logger{}, Name: k.name, TypeDescription: k.name,
			Backoff: &wait.Backoff{Duration: firstPause, Cap: longestPause, Steps: 10, Factor: 2, Jitter: 0.5},
		})
	f.reflector.WatchListPageSize = pageSize
	return f
}

// pages makes the reflector list in pages, rather than have everything streamed in one watch.
type pages struct{ *cache.ListWatch }

// IsWatchListSemanticsUnSupported is what the reflector asks.
func (pages) IsWatchListSemanticsUnSupported() bool { return true }

// run lists and watches until ctx ends. What goes wrong is tried again, sooner or later.
func (f *follower) run(ctx context.Context) {
	ctx = klog.NewContext(ctx, klog.Logger{}) // the reflector's log says nothing that the status does not
	var p pause
	var unknown int // versions that the API server did not know, in a row
	for ctx.Err() == nil {
		began := time.Now()
		err := f.reflector.ListAndWatchWithContext(ctx)
		if apierrors.IsNotFound(err) && ctx.Err() == nil {
			f.version = (f.version + 1) % len(f.kind.versions)
			if unknown++; unknown >= len(f.kind.versions) {
				unknown = 0
				f.missing()
				sleep(ctx, f.source.opt.Look)
			}
			continue
		}
		unknown = 0
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !errors.Is(err, errEnded):
			f.failed(err)
		case time.Since(began) >= steady:
			p.reset()
		}
		p.sleep(ctx)
	}
}

func (f *follower) resource() dynamic.ResourceInterface {
	all := f.source.api.Resource(f.kind.in(f.kind.versions[f.version]))
	if f.kind.only != nil {
		return all.Namespace(f.kind.only.namespace)
	}
	if f.kind.within != "" {
		return all.Namespace(f.kind.within)
	}
	return all
}

func (f *follower) narrow(o *metav1.ListOptions) {
	if f.kind.only != nil {
		o.FieldSelector = "metadata.name=" + f.kind.only.name // so that a role can permit this one object alone
	}
}

// list reads a page. It asks for what is newest, and not, as reflectors do, for what some API server remembers: a policy
// that was there before a waypoint started must be known to it.
func (f *follower) list(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
	f.due = time.Time{}
	f.narrow(&o)
	o.ResourceVersion, o.ResourceVersionMatch = "", ""
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	found, err := f.resource().List(ctx, o)
	if err != nil {
		return nil, err
	}
	page := &internalversion.List{ListMeta: metav1.ListMeta{
		ResourceVersion: found.GetResourceVersion(), Continue: found.GetContinue(), RemainingItemCount: found.GetRemainingItemCount(),
	}}
	for i := range found.Items {
		page.Items = append(page.Items, f.convert(&found.Items[i]))
		found.Items[i].Object = nil
	}
	return page, nil
}

// errEnded makes the reflector list again.
var errEnded = errors.New("kube: the watch has ended before its time")

// watch opens a watch, or takes up where one left off that ended in its time. If it ended before, everything is listed again
// where the kind is a custom resource: the API server ends watches when a CRD changes, but for a second or two after the
// change they bring new objects as the old schema knows them, without fields that may narrow an ALLOW.
//
// While the API server is away, it keeps trying.
func (f *follower) watch(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
	if f.kind.group != "" && !f.due.IsZero() && time.Until(f.due) > steady {
		return nil, errEnded
	}
	f.narrow(&o)
	var p pause
	for {
		f.due = time.Now().Add(time.Duration(*o.TimeoutSeconds) * time.Second) // a reflector always sets it
		w, err := f.resource().Watch(ctx, o)
		switch {
		case ctx.Err() != nil:
			if err == nil {
				w.Stop()
			}
			return nil, ctx.Err()
		case err == nil:
			f.following()
			return w, nil
		case definite(err):
			return nil, err
		}
		f.failed(err)
		p.sleep(ctx)
	}
}

// definite reports whether the API server has answered, and will not answer anything else to the same question soon.
func definite(err error) bool {
	var status apierrors.APIStatus // errors.AsType takes no interface that is not an error
	if !errors.As(err, &status) {
		return false
	}
	code := status.Status().Code
	return code >= 400 && code < 500 && code != http.StatusTooManyRequests && code != http.StatusRequestTimeout
}

// item is what is kept of an object, in a form that a reflector takes.
type item struct {
	metav1.PartialObjectMetadata
	kept any
}

// DeepCopyObject makes item a runtime.Object. Nobody calls it.
func (i *item) DeepCopyObject() runtime.Object {
	return &item{*i.PartialObjectMetadata.DeepCopy(), i.kept}
}

func (f *follower) convert(u *unstructured.Unstructured) *item {
	u.SetKind(f.kind.name) // a list does not say it of each
	i := &item{kept: f.kind.keep(f.reader, u)}
	i.Namespace, i.Name, i.ResourceVersion = u.GetNamespace(), u.GetName(), u.GetResourceVersion()
	return i
}

// following notes that a watch is open.
func (f *follower) following() {
	f.source.mu.Lock()
	defer f.source.mu.Unlock()
	f.watched = true
	f.recovered()
}

// failed notes what went wrong. What is known stays.
func (f *follower) failed(err error) {
	s := f.source
	s.mu.Lock()
	defer s.mu.Unlock()
	if apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) {
		err = fmt.Errorf("list and watch on %s are needed: %w", f.kind.title(), err)
	}
	before := f.err
	if f.forgotten {
		return
	}
	if f.err = err; before == nil {
		s.failing++
		if f.kind.only != nil {
			s.note() // who waits for it waits no longer
		}
	}
	switch {
	case definite(err):
		if before == nil || before.Error() != err.Error() {
			s.log.Error("objects cannot be followed", "kind", f.kind.name, "known", f.listed, "cause", err)
		}
	case before == nil && s.failing == 1: // it is away for all of them
		s.log.Warn("the API server cannot be reached: what is known stays", "kind", f.kind.name, "cause", err)
	}
}

// missing notes that the API server does not know the kind.
func (f *follower) missing() {
	s := f.source
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case f.installed:
		if _, said := errors.AsType[gone](f.err); said {
			return
		}
		if f.err == nil {
			s.failing++
		}
		f.err = gone{f.kind.title()}
		s.log.Error("a kind is gone: what was known of it stays", "kind", f.kind.name, "objects", len(f.objects), "cause", f.err)
	case !f.listed:
		f.listed = true
		f.recovered()
		s.log.Info("a kind is not installed: there are no such objects", "kind", f.kind.name, "resource", f.kind.title())
		s.note()
	default:
		f.recovered()
	}
}

// gone is the error of a kind that was there.
type gone struct{ resource string }

func (g gone) Error() string { return "the API server does not know " + g.resource + " any more" }

// recovered notes that nothing is wrong any more.
func (f *follower) recovered() {
	if f.err == nil {
		return
	}
	f.err = nil
	if f.source.failing--; f.source.failing == 0 {
		f.source.log.Info("every kind is followed again")
	}
}
