package kube

import (
	"cmp"
	"context"
	"encoding/base64"
	"reflect"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"waymark.dev/waypoint/pkg/api/v1alpha1"
	"waymark.dev/waypoint/pkg/config"
)

// courtesy is how long a picture waits for what it refers to for the first time. What it has not got by then counts as unreadable,
// and closes what needs it.
const courtesy = 5 * time.Second

const (
	kindConfigMap = "ConfigMap"
	kindSecret    = "Secret"
)

// data follows one ConfigMap or Secret, and nothing else of its kind: a role that permits so much can name it.
type data struct {
	follower *follower
	wanted   time.Time // since when
	end      context.CancelFunc
}

var (
	configMapRef = reflect.TypeFor[v1alpha1.ConfigMapKeyRef]()
	secretRef    = reflect.TypeFor[v1alpha1.SecretKeyRef]()
)

// references lists the ConfigMaps and Secrets that a spec names, each once.
func references(namespace string, spec any) []config.DataRef {
	var refs []config.DataRef
	var walk func(v reflect.Value)
	walk = func(v reflect.Value) {
		switch v.Kind() {
		case reflect.Pointer, reflect.Interface:
			if !v.IsNil() {
				walk(v.Elem())
			}
		case reflect.Slice:
			for i := range v.Len() {
				walk(v.Index(i))
			}
		case reflect.Struct:
			switch v.Type() {
			case configMapRef:
				refs = append(refs, config.DataRef{Kind: kindConfigMap, Namespace: namespace, Name: v.FieldByName("Name").String()})
				return
			case secretRef:
				refs = append(refs, config.DataRef{Kind: kindSecret, Namespace: namespace, Name: v.FieldByName("Name").String()})
				return
			}
			for i := range v.NumField() {
				walk(v.Field(i))
			}
		}
	}
	walk(reflect.ValueOf(spec))
	slices.SortFunc(refs, func(a, b config.DataRef) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})
	return slices.Compact(refs)
}

// keepData reads a ConfigMap or a Secret.
func keepData(_ *reader, u *unstructured.Unstructured) any {
	d := &config.Data{Version: string(u.GetUID()) + "/" + u.GetResourceVersion(), Entries: map[string][]byte{}}
	plain, _ := u.Object["data"].(map[string]any)
	coded, _ := u.Object["binaryData"].(map[string]any)
	if u.GetKind() == kindSecret {
		plain, coded = nil, plain
	}
	for name, value := range plain {
		if text, ok := value.(string); ok {
			d.Entries[name] = []byte(text)
		}
	}
	for name, value := range coded {
		text, _ := value.(string)
		if b, err := base64.StdEncoding.DecodeString(text); err == nil {
			d.Entries[name] = b
		}
	}
	return d
}

// want follows what is referred to, and no longer what is not.
func (s *Source) want(ctx context.Context, running *sync.WaitGroup, refs map[config.DataRef]bool) {
	for ref, d := range s.data {
		if refs[ref] {
			continue
		}
		d.end()
		s.mu.Lock()
		delete(s.data, ref)
		d.follower.forgotten = true
		d.follower.recovered()
		s.mu.Unlock()
	}
	for ref := range refs {
		if s.data[ref] != nil {
			continue
		}
		k := &kind{name: ref.Kind, resource: "secrets", versions: []string{"v1"}, only: &key{ref.Namespace, ref.Name}, keep: keepData}
		if ref.Kind == kindConfigMap {
			k.resource = "configmaps"
		}
		d := &data{follower: newFollower(s, k), wanted: time.Now()}
		var following context.Context
		following, d.end = context.WithCancel(ctx)
		s.mu.Lock()
		s.data[ref] = d
		s.mu.Unlock()
		running.Go(func() { d.follower.run(following) })
	}
}

// known is what is known of what is referred to. until is when a picture stops waiting for what nothing is known of yet; zero if
// there is nothing to wait for. mu is held.
func (s *Source) known(refs map[config.DataRef]bool, now time.Time) (all map[config.DataRef]*config.Data, until time.Time) {
	if len(refs) == 0 {
		return nil, time.Time{}
	}
	all = make(map[config.DataRef]*config.Data, len(refs))
	for ref := range refs {
		d := s.data[ref]
		switch {
		case d == nil: // it is wanted from now on
			until = now.Add(courtesy)
		case d.follower.listed:
			kept, ok := d.follower.objects[key{ref.Namespace, ref.Name}].(*config.Data)
			if !ok {
				kept = &config.Data{Problem: "there is no " + ref.String()}
			}
			all[ref] = kept
		case d.follower.err != nil:
			all[ref] = &config.Data{Problem: ref.String() + " cannot be read: " + d.follower.err.Error()}
		case now.Before(d.wanted.Add(courtesy)):
			until = d.wanted.Add(courtesy)
		}
	}
	return all, until
}
