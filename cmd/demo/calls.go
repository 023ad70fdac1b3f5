package main

import (
	"bytes"
	"context"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"waymark.dev/waypoint/cmd/demo/company"
	"waymark.dev/waypoint/internal/testmesh"
	"waymark.dev/waypoint/pkg/call"
)

// verdict is what became of a call, as its caller saw it.
type verdict string

const (
	allowed  verdict = "allowed"  // an ordinary answer
	filtered verdict = "filtered" // a list that leaves out what the caller may not use
	denied   verdict = "denied"   // an ordinary error answer; the session goes on
	refused  verdict = "refused"  // not an answer to a call at all: HTTP 400, or no connection
)

// step is one call of the demo: what is done, and what it is there to show.
type step struct {
	caller string
	call   string
	want   verdict
	code   call.Code                  // the reason that must be on record; empty where nothing is refused or nobody was identified
	shows  []string                   // for a list: exactly the names the caller must see
	tool   string                     // the tool that must have run, or must not have
	record func(testmesh.Record) bool // finds the waypoint's record; nil where no identity was proven and there is none
	do     func(context.Context) (seen, error)
}

// seen is what the caller observed.
type seen struct {
	verdict verdict
	text    string   // the caller's own words for it
	names   []string // of a list
}

// steps is the script of the demo, in order.
func (w *world) steps() []step {
	read := map[string]any{"account": "A-100"}
	limit := func(amount int) map[string]any { return map[string]any{"account": "A-100", "amount": amount} }
	return []step{
		w.list(w.teller, filtered, company.ListCustomers, company.ReadAccount, company.UpdateLimit),
		w.use(w.teller, "read_account A-100", company.ReadAccount, read, allowed, ""),
		w.use(w.teller, "update_limit 250", company.UpdateLimit, limit(250), allowed, ""),
		w.use(w.teller, "update_limit 1000000", company.UpdateLimit, limit(1_000_000), denied, call.EntitlementDenied),
		w.use(w.teller, "export_all", company.ExportAll, nil, denied, call.EntitlementDenied),
		w.use(w.teller, "read_account A-100", company.ReadAccount, read, allowed, ""), // after two denials
		w.list(w.intern, filtered, company.ListCustomers, company.ReadAccount),
		w.use(w.intern, "read_account A-100", company.ReadAccount, read, allowed, ""),
		w.use(w.intern, "update_limit 250", company.UpdateLimit, limit(250), denied, call.EntitlementDenied),
		w.twoNames(w.intern),
		w.use(w.intern, "read_account A-100", company.ReadAccount, read, allowed, ""),
		w.stranger("(nobody)", "TLS, no certificate", withoutCertificate),
		w.stranger("(nobody)", "plaintext HTTP", plaintext),
		w.stranger("(forger)", "TLS, foreign CA", forged(w.teller.id)),
	}
}

// use calls a tool through the SDK's client.
func (w *world) use(a *agent, label, tool string, args any, want verdict, code call.Code) step {
	return step{
		caller: a.name, call: label, want: want, code: code, tool: tool, record: recorded(a, "tools/call", tool),
		do: func(ctx context.Context) (seen, error) {
			res, err := a.session.CallTool(ctx, &mcp.CallToolParams{Name: tool, Arguments: args})
			if err != nil {
				return asDenial(err)
			}
			if res.IsError {
				return seen{}, fmt.Errorf("the tool itself failed: %v", res.Content)
			}
			return seen{verdict: allowed}, nil
		},
	}
}

// list asks for the tools and compares what is shown with the names given.
func (w *world) list(a *agent, want verdict, names ...string) step {
	return step{
		caller: a.name, call: "tools/list", want: want, shows: names, record: recorded(a, "tools/list", ""),
		do: func(ctx context.Context) (seen, error) {
			res, err := a.session.ListTools(ctx, nil)
			if err != nil {
				return asDenial(err)
			}
			s := seen{verdict: allowed}
			for _, t := range res.Tools {
				s.names = append(s.names, t.Name)
			}
			slices.Sort(s.names)
			s.text = "sees " + strings.Join(s.names, ", ")
			return s, nil
		},
	}
}

// twoNames sends an envelope with the member "name" twice: a reader that keeps the first sees a tool the agent may
// use, one that keeps the last another. No client library would write it, so it is sent by hand, on the agent's live
// session.
func (w *world) twoNames(a *agent) step {
	const body = `{"jsonrpc":"2.0","id":77,"method":"tools/call","params":{"name":"read_account","name":"export_all","arguments":{}}}`
	return step{
		caller: a.name, call: "tools/call, name twice", want: refused, code: call.Ambiguous, tool: company.ExportAll,
		record: func(r testmesh.Record) bool { return r.Caller == a.id.String() && r.Code != "" },
		do: func(ctx context.Context) (seen, error) {
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, serviceURL, strings.NewReader(body))
			if err != nil {
				return seen{}, err
			}
			req.Header.Set("Content-Type", "application/json")
			req.Header.Set("Accept", "application/json, text/event-stream")
			req.Header.Set("Mcp-Protocol-Version", a.session.InitializeResult().ProtocolVersion)
			req.Header.Set("Mcp-Session-Id", a.session.ID())
			res, err := a.http.Do(req)
			if err != nil {
				return seen{}, err
			}
			defer res.Body.Close()
			return asRefusal(res)
		},
	}
}

// recorded finds the waypoint's record of a call.
func recorded(a *agent, method, tool string) func(testmesh.Record) bool {
	return func(r testmesh.Record) bool {
		return r.Caller == a.id.String() && r.Method == method && r.Target == tool
	}
}

// asDenial accepts a JSON-RPC error as the answer it is; anything else means that the client broke, which is never
// right.
func asDenial(err error) (seen, error) {
	var rpc *jsonrpc.Error
	if !errors.As(err, &rpc) {
		return seen{}, err
	}
	return seen{verdict: denied, text: fmt.Sprintf("told %d %q", rpc.Code, rpc.Message)}, nil
}

// asRefusal reads the answer to a raw request.
func asRefusal(res *http.Response) (seen, error) {
	body, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err != nil {
		return seen{}, err
	}
	if res.StatusCode == http.StatusOK {
		return seen{verdict: allowed, text: string(bytes.TrimSpace(body))}, nil
	}
	var rpc struct {
		Error struct {
			Code    int    `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	}
	if err := json.Unmarshal(body, &rpc); err != nil || rpc.Error.Code == 0 {
		return seen{}, fmt.Errorf("HTTP %d without a JSON-RPC error: %q", res.StatusCode, body)
	}
	return seen{verdict: refused, text: fmt.Sprintf("told HTTP %d, %d %q", res.StatusCode, rpc.Error.Code, rpc.Error.Message)}, nil
}
