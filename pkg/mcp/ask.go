package mcp

import (
	"encoding/json/jsontext"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/jsonrpc"
)

// fromServer reads a request or notification of the server's; nil means that it is dropped.
func (r *Replies) fromServer(it *Item, rpc *jsonrpc.Message) (*Item, error) {
	notification := rpc.Kind == jsonrpc.Notification
	row := r.m.opt.find(rpc.Method, Server, notification)
	switch {
	case !notification && r.m.version.Modern():
		return nil, faulty("a request from the server, which %s does not have", r.m.version)
	case row == nil && notification:
		return nil, nil // no client knows it either
	case row == nil:
		return nil, faulty("a request from the server that is not in the table")
	case row.Notification != notification:
		return nil, faulty("a method whose envelope does not fit it")
	}
	params, _ := jsonrpc.Members(rpc.Params)
	if twin := params.Twin(paramNames...); twin != "" {
		return nil, faulty("a params member differs from a known one by case only")
	}
	it.rpc = rpc
	it.Reply = &call.Reply{Seq: r.seq, Body: rpc.Params}
	r.seq++
	if notification {
		if err := r.m.readNotice(it.Reply, row, params); err != nil {
			return nil, err
		}
		it.Reply.Notice = r.m.noticed(row)
		return it, nil
	}
	asked, err := r.m.asked(row, params, rpc.Params)
	if err != nil {
		return nil, err
	}
	it.Reply.Asks = []*call.Call{asked}
	return it, nil
}

// asked is what a server wants of the client, as a call in the other direction.
func (m *Message) asked(row *Method, params jsonrpc.Object, raw jsontext.Value) (*call.Call, error) {
	n, err := row.read(params, raw, m.version)
	if err != nil {
		return nil, faulty("%s", err.text)
	}
	return &call.Call{
		Protocol: call.MCP, Version: m.version.String(), Direction: call.ToClient,
		Method: row.Name, Intent: row.Intent, Target: n.target, Arguments: n.args, Session: m.session(),
	}, nil
}

// noticed is a notification of the server's, as a call in the other direction: what it names is not judged, its method is.
func (m *Message) noticed(row *Method) *call.Call {
	return &call.Call{
		Protocol: call.MCP, Version: m.version.String(), Direction: call.ToClient,
		Method: row.Name, Intent: row.Intent, Session: m.session(),
	}
}

// readNotice finds what a notification asks of the client. That of a task is the task.
func (m *Message) readNotice(reply *call.Reply, row *Method, params jsonrpc.Object) (err error) {
	if row.Name == "notifications/tasks" {
		return m.readTask(reply, params)
	}
	reply.Asks, err = m.inputRequests(params)
	return err
}

// inputRequests reads what a modern result, or the notification of a task, asks of the client (2026-07-28, multi round trip
// requests): an object of requests without ids. The era has no other requests of the server's.
func (m *Message) inputRequests(o jsonrpc.Object) ([]*call.Call, error) {
	if !m.version.Modern() {
		return nil, nil
	}
	if o.Twin("inputRequests") != "" {
		return nil, faulty("a member differs from inputRequests by case only")
	}
	asks := o.Get("inputRequests")
	if asks == nil {
		return nil, nil
	}
	requests, ok := jsonrpc.Members(asks)
	if !ok {
		return nil, faulty("inputRequests is not an object")
	}
	var calls []*call.Call
	for _, q := range requests {
		c, err := m.inputRequest(q.Value)
		if err != nil {
			return nil, err
		}
		calls = append(calls, c)
	}
	return calls, nil
}

func (m *Message) inputRequest(v jsontext.Value) (*call.Call, error) {
	o, _ := jsonrpc.Members(v)
	name, ok := o.String("method")
	if !ok || o.Twin("method", "params") != "" {
		return nil, faulty("an input request without exactly one method")
	}
	row := m.opt.find(name, Server, false)
	if row == nil || row.Notification {
		return nil, faulty("an input request that is not in the table")
	}
	raw := o.Get("params")
	params, isObject := jsonrpc.Members(raw)
	switch {
	case raw != nil && !isObject:
		return nil, faulty("the params of an input request are not an object")
	case params.Twin(paramNames...) != "":
		return nil, faulty("a params member differs from a known one by case only")
	}
	return m.asked(row, params, raw)
}

// Answer returns the message by which a server learns that its request was refused: the body of a POST on the session of the
// stream it came on (contract 6.5). Without one the server would wait for ever. It is nil if the item is no request.
func (it *Item) Answer() []byte {
	if it.rpc == nil || it.rpc.Kind != jsonrpc.Request {
		return nil
	}
	switch it.rpc.Method {
	case "elicitation/create":
		return jsonrpc.AppendResult(nil, it.rpc.ID, []byte(`{"action":"decline"}`))
	case "sampling/createMessage":
		return jsonrpc.AppendError(nil, it.rpc.ID, codeUserRejected, "User rejected sampling request", nil)
	}
	return jsonrpc.AppendError(nil, it.rpc.ID, jsonrpc.CodeMethodNotFound, bland(jsonrpc.CodeMethodNotFound), nil)
}

// codeUserRejected is what clients send when a person says no (2025-11-25, client/sampling).
const codeUserRejected = -1
