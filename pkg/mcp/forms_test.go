package mcp_test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/jsonrpc"
	"waymark.dev/waypoint/pkg/mcp"
)

// wireForms is contract section 7 as a table of its own: how the refusal of a named tool looks where it is explained. A code that
// is not here fails the tests, so that a new one gets a row on purpose.
var wireForms = map[call.Code]struct {
	status, rpc int
	text        string
	reason      string // data.reason
}{
	call.EntitlementDenied:   {200, -31403, "Not permitted", "policy"},
	call.ScopeMissing:        {200, -31403, "More scope is needed", "scope_missing"}, // 403 with a challenge only
	call.Unauthenticated:     {401, -31401, "Authentication is needed", "unauthenticated"},
	call.TokenInvalid:        {401, -31401, "The token is not valid", "token_invalid"},
	call.ChainInvalid:        {200, -31403, "The delegation chain is not valid", "chain_invalid"},
	call.ChainUnbound:        {200, -31403, "The delegation chain is not the caller's", "chain_unbound"},
	call.ActorNotAllowed:     {200, -31403, "Not permitted for this actor", "actor_not_allowed"},
	call.Quarantined:         {200, -31403, "Not available", "quarantined"},
	call.RateLimited:         {200, -31429, "Too many requests", "rate_limited"},
	call.BudgetExhausted:     {200, -31429, "The budget is used up", "budget_exhausted"},
	call.LoopDetected:        {200, -31403, "Stopped as a loop", "loop_detected"},
	call.DepthExceeded:       {200, -31403, "Delegated too deeply", "depth_exceeded"},
	call.GuardRejected:       {200, -31403, "Rejected", "guard_rejected"},
	call.SchemaInvalid:       {200, -32602, "The arguments do not fit the schema", "schema_invalid"},
	call.DefinitionChanged:   {200, -31403, "The definition has changed", "definition_changed"},
	call.ApprovalRequired:    {200, -31403, "Approval is needed", "approval_required"},
	call.ApprovalRefused:     {200, -31403, "Approval was refused", "approval_refused"},
	call.Malformed:           {400, -32600, "Invalid request", "malformed"},
	call.Ambiguous:           {200, -32600, "Invalid request", "policy"},
	call.TooLarge:            {413, -32600, "Too large", "too_large"},
	call.UnsupportedVersion:  {400, -32022, "Unsupported protocol version", "unsupported_version"},
	call.UpstreamUnavailable: {503, -32603, "The server is not available", "upstream_unavailable"},
	call.PolicyError:         {200, -31403, "Not permitted", "policy"},
}

// saysNoMore reports whether a code says no more than that something is not for this caller: with the default style nobody can
// tell such a refusal from a name that does not exist.
func saysNoMore(c call.Code) bool {
	return c == call.EntitlementDenied || c == call.PolicyError || c == call.Ambiguous
}

var bothEras = map[string]func() *request{"legacy": legacy, "modern": modern}

// errorOf takes one of our own answers apart.
func errorOf(t *testing.T, body []byte) (id string, code int, text string, data jsonrpc.Object) {
	t.Helper()
	m, err := jsonrpc.Parse(body, jsonrpc.ResponseLimits())
	if err != nil || m.Error == nil {
		t.Fatalf("no JSON-RPC error: %v: %s", err, body)
	}
	o, _ := jsonrpc.Members(m.Error)
	code, convErr := strconv.Atoi(string(o.Get("code")))
	if convErr != nil {
		t.Fatal(convErr)
	}
	text, _ = o.String("message")
	data, _ = jsonrpc.Members(o.Get("data"))
	return string(m.ID), code, text, data
}

// Every code, in both bothEras and all styles, refuses a call of a tool with the caller's own id.
func TestFormsOfATool(t *testing.T) {
	for _, code := range call.Codes() {
		want, ok := wireForms[code]
		if !ok {
			t.Errorf("%s has no row here", code)
			continue
		}
		for era, fresh := range bothEras {
			for _, style := range []mcp.Style{"", mcp.Masked, mcp.Explained, mcp.Result} {
				t.Run(string(code)+"/"+era+"/"+string(style), func(t *testing.T) {
					m := fresh().with(`"id":1`, `"id":"\u0061"`).message(t, mcp.Options{Style: style})
					r := m.Deny(mcp.Denial{Code: code})
					if r.Status != want.status || r.Code != code {
						t.Errorf("%d %s, want %d %s", r.Status, r.Code, want.status, code)
					}
					if challenge := r.Header.Get("WWW-Authenticate"); (challenge != "") != (want.status == 401) {
						t.Errorf("WWW-Authenticate %q under %d", challenge, r.Status)
					}
					switch masked := saysNoMore(code) && (style == "" || style == mcp.Masked); {
					case masked:
						wantErrorForm(t, r.Body, -32602, "Unknown tool: read", "")
					case style == mcp.Result && want.status == 200:
						wantToolForm(t, r.Body, era == "modern", want.text)
					default:
						wantErrorForm(t, r.Body, want.rpc, want.text, want.reason)
					}
				})
			}
		}
	}
}

