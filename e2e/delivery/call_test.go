package delivery_test

import (
	"encoding/json/v2"
	"fmt"
	"strings"
	"time"
)

const (
	tool         = "work"    // that everybody uses
	denied       = "export_" // how the names of tools begin that odd principals may not use
	inbox        = "mail://inbox"
	subscription = `"listen"` // the id under which every modern caller listens
)

// odd reports whether a principal is one of those.
func odd(who string) bool { return strings.HasPrefix(who, "odd-") }

// stop is what a caller does before it has its answer.
type stop string

const (
	stays   stop = ""
	cancels stop = "cancelled once begun"
	races   stop = "cancelled at some time"
	leaves  stop = "left at some time"
	breaks  stop = "left once begun, and resumed"
)

// plan is how a call may go, and in how many of a hundred it does.
type plan struct {
	share int
	order order
	stop  stop
	named bool // a tool of the call's own name, which odd principals may not use
}

// The plans of each transport.
var (
	streamablePlans = []plan{
		{share: 40},
		{share: 15, order: order{Events: true, Steps: 3}},
		{share: 8, order: order{Events: true, Asks: 2}},
		{share: 3, order: order{Events: true, Steps: 2, Cut: cleanly}},
		{share: 3, order: order{Events: true, Steps: 2, Cut: abruptly}},
		{share: 5, order: order{Events: true, Steps: 2}, stop: breaks},
		{share: 4, order: order{Events: true, Steps: 1, Hold: true}, stop: cancels},
		{share: 3, order: order{Events: true}, stop: races},
		{share: 2, stop: leaves},
		{share: 5, order: order{Push: 2}},
		{share: 2, order: order{Push: 1, HangUp: true}},
		{share: 10, named: true},
	}
	classicPlans = []plan{
		{share: 45},
		{share: 12, order: order{Steps: 3}},
		{share: 10, order: order{Asks: 2}},
		{share: 5, order: order{Steps: 1, Hold: true}, stop: cancels},
		{share: 4, stop: races},
		{share: 2, stop: leaves},
		{share: 7, order: order{Push: 2}},
		{share: 15, named: true},
	}
	modernPlans = []plan{
		{share: 45},
		{share: 18, order: order{Events: true, Steps: 3}},
		{share: 8, order: order{Asks: 1}},
		{share: 6, order: order{Events: true, Steps: 1, Hold: true}, stop: cancels},
		{share: 2, stop: leaves},
		{share: 2, order: order{Events: true, Steps: 2}, stop: leaves},
		{share: 7, order: order{Push: 2}},
		{share: 12, named: true},
	}
)

// call is one call of a lane.
type call struct {
	version  string
	id, tool string // the id as it is written
	order    order
	stop     stop
	want     string // the proof of its answer
	wait     time.Duration

	at           position // of the last event of its stream
	answers      int
	steps        int
	pushed       int    // events that the server had sent beside the calls by then
	state        string // what a modern call has to come back with
	asked        *message
	refused      bool
	gaveUp       bool
	began, ended chan struct{}
	fruitless    error // why an exchange ended early
}

// dropped reports whether nobody waits for the answer.
func (c *call) dropped() bool { return c.stop == cancels || c.stop == races || c.stop == leaves }

// String tells one call from another.
func (c *call) String() string {
	o := c.order
	o.Session, o.Proof = "", ""
	return fmt.Sprintf("%s call %s of %s %s %s", c.version, c.id, c.tool, arguments(o), c.stop)
}

// arguments is what every tool takes.
func arguments(o order) []byte {
	b, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	return b
}

// text is the call under an id, with more members of params. What tells of its progress is the id again.
func (c *call) text(meta, more string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":"tools/call","params":{"name":%q,"arguments":%s,"_meta":{"progressToken":%s%s}%s}}`,
		c.id, c.tool, arguments(c.order), c.id, meta, more)
}

// position is where a reader is in a stream whose events have ids.
type position struct {
	id            string
	stream, index int
}

// advance follows the id of an event. Any but the next one is a fault.
func (p *position) advance(id string) (fault, bool) {
	var next position
	if _, err := fmt.Sscanf(id, "%d-%d", &next.stream, &next.index); err != nil {
		return broken, false
	}
	next.id = id
	was := *p
	*p = next
	switch {
	case was.id == "" && next.index == 0:
	case was.id == "", next.stream != was.stream:
		return stranger, false
	case next.index <= was.index:
		return duplicate, false
	case next.index > was.index+1:
		return lost, false
	}
	return "", true
}

// written is the id of the n-th message of every lane: 1, "1", 2, "2" and so on.
func written(n int) string {
	if n%2 == 0 {
		return fmt.Sprint(n/2 + 1)
	}
	return fmt.Sprintf(`"%d"`, n/2+1)
}
