package mcp

import (
	"encoding/json/jsontext"
	"strings"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/jsonrpc"
)

const (
	maxName    = 1 << 10 // bytes of a tool, prompt or task name
	maxURI     = 8 << 10 // bytes of a resource or skill URI
	maxSession = 1 << 10 // bytes of a session id
)

// paramNames are the members of params that mean something to somebody, in either direction; a case variant of one is
// refused.
var paramNames = []string{
	"_meta", "name", "uri", "arguments", "cursor", "taskId", "task", "ref", "argument", "context", "level", "notifications",
	"inputResponses", "requestState", "protocolVersion", "clientInfo", "capabilities", "requestId", "reason", "progressToken",
	"progress", "total", "message", "mode", "url", "requestedSchema", "elicitationId", "messages", "modelPreferences",
	"systemPrompt", "includeContext", "temperature", "maxTokens", "stopSequences", "metadata", "tools", "toolChoice", "logger",
	"data", "status", "inputRequests",
}

// named is what the params of a message name.
type named struct {
	target call.Target
	wants  []call.Target // instead of target, if each needs a verdict of its own
	args   jsontext.Value
}

// paramError is why the params cannot be read.
type paramError struct {
	kind paramFault
	text string
}

type paramFault int

const (
	badShape  paramFault = iota // a member is missing or of another type
	badText                     // NUL: some readers stop there
	twoWays                     // MCP and another protocol would read different things
	otherCase                   // a member differs from a known one by case only
)

func bad(text string) *paramError { return &paramError{badShape, text} }

// read finds the target and the arguments in params; raw is the text of params.
func (row *Method) read(params jsonrpc.Object, raw jsontext.Value, v Version) (n named, err *paramError) {
	switch {
	case row.in == inSubscribing:
		n, err = listenTargets(params.Get("notifications"))
	case !row.gone(params, v):
		n.target, err = row.readTarget(params)
	}
	if err != nil {
		return named{}, err
	}
	n.args, err = row.readArgs(params, raw, v)
	return n, err
}

// gone reports whether v no longer has the method and nothing is named: that it is gone is for the server to say, and not for
// us that its params are wrong (contract 13.92).
func (row *Method) gone(params jsonrpc.Object, v Version) bool {
	return row.Until != 0 && v > row.Until && params.Find("uri") == nil && params.Find("taskId") == nil
}

func (row *Method) readTarget(params jsonrpc.Object) (call.Target, *paramError) {
	switch row.in {
	case inName:
		return target(params, row.Kind, "name", maxName)
	case inURI:
		return target(params, row.Kind, "uri", maxURI)
	case inTaskID:
		return taskTarget(params)
	case inRef:
		return refTarget(params.Get("ref"))
	}
	return call.Target{}, nil
}

func (row *Method) readArgs(params jsonrpc.Object, raw jsontext.Value, v Version) (jsontext.Value, *paramError) {
	member := ""
	switch row.args {
	case noArgs:
		return nil, nil
	case inParams:
		return raw, nil
	case inArguments:
		member = "arguments"
	case inArgument:
		member = "argument"
	}
	args := params.Get(member)
	switch args.Kind() {
	case '{':
		return args, nil
	case 'n':
		if !v.Modern() { // the Go SDK takes it for absent
			return nil, nil
		}
	}
	if args == nil {
		return nil, nil
	}
	return nil, bad(member + " is not an object")
}

// target reads the name in one member.
func target(o jsonrpc.Object, kind call.Kind, member string, limit int) (call.Target, *paramError) {
	s, ok := o.String(member)
	switch {
	case !ok || s == "":
		return call.Target{}, bad(member + " is missing, empty or no string")
	case len(s) > limit:
		return call.Target{}, bad(member + " is too long")
	case strings.ContainsRune(s, 0):
		return call.Target{}, &paramError{badText, "NUL in " + member}
	}
	return call.Target{Kind: kind, Name: s}, nil
}

// taskTarget tells MCP's tasks from those of A2A, which have the same methods and name the task by id (contract 14).
func taskTarget(params jsonrpc.Object) (call.Target, *paramError) {
	if params.Find("taskId") == nil || params.Find("id") != nil {
		return call.Target{}, &paramError{twoWays, "a task method that names its task by id, or not at all"}
	}
	return target(params, call.Task, "taskId", maxName)
}

// refTarget reads what a completion is for.
func refTarget(v jsontext.Value) (call.Target, *paramError) {
	ref, ok := jsonrpc.Members(v)
	if !ok {
		return call.Target{}, bad("ref is missing or no object")
	}
	if ref.Twin("type", "name", "uri") != "" {
		return call.Target{}, &paramError{otherCase, "a ref member differs from a known one by case only"}
	}
	switch kind, _ := ref.String("type"); {
	case kind == "ref/prompt" && ref.Find("uri") == nil:
		return target(ref, call.Prompt, "name", maxName)
	case kind == "ref/resource" && ref.Find("name") == nil:
		return target(ref, call.Resource, "uri", maxURI)
	}
	return call.Target{}, bad("ref names neither one prompt nor one resource")
}
