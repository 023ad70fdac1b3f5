package exchange_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/policy"
	"waymark.dev/waypoint/pkg/policy/exchange"
)

const honey = "honey-token-that-nobody-may-see"

func good(_ context.Context, token string, _ *identity.Claims, _ identity.ID) (string, error) {
	return "traded", nil
}

func TestInspect(t *testing.T) {
	says := func(err error) exchange.Trade {
		return func(context.Context, string, *identity.Claims, identity.ID) (string, error) { return "", err }
	}
	denied := &exchange.Refusal{Code: call.EntitlementDenied, Reason: "no"}
	tests := map[string]struct {
		o     exchange.Options
		token bool
		code  call.Code
		why   string
		want  string // Authorization that goes on
	}{
		"traded":           {exchange.Options{Trade: good}, true, "", "", "Bearer traded"},
		"nothing":          {exchange.Options{Trade: good}, false, call.Unauthenticated, "there is no token to trade", ""},
		"nothing, forward": {exchange.Options{Trade: good, ForwardMissing: true}, false, "", "there is no token to trade", ""},
		"refused":          {exchange.Options{Trade: says(denied)}, true, call.EntitlementDenied, "no token for the destination: no", ""},
		"away":             {exchange.Options{Trade: says(errors.New("away"))}, true, call.UpstreamUnavailable, "no token for the destination: away", ""},
		"refused, forward": {exchange.Options{Trade: says(denied), ForwardFailed: true}, true, "", "the exchange failed, and the call goes on without a token", ""},
		"nothing came":     {exchange.Options{Trade: says(nil)}, true, call.UpstreamUnavailable, "no token for the destination: the exchange gave no new token", ""},
		"the same came": {exchange.Options{Trade: func(_ context.Context, token string, _ *identity.Claims, _ identity.ID) (string, error) {
			return token, nil
		}}, true,
			call.UpstreamUnavailable, "no token for the destination: the exchange gave no new token", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s, err := exchange.New(tt.o)
			if err != nil {
				t.Fatal(err)
			}
			c := &call.Call{HTTP: call.Request{Header: http.Header{"X-Other": {"kept"}}}}
			if tt.token {
				c.HTTP.Header["Authorization"] = []string{"Bearer " + honey}
			}
			o := policy.NewPipeline("1", time.Now, policy.Entry{Stage: s}).Inspect(t.Context(), c)
			if o.Verdict.Code != tt.code || tt.code != "" && o.Verdict.Reason != tt.why {
				t.Errorf("got %s %q, want %s %q", o.Verdict.Code, o.Verdict.Reason, tt.code, tt.why)
			}
			if o.Allowed() && (o.Call.HTTP.Header.Get("Authorization") != tt.want || o.Call.HTTP.Header.Get("X-Other") != "kept") {
				t.Errorf("goes on: %v", o.Call.HTTP.Header)
			}
		})
	}
}

// The caller's token in every place where it could be, in a hundred thousand calls, while the exchange works and while it does not:
// not one goes on with it.
func TestHoney(t *testing.T) {
	n := 0
	trade := func(_ context.Context, token string, _ *identity.Claims, _ identity.ID) (string, error) {
		if n++; n%3 == 0 {
			return "", errors.New("away")
		}
		return fmt.Sprintf("traded-%d", n), nil
	}
	s, err := exchange.New(exchange.Options{Trade: trade, ForwardMissing: true, ForwardFailed: true, Locations: []exchange.Location{
		{Header: "X-Api-Token"}, {Header: "X-Second", Prefix: "Token "}, {Cookie: "session"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	pipe := policy.NewPipeline("1", time.Now, policy.Entry{Stage: s})
	places := []func(h http.Header){
		func(h http.Header) { h["Authorization"] = []string{"Bearer " + honey} },
		func(h http.Header) { h["Authorization"] = []string{"bearer " + honey, "Basic x"} },
		func(h http.Header) { h["Authorization"] = []string{honey} },
		func(h http.Header) { h["authorization"] = []string{"Bearer " + honey} },
		func(h http.Header) { h["AUTHORIZATION"] = []string{"Bearer " + honey} },
		func(h http.Header) { h["X-Api-Token"] = []string{honey} },
		func(h http.Header) { h["X_Api_Token"] = []string{honey} },
		func(h http.Header) { h["x-api_token"] = []string{"x", honey} },
		func(h http.Header) { h["X-Second"] = []string{"Token " + honey} },
		func(h http.Header) { h["x_second"] = []string{honey} },
		func(h http.Header) { h["Cookie"] = []string{"a=b; session=" + honey + "; c=d"} },
		func(h http.Header) { h["Cookie"] = []string{"a=b", "SESSION=" + honey, "session=" + honey} },
	}
	for i := range 100_000 {
		h := http.Header{"X-Other": {"kept"}}
		places[i%len(places)](h)
		places[(i/len(places))%len(places)](h)
		o := pipe.Inspect(t.Context(), &call.Call{HTTP: call.Request{Header: h}})
		if !o.Allowed() {
			t.Fatalf("%v: %+v", h, o.Verdict)
		}
		for name, lines := range o.Call.HTTP.Header {
			if strings.Contains(strings.Join(lines, "\n"), honey) {
				t.Fatalf("%d: %s goes on as %q (sent %v)", i, name, lines, h)
			}
		}
		if o.Call.HTTP.Header.Get("X-Other") != "kept" {
			t.Fatal("another header was lost")
		}
	}
}
