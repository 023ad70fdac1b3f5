package matrix_test

import (
	"bytes"
	"context"
	stdjson "encoding/json" // v1, on purpose: it folds case and takes the last of two members
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	sdkrpc "github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"waymark.dev/waypoint/internal/mcpmatrix"
	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/jsonrpc"
	"waymark.dev/waypoint/pkg/mcp"
)

// executed is what a server has understood a message to ask for.
type executed struct {
	method, name string
	arguments    []byte
}

// peer is a server of the Go SDK that notes what it would run, and runs nothing.
type peer struct {
	handler http.Handler
	ran     *executed // by the request at hand
	runs    int
}

func newPeer() *peer {
	p := &peer{}
	s := sdk.NewServer(&sdk.Implementation{Name: "peer", Version: "1"}, nil)
	s.AddReceivingMiddleware(func(sdk.MethodHandler) sdk.MethodHandler {
		return func(_ context.Context, method string, r sdk.Request) (sdk.Result, error) {
			e := understood(method, r.GetParams())
			p.ran = &e
			p.runs++
			return nil, errors.New("noted")
		}
	})
	p.handler = sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return s }, &sdk.StreamableHTTPOptions{
		Stateless: true, JSONResponse: true, DisableLocalhostProtection: true,
	})
	return p
}

func understood(method string, params sdk.Params) executed {
	e := executed{method: method}
	switch p := params.(type) {
	case *sdk.CallToolParamsRaw:
		e.name, e.arguments = p.Name, p.Arguments
	case *sdk.GetPromptParams:
		e.name = p.Name
	case *sdk.ReadResourceParams:
		e.name = p.URI
	case *sdk.SubscribeParams:
		e.name = p.URI
	case *sdk.UnsubscribeParams:
		e.name = p.URI
	case *sdk.CompleteParams:
		if p.Ref != nil {
			e.name = p.Ref.Name + p.Ref.URI // it refuses both
		}
	}
	return e
}

// run posts a message and returns what the server made of it, nil if it refused, and its answer.
func (p *peer) run(h http.Header, body []byte) (*executed, []byte) {
	p.ran = nil
	req := httptest.NewRequest(http.MethodPost, "/mcp", bytes.NewReader(body))
	req.Header = h.Clone()
	req.Header.Set("Accept", "application/json, text/event-stream")
	rec := httptest.NewRecorder()
	p.handler.ServeHTTP(rec, req)
	return p.ran, rec.Body.Bytes()
}

// checkAgreement holds that whoever runs what Decode lets through runs what a policy has judged.
func checkAgreement(t *testing.T, p *peer, h http.Header, body []byte) {
	t.Helper()
	m, _ := mcp.Decode(&call.Request{Method: http.MethodPost, Path: "/mcp", Header: h}, bytes.Clone(body), mcp.Options{})
	if m == nil {
		return
	}
	var c call.Call
	m.Fill(&c)
	if c.Method == "response" {
		checkFolded(t, &c, body)
		return
	}
	checkSDK(t, &c, body)
	checkFolded(t, &c, body)
	ran, answer := p.run(h, body)
	if ran == nil {
		return
	}
	if ran.method != c.Method || ran.name != "" && ran.name != c.Target.Name {
		t.Fatalf("judged %s %q, the Go SDK runs %s %q: %q", c.Method, c.Target.Name, ran.method, ran.name, body)
	}
	if len(c.Target.Name) > 0 && ran.name == "" && c.Target.Kind == call.Tool {
		t.Fatalf("judged %s %q, the Go SDK runs one without a name: %q", c.Method, c.Target.Name, body)
	}
	if c.Method == "tools/call" && !bytes.Equal(nullToNil(ran.arguments), c.Arguments) {
		t.Fatalf("judged %s, the Go SDK runs it with %s", c.Arguments, ran.arguments)
	}
	theirs, err := jsonrpc.Parse(answer, jsonrpc.ResponseLimits())
	ours, _ := jsonrpc.Parse(body, jsonrpc.RequestLimits())
	if err == nil && !theirs.ID.Equal(ours.ID) {
		t.Fatalf("judged the id %s, the Go SDK answers to %s", ours.ID, theirs.ID)
	}
}

func nullToNil(v []byte) []byte {
	if string(v) == "null" {
		return nil
	}
	return v
}

// checkSDK compares with the Go SDK's own decoder of envelopes.
func checkSDK(t *testing.T, c *call.Call, body []byte) {
	t.Helper()
	m, err := sdkrpc.DecodeMessage(body)
	if err != nil {
		return // it refuses, too
	}
	r, ok := m.(*sdkrpc.Request)
	if !ok || r.Method != c.Method {
		t.Fatalf("judged %s, the Go SDK reads %#v", c.Method, m)
	}
}

