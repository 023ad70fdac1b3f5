package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"waymark.dev/waypoint/cmd/demo/company"
)

// serve ends when ctx does, and lets what is under way end first.
func serve(ctx context.Context) error {
	servers := []*http.Server{
		{Addr: ":3000", Handler: company.New().Handler(company.Options{})},
		{Addr: ":8080", Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, r.URL.Path) })},
	}
	failed := make(chan error, len(servers))
	for _, s := range servers {
		go func() { failed <- s.ListenAndServe() }()
	}
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	var errs []error
	for _, s := range servers {
		errs = append(errs, s.Shutdown(stop))
	}
	return errors.Join(errs...)
}
