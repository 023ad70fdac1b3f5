package company

import (
	"context"
	"log/slog"
	"net/http"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// The one revision of the protocol that has no handshake and no session; all others are older.
const modernVersion = "2026-07-28"

// Resources and the prompt that the server offers.
const (
	RatesURI       = "bank://rates"
	accountsPrefix = "bank://accounts/"
	ReviewPrompt   = "review_account"
)

// Era says which forms of streamable HTTP a handler speaks.
type Era int

// Both serves each caller in the form it speaks, Legacy only with a handshake and sessions (2025-11-25 and older),
// Modern only without them (2026-07-28).
const (
	Both Era = iota
	Legacy
	Modern
)

// Options say how a handler speaks. The zero value serves both eras and answers with event streams.
type Options struct {
	Era  Era
	JSON bool // answer with one JSON object instead of an event stream
	Log  *slog.Logger
}

// Bank is the company: its accounts and the MCP server over them. It is safe for concurrent use.
type Bank struct {
	ledger *ledger
	server *mcp.Server
}

// New returns a bank with its three customers.
func New() *Bank {
	b := &Bank{ledger: newLedger()}
	b.server = mcp.NewServer(&mcp.Implementation{Name: "company-mcp", Version: "1.0.0"}, nil)
	b.addTools(b.server)
	b.addResources(b.server)
	b.addPrompts(b.server)
	return b
}

// Server returns the SDK's server, for transports other than HTTP.
func (b *Bank) Server() *mcp.Server { return b.server }

// Runs says how often the named tool was executed.
func (b *Bank) Runs(tool string) int { return b.ledger.count(tool) }

// Handler serves MCP on every path.
func (b *Bank) Handler(o Options) http.Handler {
	legacy, modern := b.handler(o, false), b.handler(o, true)
	switch o.Era {
	case Legacy:
		return legacy
	case Modern:
		return modern
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Mcp-Protocol-Version") == modernVersion {
			modern.ServeHTTP(w, r)
			return
		}
		legacy.ServeHTTP(w, r)
	})
}

// handler is the SDK's own. Its check that callers on the loopback interface name a loopback host is switched off: in a
// mesh the last hop is local while Host names the service, and that hop is authenticated.
func (b *Bank) handler(o Options, stateless bool) http.Handler {
	return mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return b.server }, &mcp.StreamableHTTPOptions{
		Stateless:                    stateless,
		JSONResponse:                 o.JSON,
		Logger:                       o.Log,
		DisableLocalhostProtection:   true,
		PropagateRequestCancellation: true,
	})
}

func (b *Bank) addResources(s *mcp.Server) {
	s.AddResource(&mcp.Resource{Name: "rates", URI: RatesURI, MIMEType: "text/plain", Description: "Today's rates."}, b.rates)
	s.AddResourceTemplate(&mcp.ResourceTemplate{
		Name: "account", URITemplate: accountsPrefix + "{id}", MIMEType: "text/plain", Description: "One account in a line.",
	}, b.accountLine)
}

func (b *Bank) addPrompts(s *mcp.Server) {
	s.AddPrompt(&mcp.Prompt{
		Name:        ReviewPrompt,
		Description: "Asks for a review of one account.",
		Arguments:   []*mcp.PromptArgument{{Name: "account", Description: "the account number", Required: true}},
	}, b.review)
}

func (b *Bank) rates(_ context.Context, req *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
	return text(req.Params.URI, "overdraft 9.5 %, savings 1.2 %"), nil
}

func (b *Bank) accountLine(_ context.Context, req *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
	a, err := b.ledger.account(strings.TrimPrefix(req.Params.URI, accountsPrefix))
	if err != nil {
		return nil, mcp.ResourceNotFoundError(req.Params.URI)
	}
	return text(req.Params.URI, a.ID+" "+a.Customer), nil
}

func (b *Bank) review(_ context.Context, req *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
	ask := "Review account " + req.Params.Arguments["account"] + " and say whether its limit is right."
	return &mcp.GetPromptResult{
		Description: "A review of one account",
		Messages:    []*mcp.PromptMessage{{Role: "user", Content: &mcp.TextContent{Text: ask}}},
	}, nil
}

func text(uri, s string) *mcp.ReadResourceResult {
	return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{{URI: uri, MIMEType: "text/plain", Text: s}}}
}
