// Command opa is an external authorization service whose decisions are Open Policy Agent's. OPA's own plugin for Envoy does the same: it
// hands the whole CheckRequest to a policy as input, and takes a bool, or an object with allowed, headers and request_headers_to_remove.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/open-policy-agent/opa/v1/rego"
	rpc "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
)

type server struct{ query rego.PreparedEvalQuery }

// decision is what a policy may say instead of a bool.
type decision struct {
	Allowed bool              `json:"allowed"`
	Headers map[string]string `json:"headers"`
	Remove  []string          `json:"request_headers_to_remove"`
}

func (s *server) Check(ctx context.Context, q *auth.CheckRequest) (*auth.CheckResponse, error) {
	text, err := protojson.Marshal(q)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, "the question cannot be read")
	}
	var input any
	if err := json.Unmarshal(text, &input); err != nil {
		return nil, status.Error(codes.InvalidArgument, "the question cannot be read")
	}
	results, err := s.query.Eval(ctx, rego.EvalInput(input))
	switch {
	case err != nil:
		return nil, status.Error(codes.Internal, "the policy cannot be evaluated")
	case len(results) == 0:
		return nil, status.Error(codes.Unknown, "the policy is undefined")
	}
	var d decision
	switch said := results[0].Expressions[0].Value.(type) {
	case bool:
		d.Allowed = said
	default:
		b, err := json.Marshal(said)
		if err != nil || json.Unmarshal(b, &d) != nil {
			return nil, status.Error(codes.Internal, "the policy says neither yes nor no")
		}
	}
	if !d.Allowed {
		return &auth.CheckResponse{Status: &rpc.Status{Code: int32(codes.PermissionDenied)}, HttpResponse: &auth.CheckResponse_DeniedResponse{
			DeniedResponse: &auth.DeniedHttpResponse{},
		}}, nil
	}
	ok := &auth.OkHttpResponse{HeadersToRemove: d.Remove}
	for name, value := range d.Headers {
		ok.Headers = append(ok.Headers, &core.HeaderValueOption{Header: &core.HeaderValue{Key: name, Value: value}})
	}
	return &auth.CheckResponse{Status: &rpc.Status{Code: int32(codes.OK)}, HttpResponse: &auth.CheckResponse_OkResponse{OkResponse: ok}}, nil
}

func main() {
	file := flag.String("policy", "", "the file of the policy")
	query := flag.String("query", "data.waymark.decision", "what is asked of it")
	flag.Parse()
	prepared, err := rego.New(rego.Query(*query), rego.Load([]string{*file}, nil)).PrepareForEval(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	g := grpc.NewServer()
	auth.RegisterAuthorizationServer(g, &server{prepared})
	fmt.Printf("serves at %s;\n", l.Addr())
	log.Fatal(g.Serve(l))
}