func wantErrorForm(t *testing.T, body []byte, code int, text, reason string) {
	t.Helper()
	id, gotCode, gotText, data := errorOf(t, body)
	gotReason, _ := data.String("reason")
	if id != `"\u0061"` || gotCode != code || gotText != text || gotReason != reason {
		t.Errorf("id %s %d %q %q, want the caller's id, %d %q %q", id, gotCode, gotText, gotReason, code, text, reason)
	}
}

func wantToolForm(t *testing.T, body []byte, modern bool, text string) {
	t.Helper()
	m, err := jsonrpc.Parse(body, jsonrpc.ResponseLimits())
	if err != nil || string(m.ID) != `"\u0061"` {
		t.Fatalf("id %s, %v", m.ID, err)
	}
	o, _ := jsonrpc.Members(m.Result)
	if string(o.Get("isError")) != "true" || !strings.Contains(string(o.Get("content")), text) {
		t.Errorf("result %s, want a tool's error with %q", m.Result, text)
	}
	if complete := string(o.Get("resultType")) == `"complete"`; complete != modern {
		t.Errorf("result %s: resultType present %t, modern %t", m.Result, complete, modern)
	}
}

// What nobody waits for with an id is refused in a form that no client dies of: contract 7 and 8.2.
func TestFormsWithoutID(t *testing.T) {
	notification := func() *request {
		return legacy().with(legacyBody, `{"jsonrpc":"2.0","method":"notifications/progress"}`)
	}
	answer := func() *request { return legacy().with(legacyBody, `{"jsonrpc":"2.0","id":7,"result":{}}`) }
	page := func() *request { return get("*/*", "").unset("Mcp-Protocol-Version") }
	stream := func() *request { return get("text/event-stream", "") }
	end := func() *request { return legacy().as("DELETE").set("Mcp-Session-Id", "s") }
	for _, code := range call.Codes() {
		limited := wireForms[code].rpc == -31429
		bodiless := func(status int) int {
			switch {
			case wireForms[code].status == 401:
				return 401
			case limited:
				return 429
			}
			return status
		}
		for _, tt := range []struct {
			name   string
			r      *request
			status int
		}{
			{"notification", notification(), 202},
			{"answer", answer(), 202},
			{"stream", stream(), bodiless(405)},
			{"end", end(), bodiless(405)},
			{"page", page(), bodiless(403)},
		} {
			r := tt.r.message(t, mcp.Options{}).Deny(mcp.Denial{Code: code, Retry: time.Second})
			if r.Status != tt.status || r.Code != code {
				t.Errorf("%s of a %s: %d %s, want %d", code, tt.name, r.Status, r.Code, tt.status)
			}
			if r.Status == 202 && len(r.Body) > 0 {
				t.Errorf("%s of a %s: 202 with %q", code, tt.name, r.Body)
			}
			if allow := r.Header.Get("Allow"); (allow == "POST") != (r.Status == 405) {
				t.Errorf("%s of a %s: Allow %q under %d", code, tt.name, allow, r.Status)
			}
			if after := r.Header.Get("Retry-After"); (after == "1") != (limited && r.Status != 202) {
				t.Errorf("%s of a %s: Retry-After %q under %d", code, tt.name, after, r.Status)
			}
		}
	}
}