var behindNUL = regexp.MustCompile(`\\u0000[^"]*"`)

// checkFolded compares with a reader that folds case and takes the last of two members, and with one that also stops at a NUL.
func checkFolded(t *testing.T, c *call.Call, body []byte) {
	t.Helper()
	for _, text := range [][]byte{body, behindNUL.ReplaceAll(body, []byte(`"`))} {
		var v struct {
			Method string
			Params struct {
				Name, URI, TaskID string
				Ref               struct{ Name, URI string }
			}
		}
		if stdjson.Unmarshal(text, &v) != nil { // it names nothing, or something of another type
			continue
		}
		if v.Method != c.Method && c.Method != "response" {
			t.Fatalf("judged %q, a lenient reader runs %q", c.Method, v.Method)
		}
		if name := namedBy(c, v.Params.Name, v.Params.URI, v.Params.TaskID, v.Params.Ref.Name+v.Params.Ref.URI); name != c.Target.Name {
			t.Fatalf("judged %q, a lenient reader runs %q: %q", c.Target.Name, name, text)
		}
	}
}

// namedBy picks the name that counts for the method of a call.
func namedBy(c *call.Call, name, uri, task, ref string) string {
	switch {
	case c.Method == "subscriptions/listen" || c.Target.Name == "" && c.Intent != call.Use:
		return c.Target.Name
	case c.Method == "completion/complete":
		return ref
	case c.Target.Kind == call.Task && c.Target.Name != "":
		return task
	case c.Target.Kind == call.Resource || c.Target.Kind == call.Skill:
		return uri
	case c.Target.Kind == call.Tool || c.Target.Kind == call.Prompt:
		return name
	}
	return c.Target.Name
}

// Whatever of the matrix is forwarded means to the Go SDK what it means to us.
func TestAgreement(t *testing.T) {
	p := newPeer()
	for _, transport := range []mcpmatrix.Transport{mcpmatrix.Legacy, mcpmatrix.Modern, mcpmatrix.Original} {
		for _, r := range mcpmatrix.Requests(transport) {
			if r.Want.Forward {
				checkAgreement(t, p, r.Header, r.Body)
			}
		}
	}
	if t.Logf("the Go SDK runs %d of them", p.runs); p.runs < 500 {
		t.Errorf("the Go SDK runs %d of them: it is no oracle any more", p.runs)
	}
}

// FuzzAgreement holds the same of every text there is: what was judged is what the Go SDK and a case-folding reader run, or it
// was refused.
func FuzzAgreement(f *testing.F) {
	for _, r := range seeds(f) {
		f.Add(r.Body, r.Header.Get("Mcp-Protocol-Version"), r.Header.Get("Mcp-Method"), r.Header.Get("Mcp-Name"))
	}
	p := newPeer()
	f.Fuzz(func(t *testing.T, body []byte, version, method, name string) {
		h := http.Header{"Content-Type": {"application/json"}}
		for field, v := range map[string]string{"Mcp-Protocol-Version": version, "Mcp-Method": method, "Mcp-Name": name} {
			if v != "" {
				h[field] = []string{v}
			}
		}
		checkAgreement(t, p, h, body)
	})
}

// seeds are the good messages of the matrix, some of the others, and the requests of the codec's fixtures.
func seeds(f *testing.F) (list []mcpmatrix.Request) {
	for _, transport := range []mcpmatrix.Transport{mcpmatrix.Legacy, mcpmatrix.Modern} {
		for i, r := range mcpmatrix.Requests(transport) {
			if len(r.Body) < 2<<10 && (i%40 == 0 || strings.HasSuffix(r.Name, "as it should be")) {
				list = append(list, r)
			}
		}
	}
	files, err := filepath.Glob("../../pkg/mcp/testdata/*/*.txtar")
	if err != nil || len(files) == 0 {
		f.Fatalf("no fixtures of the codec: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		list = append(list, fixture(string(text)))
	}
	return list
}

// fixture takes the request out of a fixture.
func fixture(text string) mcpmatrix.Request {
	_, request, _ := strings.Cut(text, "-- request --\n")
	request, _, _ = strings.Cut(request, "\n-- ")
	head, body, _ := strings.Cut(request, "\n\n")
	h := http.Header{}
	for line := range strings.SplitSeq(head, "\n") {
		if name, value, ok := strings.Cut(line, ": "); ok {
			h.Add(name, value)
		}
	}
	return mcpmatrix.Request{Header: h, Body: []byte(strings.TrimSuffix(body, "\n"))}
}
