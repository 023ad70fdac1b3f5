package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// serve stays up until ctx ends, after saying how to reach the mesh and what to edit.
func (w *world) serve(ctx context.Context, stdout io.Writer) error {
	if err := w.invite(stdout); err != nil {
		return err
	}
	<-ctx.Done()
	fmt.Fprintln(stdout, "\nstopping")
	return nil
}

// invite prints an address per agent, the files to edit, and the way in with the product's own client.
func (w *world) invite(stdout io.Writer) error {
	fmt.Fprint(stdout, "\nThe mesh stays up until interrupted. Any MCP client may call company-mcp as one of the agents:\n\n")
	for _, a := range w.agents() {
		fmt.Fprintf(stdout, "  %-14s http://%s/mcp\n", a.name, a.out.Addr())
	}
	files, err := filepath.Glob(filepath.Join(w.configDir(), "*.y*ml"))
	if err != nil {
		return err
	}
	fmt.Fprint(stdout, "\nEdit these and save: a change is taken over whole or not at all, and reported here.\n\n")
	for _, f := range files {
		fmt.Fprintf(stdout, "  %s\n", f)
	}
	fmt.Fprint(stdout, "\nThe same way in with the product's own client, over the certificates written for it:\n\n")
	for _, a := range w.agents() {
		dir := filepath.Join(w.dir, "certs", a.name)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		if err := w.mesh.WriteCertificates(dir, a.id); err != nil {
			return err
		}
		fmt.Fprintf(stdout, "  waypoint tunnel --certs %s \\\n    --waypoint %s --to %s \\\n    --expect %s\n", dir,
			w.waypoint.Addr(), serviceVIP, w.waypoint.ID())
	}
	_, err = fmt.Fprintln(stdout)
	return err
}
