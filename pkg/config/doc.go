// Package config reads a directory of Kubernetes objects in YAML into one immutable, validated [Config].
//
//	c, problems := config.Load("examples/company-mcp")
//	for _, p := range problems {
//		fmt.Println(p) // policies.yaml:14:7: AgentAuthorizationPolicy bank/tellers: spec.rules[0].tools: unknown field
//	}
//
// It reads the files *.yaml and *.yml of the directory itself, in the order of their names: one Gateway of the class
// waymark-waypoint, which says which waypoint this is, and ServiceEntry, WorkloadEntry and AgentAuthorizationPolicy objects.
//
// It refuses whatever it would otherwise have to ignore or guess: unknown kinds, versions and fields; keys given twice;
// values left empty; anchors, aliases, merge keys and tags; and plain scalars that YAML 1.1 and YAML 1.2 read
// differently, such as no, 0755 and 2026-01-01. A restriction that is misread is no restriction. Every problem of every
// file is reported, with line and column; with one problem there is no Config.
//
// [Cluster] is the same for an API server, made by package kube, with the faults in it: see docs/decisions/0007. [Scope] says which
// policies concern which service in both.
//
// [Watch] follows the directory: a change either takes effect as a whole or not at all.
package config
