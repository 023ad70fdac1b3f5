package mcpmatrix

// replies are messages of every shape that a server sends to a client of the transport.
func replies(t Transport) []*reply {
	list := []*reply{
		listed("tools/list", "tools", "name", "read", "wire"),
		listed("prompts/list", "prompts", "name", "read", "wire"),
		listed("resources/list", "resources", "uri", "read:", "wire:"),
		listed("resources/templates/list", "resourceTemplates", "uriTemplate", "read:{a}", "wire:{a}"),
		{name: "called", asked: "tools/call", params: `{"name":"read"}`, root: resulting(contents(), leaf(free, "isError", "false"),
			object(free, "structuredContent", leaf(free, "balance", "1")))},
		{name: "prompted", asked: "prompts/get", params: `{"name":"read"}`, root: resulting(array(outcome, "messages", object(free, "",
			leaf(free, "role", `"user"`), object(outcome, "content", leaf(outcome, "type", `"text"`), leaf(free, "text", `"t"`)))))},
		{name: "failed", asked: "tools/call", params: `{"name":"read"}`, root: answerTo(object(envelope, "error",
			leaf(fault, "code", "-32042"), leaf(fault, "message", `"m"`), object(fault, "data", array(outcome, "elicitations", elicited(outcome))).nesting()))},
		{name: "logged", asked: "tools/call", params: `{"name":"read"}`, events: true, root: message(nil, "notifications/message", object(envelope, "params",
			leaf(parameter, "level", `"info"`), leaf(parameter, "logger", `"l"`), leaf(parameter, "data", `"d"`)))},
		{name: "updated", asked: "tools/call", params: `{"name":"read"}`, events: true, root: message(nil, "notifications/resources/updated",
			object(envelope, "params", leaf(parameter, "uri", `"read:"`)))},
		{name: "progressed", asked: "tools/call", params: `{"name":"read"}`, events: true, root: message(nil, "notifications/progress",
			object(envelope, "params", leaf(parameter, "progressToken", `"p"`), leaf(parameter, "progress", "1"), leaf(parameter, "total", "2")))},
	}
	if t == Modern {
		return append(list, &reply{name: "input required", asked: "tools/call", params: `{"name":"read"}`, root: resulting(
			leaf(free, "resultType", `"input_required"`),
			object(outcome, "inputRequests", object(anyOf, "q", leaf(outcome, "method", `"elicitation/create"`), inner(elicited(parameter)))),
			leaf(free, "requestState", `"s"`))})
	}
	return append(list,
		&reply{name: "elicited", asked: "tools/call", params: `{"name":"read"}`, events: true,
			root: message(word(), "elicitation/create", inner(elicited(parameter)))},
		&reply{name: "sampled", asked: "tools/call", params: `{"name":"read"}`, events: true,
			root: message(word(), "sampling/createMessage", object(envelope, "params", leaf(parameter, "maxTokens", "1"),
				leaf(parameter, "systemPrompt", `"s"`), array(parameter, "tools", object(free, "", leaf(free, "name", `"t"`)))))},
	)
}

func answerTo(what *node) *node {
	return object(envelope, "", leaf(envelope, "jsonrpc", `"2.0"`).mean(marker), number(), what)
}

func resulting(members ...*node) *node { return answerTo(object(envelope, "result", members...)) }

func listed(asked, member, naming, first, second string) *reply {
	one := func(name string) *node {
		return object(free, "", leaf(entry, naming, `"`+name+`"`), leaf(free, "description", `"d"`))
	}
	return &reply{name: asked, asked: asked, params: "{}",
		root: resulting(array(outcome, member, one(first), one(second)), leaf(free, "nextCursor", `"c"`))}
}

func contents() *node {
	return array(outcome, "content", object(free, "", leaf(outcome, "type", `"text"`), leaf(free, "text", `"t"`)),
		object(free, "", leaf(outcome, "type", `"resource_link"`), leaf(outcome, "uri", `"https://bank.example/l"`), leaf(free, "title", `"l"`)))
}

func elicited(p place) *node {
	return object(p, "", leaf(p, "mode", `"url"`), leaf(p, "url", `"https://bank.example/a"`), leaf(p, "elicitationId", `"e"`), leaf(p, "message", `"m"`))
}

// inner makes an object the params of a message.
func inner(n *node) *node {
	n.name, n.place = "params", outcome
	return n
}
