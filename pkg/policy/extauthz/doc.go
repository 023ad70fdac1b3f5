// Package extauthz is a [policy.Stage] that asks a service which speaks Envoy's ext_authz over gRPC
// (envoy.service.auth.v3.Authorization), for example OPA. The service is told the decoded call as context extensions:
//
//	waymark.protocol        mcp, a2a, http or tcp
//	waymark.version         version of the protocol, if it is known
//	waymark.method          tools/call; the HTTP method of a plain request
//	waymark.intent          use, list or plumbing
//	waymark.target_kind     tool, resource, prompt, skill or task, if the call names one
//	waymark.target          its name
//	waymark.service         namespace/name of the destination
//	waymark.port            its port
//	waymark.principal       SPIFFE identity of the caller's certificate
//	waymark.issuer          of the verified token, if there is one
//	waymark.user            whom the token speaks of
//	waymark.chain           the delegation chain as a JSON array of names, user first
//	waymark.chain_verified  whether a trusted issuer vouches for every one of them: true or false
//	waymark.scope           the scopes, with spaces between them
//	waymark.arguments_sha256  SHA-256 of the arguments as they came, in hexadecimal; with Arguments Digest or Full
//	waymark.arguments       the arguments as they came; with Arguments Full
//
// and the usual attributes: addresses, principal, method, host and path of the request, without its query. Of the
// headers it is told those that are listed, and nothing of the token unless its header is.
//
//	stage, err := extauthz.New(extauthz.Options{Policy: "bank/opa", Conn: conn, Timeout: time.Second})
//
// An answer is good if it can be carried out whole. No answer, an answer that contradicts itself or says what the
// waypoint cannot do, and header changes that would alter the framing, the routing, the identity or the judged content of the
// request are refusals. The caller learns the reason code only: neither the body nor the headers of a denial reach it. Dynamic
// metadata is ignored. Like Envoy, the stage does not ask about what a server asks of its client, and it does not cut lists:
// the service is asked about the call when it is made.
package extauthz
