package main

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// The scripts call the real main in a process of its own.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"waypoint": main, "toolserver": toolServer})
}

// Each script starts with a copy of examples/company-mcp in the directory company-mcp.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds:                commands,
		Setup: func(e *testscript.Env) error {
			e.Values[programsKey{}] = map[string]*program{}
			return os.CopyFS(e.WorkDir+"/company-mcp", os.DirFS("../../examples/company-mcp"))
		},
	})
}
