package extauthz_test

import (
	"context"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	envoytype "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	rpc "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/policy"
	"waymark.dev/waypoint/pkg/policy/extauthz"
)

// answering returns what becomes of the transfer under an answer.
func answering(t *testing.T, answer *auth.CheckResponse) policy.Verdict {
	t.Helper()
	return inspect(t, asking(t, extauthz.Options{}, func(context.Context, *auth.CheckRequest) (*auth.CheckResponse, error) { return answer, nil }), transfer())
}

func state(code codes.Code) *rpc.Status {
	return &rpc.Status{Code: int32(code), Message: "s3cret-message"}
}

func allows(ok *auth.OkHttpResponse) *auth.CheckResponse {
	return &auth.CheckResponse{Status: &rpc.Status{}, HttpResponse: &auth.CheckResponse_OkResponse{OkResponse: ok}}
}

func denies(s *rpc.Status, http envoytype.StatusCode) *auth.CheckResponse {
	return &auth.CheckResponse{Status: s, HttpResponse: &auth.CheckResponse_DeniedResponse{DeniedResponse: &auth.DeniedHttpResponse{
		Status: &envoytype.HttpStatus{Code: http}, Body: "s3cret-body", Headers: []*core.HeaderValueOption{option("www-authenticate", "s3cret-header")},
	}}}
}

func option(name, value string) *core.HeaderValueOption {
	return &core.HeaderValueOption{Header: &core.HeaderValue{Key: name, Value: value}}
}