// A masked refusal reads like the server's own words for a name it does not have, and depends on nothing but the request.
func TestFormsMasked(t *testing.T) {
	for _, tt := range []struct {
		name, method, params  string
		legacy, modern        int
		text, data            string
		statusLegacy, statusM int
	}{
		{"tool", "tools/call", `{"name":"x"}`, -32602, -32602, "Unknown tool: x", "", 200, 200},
		{"prompt", "prompts/get", `{"name":"x"}`, -32602, -32602, "Unknown prompt: x", "", 200, 200},
		{"resource", "resources/read", `{"uri":"a:\"b"}`, -32002, -32602, "Resource not found", `{"uri":"a:\"b"}`, 200, 200},
		{"task", "tasks/get", `{"taskId":"x"}`, -32602, -32602, "Failed to retrieve task: Task not found", "", 200, 200},
		{"completion_of_a_prompt", "completion/complete", `{"ref":{"type":"ref/prompt","name":"x"}}`, -32602, -32602, "Unknown prompt: x", "", 200, 200},
		{"completion_of_a_template", "completion/complete", `{"ref":{"type":"ref/resource","uri":"a:{b}"}}`, -32002, -32602, "Resource not found", `{"uri":"a:{b}"}`, 200, 200},
		{"list", "tools/list", `{}`, -32601, -32601, "Method not found", "", 200, 404},
		{"method", "logging/setLevel", `{}`, -32601, -32601, "Method not found", "", 200, 404},
	} {
		for _, era := range []struct {
			r         *request
			rpc, http int
		}{{legacy().asks(tt.method, tt.params), tt.legacy, tt.statusLegacy}, {modern().asks(tt.method, tt.params), tt.modern, tt.statusM}} {
			if name, mirrored := mirrorOf(t, era.r); mirrored && era.r.Header.Get("Mcp-Method") != "" {
				era.r.set("Mcp-Name", name)
			}
			m := era.r.message(t, mcp.Options{})
			r := m.Deny(mcp.Denial{Code: call.EntitlementDenied})
			_, code, text, _ := errorOf(t, r.Body)
			o, _ := jsonrpc.Members(r.Body)
			e, _ := jsonrpc.Members(o.Get("error"))
			if r.Status != era.http || code != era.rpc || text != tt.text || string(e.Get("data")) != tt.data {
				t.Errorf("%s: %d %s, want %d %d %q %s", tt.name, r.Status, r.Body, era.http, era.rpc, tt.text, tt.data)
			}
			if other := m.Deny(mcp.Denial{Code: call.PolicyError}); string(other.Body) != string(r.Body) || other.Status != r.Status {
				t.Errorf("%s: a rule that failed reads %s", tt.name, other.Body)
			}
		}
	}
}

// mirrorOf reads what Mcp-Name has to repeat, from a body made by asks.
func mirrorOf(t *testing.T, r *request) (string, bool) {
	t.Helper()
	m, err := jsonrpc.Parse([]byte(r.body), jsonrpc.RequestLimits())
	if err != nil {
		t.Fatal(err)
	}
	params, _ := jsonrpc.Members(m.Params)
	for _, member := range []string{"name", "uri", "taskId"} {
		if name, ok := params.String(member); ok {
			return name, true
		}
	}
	return "", false
}

func TestFormsDetails(t *testing.T) {
	limited := mcp.Denial{Code: call.RateLimited, Retry: 1500 * time.Millisecond}
	r := legacy().message(t, mcp.Options{}).Deny(limited)
	if _, _, _, data := errorOf(t, r.Body); string(data.Get("retryAfterMs")) != "1500" || r.Header.Get("Retry-After") != "2" {
		t.Errorf("rate limited: Retry-After %q, %s; want 2 and 1500 ms", r.Header.Get("Retry-After"), r.Body)
	}
	r = legacy().message(t, mcp.Options{}).Deny(mcp.Denial{Code: call.ApprovalRequired, Ticket: "t-1"})
	if _, _, _, data := errorOf(t, r.Body); string(data.Get("ticket")) != `"t-1"` {
		t.Errorf("approval: %s, want the ticket", r.Body)
	}
	const challenge = `Bearer error="insufficient_scope", scope="a"`
	r = legacy().message(t, mcp.Options{}).Deny(mcp.Denial{Code: call.ScopeMissing, Challenge: challenge})
	if id, _, _, _ := errorOf(t, r.Body); r.Status != 403 || r.Header.Get("WWW-Authenticate") != challenge || id != "1" {
		t.Errorf("step up: %d %q %s", r.Status, r.Header.Get("WWW-Authenticate"), r.Body)
	}
	r = legacy().message(t, mcp.Options{}).Deny(mcp.Denial{Code: "of_tomorrow"})
	if _, code, text, _ := errorOf(t, r.Body); r.Status != 200 || code != -31403 || text != "Not permitted" {
		t.Errorf("a code without a form: %d %s", r.Status, r.Body)
	}
}

