package main

// proxied is a row that comes from the proxy cases of one round. It reports false where the round says nothing: the floor of a
// latency can come out as nothing on a noisy machine.
type proxied struct {
	row
	value func(at) (float64, bool)
}

// at looks a case up.
type at func(way string, size, rate int) sample

func always(f func(at) float64) func(at) (float64, bool) {
	return func(a at) (float64, bool) { return f(a), true }
}

// cpuRatio is processor time per call against the floor's.
func cpuRatio(way, floor string, size, rate int) func(at) (float64, bool) {
	return always(func(a at) float64 { return a(way, size, rate).cpu / a(floor, size, rate).cpu })
}

// added is how much a way adds to a latency, against how much the floor adds to it.
func added(way string, latency func(sample) float64) func(at) (float64, bool) {
	return func(a at) (float64, bool) {
		none := latency(a("direct", small, rate))
		floor := latency(a("copy", small, rate)) - none
		if floor <= 0 {
			return 0, false
		}
		return (latency(a(way, small, rate)) - none) / floor, true
	}
}

// beyond is how much more a call costs by MCP and policy than passed through.
func beyond(a at, size, rate int) float64 {
	return a("mcp", size, rate).cpu - a("plain", size, rate).cpu
}

// inspected is how many further KB both bodies of a medium call have.
const inspected = 2 * float64(medium-small) / 1024

const copyFloor = "TLS byte copy"

// The targets are those for as long as net/http serves inner HTTP. There is no token to verify and nothing is scanned yet:
// row 4 will cost more when there is.
var proxyRows = []proxied{
	{row{number: "3", measure: "CPU per call passed through, 300 B at 2,000/s", floor: copyFloor, reach: 2.2, fault: 2.5, unit: "×"}, cpuRatio("plain", "copy", small, rate)},
	{row{number: "3", measure: "CPU per call passed through, 300 B saturated", floor: copyFloor, reach: 2.2, fault: 2.5, unit: "×"}, cpuRatio("plain", "copy", small, 0)},
	{row{number: "3", measure: "the same, saturated", floor: "ReverseProxy between our tunnels", unit: "×"}, cpuRatio("plain", "stock", small, 0)},
	{row{number: "4", measure: "CPU per MCP call, 10 rules and audit, 300 B at 2,000/s", floor: copyFloor, reach: 2.5, fault: 3, unit: "×"}, cpuRatio("mcp", "copy", small, rate)},
	{row{number: "4", measure: "CPU per MCP call, 10 rules and audit, 300 B saturated", floor: copyFloor, reach: 2.5, fault: 3, unit: "×"}, cpuRatio("mcp", "copy", small, 0)},
	{row{number: "5", measure: "added by MCP and policy at 2,000/s", floor: "minus our own pass-through", reach: 12, fault: 25, unit: "µs"}, always(func(a at) float64 { return beyond(a, small, rate) })},
	{row{number: "5", measure: "added by MCP and policy, saturated", floor: "minus our own pass-through", reach: 6, fault: 25, unit: "µs"}, always(func(a at) float64 { return beyond(a, small, 0) })},
	{row{number: "5", measure: "added per further KB inspected, saturated", floor: "minus our own pass-through", reach: 3.2, unit: "µs"}, always(func(a at) float64 { return (beyond(a, medium, 0) - beyond(a, small, 0)) / inspected })},
	{row{number: "6", measure: "CPU per MCP call, 64 KB bodies saturated", floor: copyFloor, reach: 2.7, fault: 4.5, unit: "×"}, cpuRatio("mcp", "copy", large, 0)},
	{row{number: "7", measure: "allocations per call passed through", floor: "minus those of ReverseProxy", reach: 10, fault: 40}, always(func(a at) float64 { return a("plain", small, 0).mallocs - a("stock", small, 0).mallocs })},
	{row{number: "7", measure: "allocations per MCP call, 10 rules and audit", floor: "minus those of ReverseProxy", reach: 10, fault: 40}, always(func(a at) float64 { return a("mcp", small, 0).mallocs - a("stock", small, 0).mallocs })},
	{row{number: "8", measure: "added p50 of an MCP call at 2,000/s, 32 streams", floor: "added by " + copyFloor, reach: 2, fault: 3, unit: "×"}, added("mcp", func(s sample) float64 { return s.p50 })},
	{row{number: "8", measure: "added p99 of an MCP call at 2,000/s, 32 streams", floor: "added by " + copyFloor, reach: 2, fault: 3, unit: "×"}, added("mcp", func(s sample) float64 { return s.p99 })},
}

var idleRow = row{number: "10", measure: "idle event stream, both legs", reach: 64, fault: 128, unit: "KB"}