func TestAnswers(t *testing.T) {
	const service = "the external authorization service"
	metadata, err := structpb.NewStruct(map[string]any{"claims": map[string]any{"sub": "root"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		answer *auth.CheckResponse
		code   call.Code // "" passes
		reason string
	}{
		{"OK", &auth.CheckResponse{Status: &rpc.Status{}}, "", service + " allows it"},
		{"OK with a response", allows(&auth.OkHttpResponse{}), "", service + " allows it"},
		{"OK by the response alone", &auth.CheckResponse{HttpResponse: &auth.CheckResponse_OkResponse{OkResponse: &auth.OkHttpResponse{}}}, "", service + " allows it"},
		{"metadata says nothing", &auth.CheckResponse{Status: &rpc.Status{}, DynamicMetadata: metadata}, "", service + " allows it"},
		//lint:ignore SA1019 services may still fill it
		{"metadata in the old place", allows(&auth.OkHttpResponse{DynamicMetadata: metadata}), "", service + " allows it"},
		{"empty", &auth.CheckResponse{}, call.PolicyError, service + "'s answer is empty"},
		{"metadata alone", &auth.CheckResponse{DynamicMetadata: metadata}, call.PolicyError, service + "'s answer is empty"},
		{"denied", &auth.CheckResponse{Status: state(codes.PermissionDenied)}, call.EntitlementDenied, service + ` refuses "tools/call": PermissionDenied`},
		{"denied with a response", denies(state(codes.PermissionDenied), 403), call.EntitlementDenied, service + ` refuses "tools/call": PermissionDenied, HTTP status 403`},
		{"denied by the response alone", denies(nil, 429), call.EntitlementDenied, service + ` refuses "tools/call": a denied response, HTTP status 429`},
		{"a denied response of status 200", denies(state(codes.Unauthenticated), 200), call.EntitlementDenied, service + ` refuses "tools/call": Unauthenticated, HTTP status 200`},
		{"an unknown status", &auth.CheckResponse{Status: &rpc.Status{Code: -1}}, call.EntitlementDenied, service + ` refuses "tools/call": Code(4294967295)`},
		{"status says no, response yes", &auth.CheckResponse{Status: state(codes.Internal), HttpResponse: allows(&auth.OkHttpResponse{}).HttpResponse},
			call.EntitlementDenied, service + ` refuses "tools/call": Internal`},
		{"status says yes, response no", denies(&rpc.Status{}, 403), call.PolicyError, service + "'s answer contradicts itself: status OK with a denied response"},
		{"an error of its own", &auth.CheckResponse{Status: &rpc.Status{}, HttpResponse: &auth.CheckResponse_ErrorResponse{ErrorResponse: &auth.DeniedHttpResponse{Body: "s3cret"}}},
			call.PolicyError, service + " reports an error of its own"},
		{"a query to set", allows(&auth.OkHttpResponse{QueryParametersToSet: []*core.QueryParameter{{Key: "a", Value: "b"}}}),
			call.PolicyError, service + " asks for a change that this waypoint does not make: only request headers can be changed"},
		{"a query to remove", allows(&auth.OkHttpResponse{QueryParametersToRemove: []string{"a"}}),
			call.PolicyError, service + " asks for a change that this waypoint does not make: only request headers can be changed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := answering(t, tt.answer)
			want := policy.Verdict{Action: policy.Deny, Code: tt.code, Policy: "bank/opa", Reason: tt.reason}
			if tt.code == "" {
				want.Action = policy.Pass
			}
			if !reflect.DeepEqual(v, want) {
				t.Errorf("got  %+v\nwant %+v", v, want)
			}
		})
	}
}

// Fields that a newer protocol has may say no.
func TestUnknownFields(t *testing.T) {
	known := &auth.CheckResponse{Status: &rpc.Status{}}
	later := []byte{0xfa, 0x3f, 0x02, 'n', 'o'} // field 1023
	v := inspect(t, stage(t, extauthz.Options{}, dial(t, saying(t, encoded(t, known)))), transfer())
	if v.Action != policy.Pass {
		t.Errorf("without unknown fields: got %+v, want a pass", v)
	}
	v = inspect(t, stage(t, extauthz.Options{}, dial(t, saying(t, encoded(t, known, later...)))), transfer())
	if v.Code != call.PolicyError || v.Reason != "the external authorization service's answer has fields that this waypoint does not know" {
		t.Errorf("with unknown fields: got %+v, want a denial", v)
	}
	ok := &auth.OkHttpResponse{}
	ok.ProtoReflect().SetUnknown(later)
	if v = answering(t, allows(ok)); v.Code != call.PolicyError {
		t.Errorf("with unknown fields inside: got %+v, want a denial", v)
	}
}

// forwarded is the header that goes on under an answer, or "" with the reason of a denial.
func forwarded(t *testing.T, ok *auth.OkHttpResponse) (http.Header, policy.Verdict) {
	t.Helper()
	s := asking(t, extauthz.Options{}, func(context.Context, *auth.CheckRequest) (*auth.CheckResponse, error) { return allows(ok), nil })
	c := transfer()
	before := fmt.Sprint(c.HTTP.Header)
	o := policy.NewPipeline("1", time.Now, policy.Entry{Stage: s}).Inspect(t.Context(), c)
	if after := fmt.Sprint(c.HTTP.Header); after != before {
		t.Errorf("the call that others read was changed: %s", after)
	}
	return o.Call.HTTP.Header, o.Verdict
}

func TestHeaders(t *testing.T) {
	appends := func(name, value string, does bool) *core.HeaderValueOption {
		o := option(name, value)
		//lint:ignore SA1019 services may still fill it
		o.Append = wrapperspb.Bool(does)
		return o
	}
	acts := func(name, value string, a core.HeaderValueOption_HeaderAppendAction) *core.HeaderValueOption {
		o := option(name, value)
		o.AppendAction = a
		return o
	}
	rawValue := &core.HeaderValueOption{Header: &core.HeaderValue{Key: "x-new", RawValue: []byte("raw")}}
	for _, tt := range []struct {
		name   string
		set    []*core.HeaderValueOption
		remove []string
		want   map[string]string // what differs from before: lines joined by "|", "" is gone
	}{
		{"nothing", nil, nil, nil},
		{"a new one", []*core.HeaderValueOption{option("x-new", "1")}, nil, map[string]string{"X-New": "1"}},
		{"in the caller's place, in every spelling", []*core.HeaderValueOption{option("x-user", "ann")}, nil, map[string]string{"X-User": "ann", "X_user": ""}},
		{"appended", []*core.HeaderValueOption{appends("x-team", "red", true)}, nil, map[string]string{"X-Team": "blue|green|red"}},
		{"not appended", []*core.HeaderValueOption{appends("x-team", "red", false)}, nil, map[string]string{"X-Team": "red"}},
		{"add if absent, there", []*core.HeaderValueOption{acts("x-team", "red", core.HeaderValueOption_ADD_IF_ABSENT)}, nil, nil},
		{"add if absent, there in another spelling", []*core.HeaderValueOption{acts("x-USER", "red", core.HeaderValueOption_ADD_IF_ABSENT)}, nil, nil},
		{"add if absent", []*core.HeaderValueOption{acts("x-new", "1", core.HeaderValueOption_ADD_IF_ABSENT)}, nil, map[string]string{"X-New": "1"}},
		{"overwrite or add", []*core.HeaderValueOption{acts("x-new", "1", core.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD)}, nil, map[string]string{"X-New": "1"}},
		{"overwrite, there", []*core.HeaderValueOption{acts("x-team", "red", core.HeaderValueOption_OVERWRITE_IF_EXISTS)}, nil, map[string]string{"X-Team": "red"}},
		{"overwrite, absent", []*core.HeaderValueOption{acts("x-new", "1", core.HeaderValueOption_OVERWRITE_IF_EXISTS)}, nil, nil},
		{"raw", []*core.HeaderValueOption{rawValue}, nil, map[string]string{"X-New": "raw"}},
		{"empty", []*core.HeaderValueOption{option("x-team", "")}, nil, map[string]string{"X-Team": ""}},
		{"removed, in every spelling", nil, []string{"X-user"}, map[string]string{"X-User": "", "X_user": ""}},
		{"the token removed", nil, []string{"authorization"}, map[string]string{"Authorization": ""}},
		{"set and removed", []*core.HeaderValueOption{option("x-team", "red")}, []string{"x-team"}, map[string]string{"X-Team": ""}},
		{"the special ones stay", nil, []string{":path", "Host"}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, v := forwarded(t, &auth.OkHttpResponse{Headers: tt.set, HeadersToRemove: tt.remove})
			if v.Action != policy.Pass {
				t.Fatalf("got %+v, want a pass", v)
			}
			want := transfer().HTTP.Header
			for name, value := range tt.want {
				delete(want, name)
				if value != "" {
					want[name] = strings.Split(value, "|")
				}
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %v\nwant %v", got, want)
			}
		})
	}
}

