package mcp

import (
	"encoding/json/jsontext"
	"strings"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/jsonrpc"
)

// links returns the resources to which the content of a result points: that of a tool, whichever method delivers it, and that
// of the messages of a prompt (contract 6.2, 6.8). Types of content that we do not know have none.
func links(o jsonrpc.Object) ([]call.Link, error) {
	if o.Twin("content", "messages") != "" {
		return nil, faulty("a result member differs from a known one by case only")
	}
	found, err := linksIn(nil, o.Get("content"))
	if err != nil {
		return nil, err
	}
	messages, _ := jsonrpc.Elements(o.Get("messages"))
	for _, each := range messages {
		message, _ := jsonrpc.Members(each.Value)
		if message.Twin("content") != "" {
			return nil, faulty("a member of a message differs from content by case only")
		}
		if found, err = linksIn(found, message.Get("content")); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// linksIn appends the links of one content block, or of an array of them.
func linksIn(found []call.Link, content jsontext.Value) ([]call.Link, error) {
	if block, ok := jsonrpc.Members(content); ok {
		return linkOf(found, block)
	}
	blocks, _ := jsonrpc.Elements(content)
	for _, each := range blocks {
		block, _ := jsonrpc.Members(each.Value)
		var err error
		if found, err = linkOf(found, block); err != nil {
			return nil, err
		}
	}
	return found, nil
}

func linkOf(found []call.Link, block jsonrpc.Object) ([]call.Link, error) {
	kind, _ := block.String("type")
	switch {
	case block.Twin("type") != "", kind == "resource_link" && block.Twin("uri") != "":
		return nil, faulty("a member of a content block differs from a known one by case only")
	case strings.ContainsRune(kind, 0): // where some readers stop
		return nil, faulty("NUL in the type of a content block")
	}
	if uri, ok := block.String("uri"); ok && kind == "resource_link" {
		found = append(found, call.Link{URI: uri})
	}
	return found, nil
}
