package company

import (
	"context"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// The names of the tools, as policies write them.
const (
	ReadAccount   = "read_account"
	ListCustomers = "list_customers"
	UpdateLimit   = "update_limit"
	ExportAll     = "export_all"
)

type readAccountInput struct {
	Account string `json:"account" jsonschema:"the account number, such as A-100"`
}

type updateLimitInput struct {
	Account string `json:"account" jsonschema:"the account number, such as A-100"`
	Amount  int64  `json:"amount" jsonschema:"the new limit, in whole units of currency"`
}

type customers struct {
	Customers []string `json:"customers" jsonschema:"the names of all customers"`
}

type export struct {
	Accounts []Account `json:"accounts" jsonschema:"every account with its balance"`
}

func (b *Bank) addTools(s *mcp.Server) {
	no := false
	mcp.AddTool(s, &mcp.Tool{
		Name:        ReadAccount,
		Description: "Reads one account.",
		Annotations: &mcp.ToolAnnotations{ReadOnlyHint: true, OpenWorldHint: &no},
	}, b.readAccount)
	mcp.AddTool(s, &mcp.Tool{
		Name:        ListCustomers,
		Description: "Lists the names of all customers.",
		Annotations: &mcp.ToolAnnotations{ReadOnlyHint: true, OpenWorldHint: &no},
	}, b.listCustomers)
	mcp.AddTool(s, &mcp.Tool{
		Name:        UpdateLimit,
		Description: "Sets how far an account may be overdrawn.",
		Annotations: &mcp.ToolAnnotations{IdempotentHint: true, OpenWorldHint: &no},
	}, b.updateLimit)
	mcp.AddTool(s, &mcp.Tool{
		Name:        ExportAll,
		Description: "Exports every account with its balance, reporting progress.",
		Annotations: &mcp.ToolAnnotations{ReadOnlyHint: true, OpenWorldHint: &no},
	}, b.exportAll)
}

func (b *Bank) readAccount(_ context.Context, _ *mcp.CallToolRequest, in readAccountInput) (*mcp.CallToolResult, Account, error) {
	b.ledger.ran(ReadAccount)
	a, err := b.ledger.account(in.Account)
	return nil, a, err
}

func (b *Bank) listCustomers(_ context.Context, _ *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, customers, error) {
	b.ledger.ran(ListCustomers)
	var out customers
	for _, a := range b.ledger.all() {
		out.Customers = append(out.Customers, a.Customer)
	}
	return nil, out, nil
}

func (b *Bank) updateLimit(_ context.Context, _ *mcp.CallToolRequest, in updateLimitInput) (*mcp.CallToolResult, Account, error) {
	b.ledger.ran(UpdateLimit)
	a, err := b.ledger.setLimit(in.Account, in.Amount)
	return nil, a, err
}

// exportAll reports one step of progress per account to a caller that asked for it, so that its answer is a stream.
func (b *Bank) exportAll(ctx context.Context, req *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, export, error) {
	b.ledger.ran(ExportAll)
	all := b.ledger.all()
	token := req.Params.GetProgressToken()
	for i, a := range all {
		if token == nil {
			break
		}
		step := &mcp.ProgressNotificationParams{
			ProgressToken: token, Progress: float64(i + 1), Total: float64(len(all)), Message: "exported " + a.ID,
		}
		if err := req.Session.NotifyProgress(ctx, step); err != nil {
			return nil, export{}, err
		}
	}
	return nil, export{Accounts: all}, nil
}
