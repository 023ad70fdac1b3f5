package admin_test

import (
	"errors"
	"net/http/httptest"
	"testing"

	"waymark.dev/waypoint/pkg/admin"
)

func TestReadyNamesWhatIsMissing(t *testing.T) {
	r := admin.NewReadiness("configuration", "certificates")
	certificates := errors.New("no bundle")
	r.Check("certificates", func() error { return certificates })
	h := admin.Handler(r)
	steps := []struct {
		name       string
		do         func()
		wantStatus int
		wantBody   string
	}{
		{"at_start", func() {}, 503, "waiting for certificates, configuration\n"},
		{"configured", func() { r.Done("configuration") }, 503, "waiting for certificates\n"},
		{"certified", func() { certificates = nil }, 200, "ready\n"},
		{"bundle_lost", func() { certificates = errors.New("empty") }, 503, "waiting for certificates\n"},
		{"bundle_back", func() { certificates = nil }, 200, "ready\n"},
		{"draining", func() { r.Undo("not draining") }, 503, "waiting for not draining\n"},
	}
	for _, s := range steps {
		s.do()
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/healthz/ready", nil))
		if w.Code != s.wantStatus || w.Body.String() != s.wantBody {
			t.Errorf("%s: got %d %q, want %d %q", s.name, w.Code, w.Body, s.wantStatus, s.wantBody)
		}
		w = httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/healthz/live", nil))
		if w.Code != 200 {
			t.Errorf("%s: live: got %d", s.name, w.Code)
		}
	}
}
