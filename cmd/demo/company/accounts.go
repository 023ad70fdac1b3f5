package company

import (
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Account is one customer's account. Amounts are whole units of currency.
type Account struct {
	ID       string `json:"id" jsonschema:"the account number, such as A-100"`
	Customer string `json:"customer" jsonschema:"who holds the account"`
	Balance  int64  `json:"balance" jsonschema:"what is on the account"`
	Limit    int64  `json:"limit" jsonschema:"how far it may be overdrawn"`
}

// ledger holds the accounts and how often each tool ran.
type ledger struct {
	mu       sync.Mutex
	accounts map[string]Account
	runs     map[string]int
}

func newLedger() *ledger {
	l := &ledger{accounts: map[string]Account{}, runs: map[string]int{}}
	for _, a := range []Account{
		{ID: "A-100", Customer: "Ada Pohl", Balance: 1240, Limit: 500},
		{ID: "A-101", Customer: "Ben Okafor", Balance: 88, Limit: 0},
		{ID: "A-102", Customer: "Chiara Neri", Balance: 15900, Limit: 2000},
	} {
		l.accounts[a.ID] = a
	}
	return l
}

func (l *ledger) ran(tool string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.runs[tool]++
}

func (l *ledger) count(tool string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.runs[tool]
}

func (l *ledger) account(id string) (Account, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a, ok := l.accounts[id]
	if !ok {
		return Account{}, fmt.Errorf("there is no account %q", id)
	}
	return a, nil
}

func (l *ledger) setLimit(id string, amount int64) (Account, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a, ok := l.accounts[id]
	if !ok {
		return Account{}, fmt.Errorf("there is no account %q", id)
	}
	a.Limit = amount
	l.accounts[id] = a
	return a, nil
}

// all returns every account, ordered by number.
func (l *ledger) all() []Account {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]Account, 0, len(l.accounts))
	for _, a := range l.accounts {
		out = append(out, a)
	}
	slices.SortFunc(out, func(a, b Account) int { return strings.Compare(a.ID, b.ID) })
	return out
}
