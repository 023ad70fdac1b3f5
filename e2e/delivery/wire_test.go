package delivery_test

import (
	"bufio"
	"bytes"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"io"
)

// The revisions that are spoken.
const (
	classic = "2024-11-05"
	modern  = "2026-07-28"
)

// order is the arguments of every tool: who calls, and what the server is to do before and beside its answer.
type order struct {
	Who     string `json:"who,omitzero"`
	Session string `json:"session,omitzero"`
	Nonce   int    `json:"nonce"`
	Proof   string `json:"proof,omitzero"`
	Events  bool   `json:"events,omitzero"` // answer by events instead of one JSON object
	Steps   int    `json:"steps,omitzero"`  // notifications of progress
	Delay   int    `json:"delay,omitzero"`  // microseconds before the answer
	Asks    int    `json:"asks,omitzero"`   // requests of the server's own
	Push    int    `json:"push,omitzero"`   // events on the stream that stands beside the calls
	HangUp  bool   `json:"hangUp,omitzero"` // end that stream; its client comes back
	Cut     cut    `json:"cut,omitzero"`    // end the answer's own stream before the answer
	Hold    bool   `json:"hold,omitzero"`   // never answer: the call will be cancelled
}

// cut is how a stream ends before its time.
type cut int

const (
	cleanly  cut = iota + 1 // as a server does that wants to be polled
	abruptly                // as a server does that lost its connection
)

// message is every JSON-RPC message of either side.
type message struct {
	ID     jsontext.Value `json:"id"`
	Method string         `json:"method"`
	Params params         `json:"params"`
	Result *result        `json:"result"`
	Error  *struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
}

type params struct {
	Name            string `json:"name"`
	Arguments       order  `json:"arguments"`
	ProtocolVersion string `json:"protocolVersion"`
	ClientInfo      struct {
		Name string `json:"name"`
	} `json:"clientInfo"`
	RequestID      jsontext.Value    `json:"requestId"`
	Reason         string            `json:"reason"`
	Token          jsontext.Value    `json:"progressToken"`
	RequestState   string            `json:"requestState"`
	InputResponses map[string]result `json:"inputResponses"`
	Meta           meta              `json:"_meta"`
}

type result struct {
	Type          string             `json:"resultType"`
	RequestState  string             `json:"requestState"`
	InputRequests map[string]message `json:"inputRequests"`
	Meta          meta               `json:"_meta"`
}

// meta is where every message carries its proof.
type meta struct {
	Proof        string         `json:"proof"`
	N            int            `json:"n"`
	Who          string         `json:"who"`
	Subscription jsontext.Value `json:"io.modelcontextprotocol/subscriptionId"`
}

// parse reads a message.
func parse(b []byte) (*message, error) {
	m := &message{}
	return m, json.Unmarshal(b, m)
}

// event is a server-sent event.
type event struct {
	id, name string
	data     []byte
}

// events reads server-sent events, in the one form that a waypoint writes and our server, too.
type events struct{ *bufio.Reader }

func newEvents(r io.Reader) events { return events{bufio.NewReaderSize(r, 1<<10)} }

// next returns io.EOF at the end of a stream that ended between two events.
func (r events) next() (e event, err error) {
	for begun := false; ; begun = true {
		line, err := r.ReadBytes('\n')
		switch {
		case err == io.EOF && (begun || len(line) > 0):
			return e, io.ErrUnexpectedEOF
		case err != nil:
			return e, err
		case len(line) == 1:
			return e, nil
		}
		name, value, _ := bytes.Cut(line[:len(line)-1], []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(name) {
		case "id":
			e.id = string(value)
		case "event":
			e.name = string(value)
		case "data":
			e.data = append(e.data, value...)
		}
	}
}
