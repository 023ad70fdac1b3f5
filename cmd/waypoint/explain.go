package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"waymark.dev/waypoint/pkg/config"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/policy"
	"waymark.dev/waypoint/pkg/policy/audit"
	"waymark.dev/waypoint/pkg/ruleset"
)

const explainHelp = `usage: waypoint explain --config DIR --caller ID --service SERVICE [what is called] [-o json]
       waypoint explain --config DIR --call FILE [-o json]

Says whether a call would be allowed, what each stage says of it and which rule decides. It resolves, decodes and judges
with the code of waypoint serve; it connects to nothing. Exit status 0 if the call is allowed, 1 if it is refused, 2 for a
mistake in the command or the configuration.

With --claims the call has a token with these claims, and it counts as verified: issuers, keys and audiences are not looked at,
chains and rules are. Services that would be asked about the call or trade its token are not, and the answer says so.

  waypoint explain --config examples/company-mcp --caller spiffe://cluster.local/ns/agents/sa/teller-agent \
    --service bank/company-mcp --tool update_limit --arguments '{"account":"A-100","amount":250}'

SERVICE is namespace/name or namespace/name:port, or what a tunnel would name: host:port or ip:port. --call reads the same
from a JSON file (- is standard input), with the names of the flags as members: caller, service, method, tool, resource,
prompt, arguments, claims, headers (an object), source, path, version.

`

type explainFlags struct {
	config, call, trust, format string
	question
}

func runExplain(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	f, code, done := parseExplain(args, stdin, stderr)
	if done {
		return code
	}
	answer, err := explain(ctx, f)
	if err != nil {
		fmt.Fprintf(stderr, "waypoint explain: %v\n", err)
		return 2
	}
	if f.format == "json" {
		printJSON(stdout, answer)
	} else {
		answer.print(stdout)
	}
	if !answer.Allowed {
		return 1
	}
	return 0
}

func parseExplain(args []string, stdin io.Reader, stderr io.Writer) (f *explainFlags, code int, done bool) {
	f = &explainFlags{}
	q := &f.question
	fs := flag.NewFlagSet("explain", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() { fmt.Fprint(stderr, explainHelp); fs.PrintDefaults() }
	fs.StringVar(&f.config, "config", "", "`directory` of configuration")
	fs.StringVar(&f.call, "call", "", "JSON `file` with the call, instead of the flags below")
	fs.StringVar(&f.trust, "trust-domain", "cluster.local", "our own trust `domain`, then its aliases, with commas between")
	fs.StringVar(&f.format, "o", "text", "output `format`: text or json")
	fs.StringVar(&q.Caller, "caller", "", "SPIFFE `ID` of the caller")
	fs.StringVar(&q.Service, "service", "", "`service` that is called")
	fs.StringVar(&q.Method, "method", "", "MCP `method`, or an HTTP method for a plain HTTP request; follows from the flags below")
	fs.StringVar(&q.Tool, "tool", "", "`name` of the tool (tools/call)")
	fs.StringVar(&q.Resource, "resource", "", "`URI` of the resource (resources/read)")
	fs.StringVar(&q.Prompt, "prompt", "", "`name` of the prompt (prompts/get)")
	fs.Func("arguments", "the call's arguments, a JSON `object`", func(s string) error { q.Arguments = []byte(s); return nil })
	fs.Func("claims", "claims of a verified token, a JSON `object`", func(s string) error { q.Claims = []byte(s); return nil })
	fs.Func("header", "`name=value` of an HTTP header; may be repeated", q.addHeader)
	fs.StringVar(&q.Source, "source", "", "IP `address` of the caller")
	fs.StringVar(&q.Path, "path", "", "`path` of the HTTP request; /mcp for MCP, / otherwise")
	fs.StringVar(&q.Version, "version", "", "`revision` of MCP that the caller speaks; "+defaultVersion+" if not given")
	if code, done := parse(fs, args); done {
		return nil, code, true
	}
	if !knownFormat("explain", f.format, stderr) {
		return nil, 2, true
	}
	err := f.complete(stdin)
	if err != nil {
		fmt.Fprintf(stderr, "waypoint explain: %v\nhint: waypoint explain -h\n", err)
		return nil, 2, true
	}
	return f, 0, false
}

// complete reads the file of --call and checks that nothing is missing.
func (f *explainFlags) complete(stdin io.Reader) error {
	if f.call != "" {
		if !f.question.empty() {
			return errors.New("--call stands instead of the flags that describe a call, not beside them")
		}
		if err := f.read(f.call, stdin); err != nil {
			return fmt.Errorf("--call %s: %w", f.call, err)
		}
	}
	switch {
	case f.config == "":
		return errors.New("--config is required")
	case f.Caller == "":
		return errors.New("who calls? --caller is required")
	case f.Service == "":
		return errors.New("what is called? --service is required")
	}
	return nil
}

// maxCallFile bounds the file of --call, in bytes.
const maxCallFile = 8 << 20

func (f *explainFlags) read(name string, stdin io.Reader) error {
	in := stdin
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return err
		}
		defer file.Close()
		in = file
	}
	text, err := io.ReadAll(io.LimitReader(in, maxCallFile+1))
	if err != nil {
		return err
	}
	if len(text) > maxCallFile {
		return fmt.Errorf("is larger than %d bytes", maxCallFile)
	}
	return f.question.unmarshal(text)
}

// explain answers the question. An error is a mistake in the question or in the configuration.
func explain(ctx context.Context, f *explainFlags) (*answer, error) {
	domains, err := trustDomains(f.trust)
	if err != nil {
		return nil, err
	}
	c, problems := config.Load(f.config)
	if len(problems) > 0 {
		return nil, fmt.Errorf("the configuration has problems:\n%w", inside(f.config, problems))
	}
	token, err := f.assumed()
	if err != nil {
		return nil, fmt.Errorf("--claims: %w", err)
	}
	if err := f.carry(); err != nil {
		return nil, err
	}
	rules, err := ruleset.Build(c, ruleset.Deps{Audit: audit.New(io.Discard, audit.Options{}), TrustDomains: domains, Assumed: token})
	if err != nil {
		return nil, err
	}
	caller, err := identity.ParseID(f.Caller)
	if err != nil {
		return nil, fmt.Errorf("--caller: %w", err)
	}
	a := &answer{Caller: caller.String(), Generation: rules.Generation()}
	if err := identity.MatchTrustDomains(domains...)(caller); err != nil {
		a.refusedAt("tunnel", policy.Verdict{Reason: err.Error()})
		return a, nil
	}
	dest, err := f.destination(rules)
	if err != nil {
		return a, a.unresolved(err)
	}
	a.Service, a.Port, a.Protocol, a.Mode = serviceName(dest.Service), dest.Service.Port, dest.Protocol.String(), string(dest.Mode)
	built, err := f.build(caller, dest)
	if err != nil {
		return nil, err
	}
	a.judge(ctx, rules.Pipeline(dest.Service), dest, built)
	return a, nil
}

func trustDomains(list string) ([]identity.TrustDomain, error) {
	var domains []identity.TrustDomain
	for name := range strings.SplitSeq(list, ",") {
		td, err := identity.ParseTrustDomain(name)
		if err != nil {
			return nil, fmt.Errorf("--trust-domain: %w", err)
		}
		domains = append(domains, td)
	}
	return domains, nil
}
