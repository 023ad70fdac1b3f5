package extauthz

import (
	"fmt"

	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc/codes"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/policy"
)

// judge reads an answer. Whatever we cannot carry out in full is refused: half of what the service asked for is not what it
// asked for.
func (s *Stage) judge(c *call.Call, answer *auth.CheckResponse) policy.Verdict {
	if len(answer.ProtoReflect().GetUnknown()) > 0 {
		return s.refusal(call.PolicyError, "the external authorization service's answer has fields that this waypoint does not know")
	}
	code := codes.Code(uint32(answer.GetStatus().GetCode()))
	switch answer.GetHttpResponse().(type) {
	case *auth.CheckResponse_ErrorResponse:
		return s.refusal(call.PolicyError, "the external authorization service reports an error of its own")
	case *auth.CheckResponse_DeniedResponse:
		if answer.GetStatus() != nil && code == codes.OK {
			return s.refusal(call.PolicyError, "the external authorization service's answer contradicts itself: status OK with a denied response")
		}
		return s.denial(c, answer, code)
	case nil:
		if answer.GetStatus() == nil {
			return s.refusal(call.PolicyError, "the external authorization service's answer is empty")
		}
	}
	if code != codes.OK {
		return s.denial(c, answer, code)
	}
	ok := answer.GetOkResponse()
	if len(ok.ProtoReflect().GetUnknown()) > 0 || len(ok.GetQueryParametersToSet()) > 0 || len(ok.GetQueryParametersToRemove()) > 0 {
		return s.refusal(call.PolicyError, "the external authorization service asks for a change that this waypoint does not make: only request headers can be changed")
	}
	edits, err := headerEdits(c.HTTP.Header, ok)
	if err != nil {
		return s.refusal(call.PolicyError, "the external authorization service asks for a change of headers that cannot be made: "+err.Error())
	}
	v := policy.Verdict{Action: policy.Pass, Policy: s.Policy, Headers: edits, Reason: "the external authorization service allows it"}
	if n := len(ok.GetResponseHeadersToAdd()); n > 0 {
		v.Notes = []policy.Note{{Kind: "error", Policy: s.Policy,
			Text: fmt.Sprintf("%d response headers of the external authorization service are not sent: only request headers can be changed", n)}}
	}
	return v
}

// denial says no. Neither the body nor the headers nor the message of the service go anywhere: it may repeat there what it was told.
func (s *Stage) denial(c *call.Call, answer *auth.CheckResponse, code codes.Code) policy.Verdict {
	said := code.String()
	if answer.GetStatus() == nil {
		said = "a denied response"
	}
	if http := answer.GetDeniedResponse().GetStatus().GetCode(); http != 0 {
		said = fmt.Sprintf("%s, HTTP status %d", said, int32(http))
	}
	return s.refusal(call.EntitlementDenied, fmt.Sprintf("the external authorization service refuses %q: %s", clip(c.Method), said))
}

func clip(s string) string {
	if len(s) > 128 {
		return s[:128] + "…"
	}
	return s
}
