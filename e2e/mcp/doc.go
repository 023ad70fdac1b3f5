// Package mcp holds the end-to-end tests with the official Go SDK on both ends: its unmodified client calls its
// unmodified server through a tunnel and the waypoint, in the legacy form of the protocol and the modern one.
package mcp
