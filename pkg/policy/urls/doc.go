// Package urls is a [policy.Stage] with one checker for every URL that a server puts before a client or its user: that
// of an elicitation in URL mode, whichever way it came, and the web links in results. Such a URL leads past every
// proxy, and a person decides by what it looks like. So it has to be https, name its host as plain text that no two
// parsers read differently, and, where the operator lists hosts, lead to one of them.
//
//	stage, err := urls.New(urls.Options{Hosts: []string{"login.example.com", "*.corp.example", "http://localhost:8080"}})
//
// It refuses what browsers (WHATWG URL) and net/url could take for different places, user information, IP addresses in
// any notation, and internationalised hosts unless exactly that host is listed. What it says never repeats a path or
// query: those carry tokens.
package urls
