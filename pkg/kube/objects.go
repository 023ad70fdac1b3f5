package kube

import (
	"fmt"
	"reflect"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// objects is a follower as its reflector sees it: what it is told.
type objects follower

// Add and Update take an object of the watch.
func (o *objects) Add(obj any) error { return o.Update(obj) }

// Update takes an object of the watch.
func (o *objects) Update(obj any) error {
	f := (*follower)(o)
	u, ok := obj.(*unstructured.Unstructured)
	if !ok {
		return fmt.Errorf("kube: a watch brought a %T", obj)
	}
	i := f.convert(u)
	f.source.mu.Lock()
	defer f.source.mu.Unlock()
	if f.set(f.objects, i) {
		f.tell()
	}
	return nil
}

// Delete takes an object of the watch that is no more.
func (o *objects) Delete(obj any) error {
	f := (*follower)(o)
	u, ok := obj.(*unstructured.Unstructured)
	if !ok {
		return fmt.Errorf("kube: a watch brought a %T", obj)
	}
	f.source.mu.Lock()
	defer f.source.mu.Unlock()
	k := key{u.GetNamespace(), u.GetName()}
	if f.objects[k] != nil {
		f.tell()
	}
	delete(f.objects, k)
	return nil
}

// Replace takes everything that was listed.
func (o *objects) Replace(list []any, revision string) error {
	f := (*follower)(o)
	f.source.mu.Lock()
	defer f.source.mu.Unlock()
	now := make(map[key]any, len(list))
	changed := !f.listed
	for _, obj := range list {
		i, ok := obj.(*item)
		if !ok {
			return fmt.Errorf("kube: a list brought a %T", obj)
		}
		changed = f.set(now, i) || changed
	}
	for k, kept := range f.objects {
		if _, still := now[k]; !still && kept != nil {
			changed = true
		}
	}
	if f.listed && !f.installed {
		f.source.log.Info("a kind is installed now", "kind", f.kind.name, "objects", len(now))
	}
	first := !f.listed
	f.objects, f.listed, f.installed, f.revision, f.served = now, true, true, revision, f.kind.versions[f.version]
	switch { // whether all is well, the watch shows
	case first:
		f.source.note()
	case changed:
		f.tell()
	}
	return nil
}

// Resync has no meaning here.
func (o *objects) Resync() error { return nil }

// UpdateResourceVersion is told how far the watch is.
func (o *objects) UpdateResourceVersion(revision string) {
	f := (*follower)(o)
	f.source.mu.Lock()
	defer f.source.mu.Unlock()
	f.revision = revision
}

// set puts an object into m and reports whether it is another one than is known. One that is not keeps its pointers.
func (f *follower) set(m map[key]any, i *item) (changed bool) {
	k := key{i.Namespace, i.Name}
	before := f.objects[k]
	if reflect.DeepEqual(before, i.kept) {
		m[k] = before
		return false
	}
	m[k] = i.kept
	if r, ok := i.kept.(*route); ok && before == nil {
		f.source.log.Warn("a route is not carried out by this version: calls go to the service itself", "route", r.Ref)
	}
	return true
}

// tell asks for a new picture, if what is kept of the kind is part of one.
func (f *follower) tell() {
	if !f.kind.aside {
		f.source.note()
	}
}
