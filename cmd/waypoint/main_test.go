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

// Each script starts with a copy of examples/company-mcp in the directory company-mcp, and so on.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds:                commands,
		Setup: func(e *testscript.Env) error {
			e.Values[programsKey{}] = map[string]*program{}
			for _, name := range []string{"company-mcp", "operators", "obo-chain"} {
				if err := os.CopyFS(e.WorkDir+"/"+name, os.DirFS("../../examples/"+name)); err != nil {
					return err
				}
			}
			return nil
		},
	})
}
