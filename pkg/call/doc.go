// Package call holds the vocabulary that every stage speaks: a decoded [Call], the [Reply] items that flow back, and the
// stable reason [Code] of a refusal.
//
// The values carry no HTTP machinery, no TLS and no codec: a struct literal is a complete test fixture.
//
//	c := &call.Call{
//		Protocol:  call.MCP,
//		Method:    "tools/call",
//		Target:    call.Target{Kind: call.Tool, Name: "read_account"},
//		Arguments: []byte(`{"id":"a1"}`),
//		Principal: identity.RequireID("spiffe://cluster.local/ns/bank/sa/teller"),
//	}
package call
