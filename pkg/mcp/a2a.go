package mcp

import (
	"net/http"
	"net/url"
	"strings"

	"waymark.dev/waypoint/pkg/call"
)

// a2aRequest reports whether an exchange is A2A by its headers, its path or its media type, in any of its bindings and versions
// (contract 11.1, 14).
func a2aRequest(h *call.Request) bool {
	for _, name := range [...]string{"A2a-Version", "A2a-Extensions", "X-A2a-Extensions"} {
		if len(h.Header[name]) > 0 {
			return true
		}
	}
	for _, line := range h.Header["Content-Type"] {
		media, _, _ := strings.Cut(line, ";")
		if strings.EqualFold(trim(media), "application/a2a+json") {
			return true
		}
	}
	path, err := url.PathUnescape(h.Path) // once, as the servers do
	if err != nil {
		path = h.Path
	}
	switch h.Method {
	case http.MethodGet:
		return strings.HasSuffix(path, "/.well-known/agent-card.json") || strings.HasSuffix(path, "/.well-known/agent.json") || taskVerb(path, ":subscribe")
	case http.MethodPost:
		return strings.HasSuffix(path, "/message:send") || strings.HasSuffix(path, "/message:stream") ||
			taskVerb(path, ":cancel") || taskVerb(path, ":subscribe") || a2aService(path)
	}
	return false
}

// taskVerb reports whether a path ends in /tasks/{id} and a verb.
func taskVerb(path, verb string) bool {
	rest, ok := strings.CutSuffix(path, verb)
	slash := strings.LastIndexByte(rest, '/')
	return ok && slash >= 0 && slash < len(rest)-1 && strings.HasSuffix(rest[:slash], "/tasks")
}

// a2aService reports whether a path is that of a gRPC method of A2A, in any of its packages.
func a2aService(path string) bool {
	service, method, ok := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	name, a2a := strings.CutSuffix(service, ".A2AService")
	return ok && method != "" && a2a && (strings.HasPrefix(name, "a2a.") || strings.HasPrefix(name, "lf.a2a."))
}

// a2aOnly reports whether a JSON-RPC method belongs to A2A alone.
func a2aOnly(name string) bool {
	switch name {
	case "SendMessage", "SendStreamingMessage", "GetTask", "ListTasks", "CancelTask", "SubscribeToTask", "GetExtendedAgentCard",
		"CreateTaskPushNotificationConfig", "GetTaskPushNotificationConfig", "ListTaskPushNotificationConfigs", "DeleteTaskPushNotificationConfig",
		"message/send", "message/stream", "tasks/send", "tasks/sendSubscribe", "tasks/resubscribe", "agent/getAuthenticatedExtendedCard":
		return true
	}
	return strings.HasPrefix(name, "tasks/pushNotification/") || strings.HasPrefix(name, "tasks/pushNotificationConfig/")
}
