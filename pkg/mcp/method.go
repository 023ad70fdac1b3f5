package mcp

import (
	"slices"

	"waymark.dev/waypoint/pkg/call"
)

// Side says who may send a method.
type Side int

// The sides.
const (
	Client Side = 1 << iota
	Server
	Both = Client | Server
)

// nameIn says where a method names its target.
type nameIn int

const (
	nowhere       nameIn = iota
	inName               // params.name
	inURI                // params.uri
	inTaskID             // params.taskId
	inRef                // params.ref: a prompt by name or a resource by uri, as its type says
	inSubscribing        // params.notifications: what a listener wants to hear of
)

// argsIn says where a method carries the arguments that a policy may look into.
type argsIn int

const (
	noArgs      argsIn = iota
	inArguments        // params.arguments
	inArgument         // params.argument
	inParams           // all of params
)

// Method is one row of the method table: everything the codec needs to know of a method. Adding a method is adding a row.
type Method struct {
	Name         string
	From         Side
	Since, Until Version // the revisions that define it, inclusive; zero Until means all later ones
	Extension    string  // the extension that defines it, "" for the core
	Intent       call.Intent
	Kind         call.Kind // of the target it names or the entries it lists
	Mirrored     bool      // the modern era requires Mcp-Name to repeat the target
	Notification bool

	in   nameIn
	args argsIn
	list string // the array of names in its result, which is cut for each caller
}

const (
	extTasks  = "io.modelcontextprotocol/tasks"
	extSkills = "io.modelcontextprotocol/skills"
)

// table is section 5 of the contract. A method that is not here is unknown and refused: it may carry a name that nobody
// authorised. A request of another revision passes: its names stand where they always stood, and the server answers for it.
var table = [...]Method{
	{Name: "initialize", From: Client, Since: V2024, Until: V2511, Intent: call.Plumbing},
	{Name: "server/discover", From: Client, Since: V2607, Intent: call.Plumbing},
	{Name: "ping", From: Both, Since: V2024, Until: V2511, Intent: call.Plumbing},
	{Name: "tools/list", From: Client, Since: V2024, Intent: call.List, Kind: call.Tool, list: "tools"},
	{Name: "tools/call", From: Client, Since: V2024, Intent: call.Use, Kind: call.Tool, in: inName, args: inArguments, Mirrored: true},
	{Name: "resources/list", From: Client, Since: V2024, Intent: call.List, Kind: call.Resource, list: "resources"},
	{Name: "resources/templates/list", From: Client, Since: V2024, Intent: call.List, Kind: call.Resource, list: "resourceTemplates"},
	{Name: "resources/read", From: Client, Since: V2024, Intent: call.Use, Kind: call.Resource, in: inURI, Mirrored: true},
	{Name: "resources/subscribe", From: Client, Since: V2024, Until: V2511, Intent: call.Use, Kind: call.Resource, in: inURI},
	{Name: "resources/unsubscribe", From: Client, Since: V2024, Until: V2511, Intent: call.Use, Kind: call.Resource, in: inURI},
	{Name: "prompts/list", From: Client, Since: V2024, Intent: call.List, Kind: call.Prompt, list: "prompts"},
	{Name: "prompts/get", From: Client, Since: V2024, Intent: call.Use, Kind: call.Prompt, in: inName, args: inArguments, Mirrored: true},
	{Name: "completion/complete", From: Client, Since: V2024, Intent: call.Use, in: inRef, args: inArgument},
	{Name: "logging/setLevel", From: Client, Since: V2024, Until: V2511, Intent: call.Plumbing},
	{Name: "subscriptions/listen", From: Client, Since: V2607, Intent: call.Plumbing, in: inSubscribing},
	{Name: "tasks/get", From: Both, Since: V2511, Intent: call.Use, Kind: call.Task, in: inTaskID, Mirrored: true},
	{Name: "tasks/result", From: Both, Since: V2511, Until: V2511, Intent: call.Use, Kind: call.Task, in: inTaskID},
	{Name: "tasks/cancel", From: Both, Since: V2511, Intent: call.Use, Kind: call.Task, in: inTaskID, Mirrored: true},
	{Name: "tasks/list", From: Both, Since: V2511, Until: V2511, Intent: call.Use, Kind: call.Task},
	{Name: "tasks/update", From: Client, Since: V2607, Extension: extTasks, Intent: call.Use, Kind: call.Task, in: inTaskID, Mirrored: true},
	{Name: "skills/list", From: Client, Since: V2607, Extension: extSkills, Intent: call.List, Kind: call.Skill, list: "skills"},
	{Name: "skills/get", From: Client, Since: V2607, Extension: extSkills, Intent: call.Use, Kind: call.Skill, in: inURI},
	{Name: "resources/directory/read", From: Client, Since: V2607, Extension: extSkills, Intent: call.Use, Kind: call.Resource, in: inURI, list: "resources"},
	{Name: "sampling/createMessage", From: Server, Since: V2024, Until: V2511, Intent: call.Use, args: inParams},
	{Name: "elicitation/create", From: Server, Since: V2506, Until: V2511, Intent: call.Use, args: inParams},
	{Name: "roots/list", From: Server, Since: V2024, Until: V2511, Intent: call.Use},

	{Name: "notifications/initialized", From: Client, Since: V2024, Until: V2511, Intent: call.Plumbing, Notification: true},
	{Name: "notifications/cancelled", From: Both, Since: V2024, Until: V2511, Intent: call.Plumbing, Notification: true},
	{Name: "notifications/progress", From: Both, Since: V2024, Intent: call.Plumbing, Notification: true},
	{Name: "notifications/roots/list_changed", From: Client, Since: V2024, Until: V2511, Intent: call.Plumbing, Notification: true},
	{Name: "notifications/tasks/status", From: Both, Since: V2511, Until: V2511, Intent: call.Plumbing, Notification: true},
	{Name: "notifications/message", From: Server, Since: V2024, Intent: call.Plumbing, Notification: true},
	{Name: "notifications/tools/list_changed", From: Server, Since: V2024, Intent: call.Plumbing, Notification: true},
	{Name: "notifications/prompts/list_changed", From: Server, Since: V2024, Intent: call.Plumbing, Notification: true},
	{Name: "notifications/resources/list_changed", From: Server, Since: V2024, Intent: call.Plumbing, Notification: true},
	{Name: "notifications/resources/updated", From: Server, Since: V2024, Intent: call.Plumbing, Notification: true},
	{Name: "notifications/elicitation/complete", From: Server, Since: V2511, Until: V2511, Intent: call.Plumbing, Notification: true},
	{Name: "notifications/subscriptions/acknowledged", From: Server, Since: V2607, Intent: call.Plumbing, Notification: true},
	{Name: "notifications/tasks", From: Server, Since: V2607, Extension: extTasks, Intent: call.Plumbing, Notification: true},
}

var methods = func() map[string]*Method {
	m := make(map[string]*Method, len(table))
	for i := range table {
		m[table[i].Name] = &table[i]
	}
	return m
}()

// Methods returns the method table in the order of the contract.
func Methods() []Method { return slices.Clone(table[:]) }

// find returns the row of a method that side may send, nil if there is none. A method that the route allows beyond the table
// has a row of its own, which names nothing.
func (o *Options) find(name string, side Side, notification bool) *Method {
	if row := methods[name]; row != nil {
		if row.From&side == 0 {
			return nil
		}
		return row
	}
	if slices.Contains(o.Methods, name) {
		return &Method{Name: name, From: Both, Intent: call.Use, Notification: notification}
	}
	return nil
}
