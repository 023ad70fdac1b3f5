// Package company is the tool server of the demo and of the end-to-end tests: `company-mcp`, a small bank with read,
// write and bulk-export tools, built with the official Go SDK and nothing of ours. It knows no policy and trusts every
// caller; that is the point, for the waypoint in front of it is what decides.
//
//	bank := company.New()
//	http.Serve(l, bank.Handler(company.Options{Era: company.Both}))
//	bank.Runs("update_limit") // how often the tool really ran, so that a test can prove a refused call never arrived
//
// The accounts are fixed, so that two banks answer the same calls alike: a run through the waypoint can be compared
// with a direct one.
package company
