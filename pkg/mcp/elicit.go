package mcp

import (
	"encoding/json/jsontext"
	"strconv"
	"strings"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/jsonrpc"
)

// codeURLElicitation is the error of a server that sends a person to a page before it goes on (2025-11-25, client/elicitation).
const codeURLElicitation = -32042

// sendsAway reports whether an error's code is that, however a server spells the number.
func sendsAway(code jsontext.Value) bool {
	n, err := strconv.ParseFloat(string(code), 64)
	return err == nil && n == codeURLElicitation
}

// mayElicit reports whether some client could find such an error in an envelope, under any spelling of its members' names.
func mayElicit(o jsonrpc.Object) bool {
	for _, member := range o {
		if e, ok := jsonrpc.Members(member.Value); ok && strings.EqualFold(member.Name, "error") {
			for _, code := range e {
				if strings.EqualFold(code.Name, "code") && sendsAway(code.Value) {
					return true
				}
			}
		}
	}
	return false
}

// readError finds the elicitations that an error names: each is the same request as one that a server sends (contract 6.4).
func (m *Message) readError(reply *call.Reply, v jsontext.Value) error {
	e, _ := jsonrpc.Members(v)
	data, ok := jsonrpc.Members(e.Get("data"))
	switch {
	case e.Twin("code", "data") != "":
		return faulty("a member of an error differs from a known one by case only")
	case !sendsAway(e.Get("code")):
		return nil
	case data.Twin("elicitations") != "":
		return faulty("a member differs from elicitations by case only")
	case e.Find("data") != nil && !ok:
		return faulty("the data of an elicitation error is not an object")
	case data.Find("elicitations") == nil:
		return nil
	}
	elicitations, ok := jsonrpc.Elements(data.Get("elicitations"))
	if !ok {
		return faulty("elicitations is not an array")
	}
	for _, each := range elicitations {
		asked, err := m.elicitation(each.Value)
		if err != nil {
			return err
		}
		reply.Asks = append(reply.Asks, asked)
	}
	return nil
}

func (m *Message) elicitation(v jsontext.Value) (*call.Call, error) {
	params, ok := jsonrpc.Members(v)
	switch {
	case !ok:
		return nil, faulty("an elicitation that is not an object")
	case params.Twin(paramNames...) != "":
		return nil, faulty("a member of an elicitation differs from a known one by case only")
	}
	return m.asked(methods["elicitation/create"], params, v)
}