// The id goes back as the bytes it came in: every other spelling loses somebody's call.
func TestFormsEchoID(t *testing.T) {
	for _, id := range []string{"0", "-7", "-0", "9007199254740991", `""`, `"1"`, `"\u0061\/"`, `"ü"`} {
		m := legacy().with(`"id":1`, `"id":`+id).message(t, mcp.Options{})
		for name, r := range map[string]*mcp.Response{
			"deny": m.Deny(mcp.Denial{Code: call.EntitlementDenied}), "unavailable": m.Unavailable(504), "faulty": m.Faulty(),
		} {
			if got, _, _, _ := errorOf(t, r.Body); got != id {
				t.Errorf("%s answers id %s, want %s", name, got, id)
			}
		}
	}
}

func TestFormsOfFaults(t *testing.T) {
	notification := legacy().with(legacyBody, `{"jsonrpc":"2.0","method":"notifications/progress"}`)
	for _, tt := range []struct {
		name        string
		r           *request
		unavailable int
		faulty      int
		rpc         bool
	}{
		{"legacy", legacy(), 504, 200, true},
		{"modern", modern(), 504, 200, true},
		{"notification", notification, 504, 502, false},
		{"stream", get("text/event-stream", ""), 504, 502, false},
	} {
		m := tt.r.message(t, mcp.Options{})
		for _, r := range []struct {
			*mcp.Response
			want int
		}{{m.Unavailable(504), tt.unavailable}, {m.Faulty(), tt.faulty}} {
			if r.Status != r.want || r.Code != call.UpstreamUnavailable {
				t.Errorf("%s: %d %s, want %d", tt.name, r.Status, r.Code, r.want)
			}
			if !tt.rpc {
				if string(r.Body) != "upstream_unavailable\n" {
					t.Errorf("%s: body %q", tt.name, r.Body)
				}
				continue
			}
			if _, code, _, _ := errorOf(t, r.Body); code != -32603 {
				t.Errorf("%s: %s, want -32603", tt.name, r.Body)
			}
		}
	}
}

// Who takes events only gets one, but not under an error status: no client reads events out of those.
func TestFormsAsEvent(t *testing.T) {
	for _, tt := range []struct {
		accept string
		code   call.Code
		event  bool
	}{
		{"text/event-stream", call.EntitlementDenied, true},
		{"text/event-stream", call.Unauthenticated, false},
		{"application/json, text/event-stream", call.EntitlementDenied, false},
		{"text/event-stream, */*", call.EntitlementDenied, false},
		{"text/event-stream;q=1, Application/JSON;q=0.1", call.EntitlementDenied, false},
		{"", call.EntitlementDenied, false},
	} {
		r := legacy().set("Accept", tt.accept).message(t, mcp.Options{}).Deny(mcp.Denial{Code: tt.code})
		media, prefix := "application/json", `{"jsonrpc"`
		if tt.event {
			media, prefix = "text/event-stream", `data: {"jsonrpc"`
		}
		if r.Header.Get("Content-Type") != media || !strings.HasPrefix(string(r.Body), prefix) {
			t.Errorf("Accept %q, %s: %s %q", tt.accept, tt.code, r.Header.Get("Content-Type"), r.Body)
		}
		if strings.HasSuffix(string(r.Body), "\n\n") != tt.event {
			t.Errorf("Accept %q: body %q", tt.accept, r.Body)
		}
	}
}

// An answer that has begun is ended in its own form.
func TestFormsCut(t *testing.T) {
	h := map[string]http.Header{"json": {"Content-Type": {"application/json"}}, "sse": {"Content-Type": {"text/event-stream"}}}
	masked := `{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"Unknown tool: read"}}`
	fault := `{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"The server's answer could not be read"}}`
	m := legacy().message(t, mcp.Options{})
	for _, tt := range []struct {
		form string
		code call.Code
		want string
	}{
		{"json", call.EntitlementDenied, masked},
		{"json", call.UpstreamUnavailable, fault},
		{"sse", call.EntitlementDenied, "data: " + masked + "\n\n"},
		{"sse", call.UpstreamUnavailable, "data: " + fault + "\n\n"},
	} {
		if got := string(m.Cut(m.Replies(200, h[tt.form], http.NoBody), mcp.Denial{Code: tt.code})); got != tt.want {
			t.Errorf("%s in %s: %q, want %q", tt.code, tt.form, got, tt.want)
		}
	}
	stream := get("text/event-stream", "").message(t, mcp.Options{})
	if got := stream.Cut(stream.Replies(200, h["sse"], http.NoBody), mcp.Denial{Code: call.EntitlementDenied}); got != nil {
		t.Errorf("a stream nobody asked anything on ends with %q, want nothing", got)
	}
}
