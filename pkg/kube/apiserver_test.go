package kube_test

import (
	"encoding/json/v2"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"k8s.io/client-go/rest"
)

// apiserver speaks the little of Kubernetes' API that a waypoint uses. What a real one does is tested in e2e/kube; this one
// misbehaves on demand.
type apiserver struct {
	t    testing.TB
	addr string
	http *http.Server

	mu       sync.Mutex
	revision int
	floor    int // watches from before it are answered 410
	objects  map[string]map[string]object
	history  []event
	moved    chan struct{} // closed at the next event
	absent   map[string]bool
	refused  map[string]bool // "list agentguards"
	lists    map[string]int  // requests, by resource
	stale    int             // lists that would have been content with what a server remembers
	watches  map[string]int
	cut      chan struct{} // closed to end every watch
}

type object = map[string]any

type event struct {
	revision int
	resource string
	kind     string
	object   object
}

// start begins to serve. Every resource is there, and empty.
func start(t testing.TB) *apiserver {
	s := &apiserver{
		t: t, revision: 1, objects: map[string]map[string]object{}, moved: make(chan struct{}), cut: make(chan struct{}),
		absent: map[string]bool{}, refused: map[string]bool{}, lists: map[string]int{}, watches: map[string]int{},
	}
	s.up()
	t.Cleanup(s.down)
	return s
}

func (s *apiserver) up() {
	addr := s.addr
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.addr = l.Addr().String()
	s.http = &http.Server{Handler: http.HandlerFunc(s.serve)}
	go s.http.Serve(l)
}

func (s *apiserver) down() { s.http.Close() }

func (s *apiserver) config() *rest.Config {
	return &rest.Config{Host: "http://" + s.addr, QPS: 1000, Burst: 1000}
}

// change runs something under the lock.
func (s *apiserver) change(do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	do()
}

// put creates or changes an object, given as JSON. resource is its path after /apis/: waymark.dev/v1alpha1/agentguards.
func (s *apiserver) put(resource, text string) {
	var o object
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		s.t.Fatalf("%s: %v", text, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	o["apiVersion"], o["kind"] = resource[:strings.LastIndex(resource, "/")], "Any" // a watch without them brings nothing
	m := o["metadata"].(object)
	if s.objects[resource] == nil {
		s.objects[resource] = map[string]object{}
	}
	name := fmt.Sprint(m["namespace"], "/", m["name"])
	kind := "MODIFIED"
	if s.objects[resource][name] == nil {
		kind = "ADDED"
	}
	s.enter(resource, kind, o)
	s.objects[resource][name] = o
}

func (s *apiserver) remove(resource, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := maps.Clone(s.objects[resource][name])
	o["metadata"] = maps.Clone(o["metadata"].(object))
	delete(s.objects[resource], name)
	s.enter(resource, "DELETED", o)
}

func (s *apiserver) enter(resource, kind string, o object) {
	s.revision++
	o["metadata"].(object)["resourceVersion"] = strconv.Itoa(s.revision)
	s.history = append(s.history, event{s.revision, resource, kind, o})
	close(s.moved)
	s.moved = make(chan struct{})
}

// compact forgets what has happened, and ends every watch.
func (s *apiserver) compact() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revision++
	s.floor = s.revision
	close(s.cut)
	s.cut = make(chan struct{})
}

func (s *apiserver) serve(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, "/apis/"), "/api/")
	of := selection{name: strings.TrimPrefix(r.FormValue("fieldSelector"), "metadata.name=")}
	if version, rest, ok := strings.Cut(path, "/namespaces/"); ok {
		var resource string
		of.namespace, resource, _ = strings.Cut(rest, "/")
		path = version + "/" + resource
	}
	plural := path[strings.LastIndex(path, "/")+1:]
	verb := "list"
	if r.FormValue("watch") != "" {
		verb = "watch"
	}
	s.mu.Lock()
	absent, refused := s.absent[path], s.refused[verb+" "+plural]
	if verb == "list" {
		s.lists[plural]++
		if r.FormValue("resourceVersion") != "" {
			s.stale++
		}
	} else {
		s.watches[plural]++
	}
	s.mu.Unlock()
	switch {
	case absent:
		fail(w, 404, "NotFound", "the server could not find the requested resource")
	case refused:
		fail(w, 403, "Forbidden", fmt.Sprintf("%s is forbidden: User \"w\" cannot %s resource %q", plural, verb, plural))
	case verb == "list":
		s.list(w, r, path, of)
	default:
		s.watch(w, r, path, of)
	}
}

// selection is which objects of a resource somebody asks for; an empty part is any.
type selection struct{ namespace, name string }

func (s selection) has(o object) bool {
	m := o["metadata"].(object)
	return (s.namespace == "" || s.namespace == m["namespace"]) && (s.name == "" || s.name == m["name"])
}

func fail(w http.ResponseWriter, code int, reason, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	json.MarshalWrite(w, object{"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message})
}

func (s *apiserver) list(w http.ResponseWriter, r *http.Request, path string, of selection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(s.objects[path])), func(n string) bool { return !of.has(s.objects[path][n]) })
	from, _ := strconv.Atoi(r.FormValue("continue"))
	limit, _ := strconv.Atoi(r.FormValue("limit"))
	until := len(names)
	meta := object{"resourceVersion": strconv.Itoa(s.revision)}
	if limit > 0 && from+limit < until {
		until = from + limit
		meta["continue"] = strconv.Itoa(until)
	}
	items := []object{}
	for _, n := range names[from:until] {
		items = append(items, s.objects[path][n])
	}
	w.Header().Set("Content-Type", "application/json")
	json.MarshalWrite(w, object{"kind": "List", "apiVersion": "v1", "metadata": meta, "items": items})
}

func (s *apiserver) watch(w http.ResponseWriter, r *http.Request, path string, of selection) {
	at, _ := strconv.Atoi(r.FormValue("resourceVersion"))
	s.mu.Lock()
	expired := at < s.floor
	cut := s.cut
	s.mu.Unlock()
	if expired {
		fail(w, 410, "Expired", "too old resource version")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.(http.Flusher).Flush()
	for {
		s.mu.Lock()
		var due []event
		for _, e := range s.history {
			if e.revision > at && e.resource == path && of.has(e.object) {
				due = append(due, e)
			}
		}
		at = s.revision
		moved := s.moved
		for _, e := range due {
			json.MarshalWrite(w, object{"type": e.kind, "object": e.object})
		}
		s.mu.Unlock()
		w.(http.Flusher).Flush()
		select {
		case <-moved:
		case <-cut:
			return
		case <-r.Context().Done():
			return
		}
	}
}