func TestHeadersThatCannotBeChanged(t *testing.T) {
	const prefix = "the external authorization service asks for a change of headers that cannot be made: "
	fails := func(ok *auth.OkHttpResponse, want string) {
		t.Helper()
		got, v := forwarded(t, ok)
		if v.Action != policy.Deny || v.Code != call.PolicyError || v.Reason != prefix+want {
			t.Errorf("got  %+v\nwant %s", v, prefix+want)
		}
		if !reflect.DeepEqual(got, transfer().HTTP.Header) {
			t.Errorf("%s: the header was changed: %v", want, got)
		}
	}
	for _, name := range []string{
		"authorization", "Authorization", "AUTHORIZATION", "proxy_authorization", "cookie", "host", "Host", "content-length", "Content_Length",
		"transfer-encoding", "connection", "upgrade", "te", "trailer", "expect", "content-type", "forwarded", "x-forwarded-for", "x_forwarded_client_cert",
		"mcp-session-id", "Mcp_Method", "x-envoy-original-path", "baggage", "keep-alive", "via",
	} {
		fails(&auth.OkHttpResponse{Headers: []*core.HeaderValueOption{option(name, "x")}}, fmt.Sprintf("%q cannot be set", name))
	}
	for _, name := range []string{"content-length", "Transfer_Encoding", "mcp-session-id", "content-type"} {
		fails(&auth.OkHttpResponse{HeadersToRemove: []string{name}}, fmt.Sprintf("%q cannot be removed", name))
	}
	for _, name := range []string{"", ":path", ":authority", "a b", "a:b", "x\r\ny", "é", "a\x00"} {
		fails(&auth.OkHttpResponse{Headers: []*core.HeaderValueOption{option(name, "x")}}, fmt.Sprintf("%q is no header name of at most 128 bytes", name))
	}
	for _, value := range []string{"a\r\nb: c", "a\nb", "a\x00", " a", "a ", strings.Repeat("x", 8<<10+1)} {
		fails(&auth.OkHttpResponse{Headers: []*core.HeaderValueOption{option("x-a", value)}}, `the value for "x-a" is no header value of at most 8192 bytes`)
	}
	fails(&auth.OkHttpResponse{Headers: []*core.HeaderValueOption{nil}}, `"" is no header name of at most 128 bytes`)
	strange := option("x-a", "b")
	strange.AppendAction = 17
	fails(&auth.OkHttpResponse{Headers: []*core.HeaderValueOption{strange}}, `"x-a" has an unknown append action`)
	fails(&auth.OkHttpResponse{HeadersToRemove: make([]string, 65)}, "there are 65, over the limit of 64")
	// One that is bad spoils all of them.
	fails(&auth.OkHttpResponse{Headers: []*core.HeaderValueOption{option("x-good", "1"), option("host", "evil")}}, `"host" cannot be set`)
}

func TestResponseHeadersAreNoted(t *testing.T) {
	v := answering(t, allows(&auth.OkHttpResponse{ResponseHeadersToAdd: []*core.HeaderValueOption{option("set-cookie", "s3cret")}}))
	want := []policy.Note{{Kind: "error", Policy: "bank/opa",
		Text: "1 response headers of the external authorization service are not sent: only request headers can be changed"}}
	if v.Action != policy.Pass || !reflect.DeepEqual(v.Notes, want) {
		t.Errorf("got %+v, want a pass with %+v", v, want)
	}
}

func BenchmarkStage(b *testing.B) {
	s := asking(b, extauthz.Options{Arguments: "Digest", Headers: []string{"x-team"}}, func(context.Context, *auth.CheckRequest) (*auth.CheckResponse, error) {
		return &auth.CheckResponse{Status: &rpc.Status{}}, nil
	})
	c := transfer()
	b.ReportAllocs()
	for b.Loop() {
		if v := inspect(b, s, c); v.Action != policy.Pass {
			b.Fatal(v)
		}
	}
}
