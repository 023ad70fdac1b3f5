package testbed

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"waymark.dev/waypoint/pkg/identity/certs"
	"waymark.dev/waypoint/pkg/identity/certs/istioca"
)

// Certificates returns the certificates of a service account, from istiod's CA, for as long as the test runs.
func (i *Istiod) Certificates(tb testing.TB, namespace, account string) certs.Source {
	tb.Helper()
	token := i.k.Token(tb, namespace, account, "istio-ca")
	source, err := istioca.New(istioca.Options{
		Address: i.Secure, TLS: i.TLS, Token: func() (string, error) { return token, nil }, RootFile: i.RootFile,
		Headers: map[string]string{"clusterid": "Kubernetes"}, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- source.Run(ctx) }()
	tb.Cleanup(func() { cancel(); <-done })
	deadline := time.Now().Add(30 * time.Second)
	for {
		if _, err = source.Current(); err == nil {
			return source
		}
		if time.Now().After(deadline) {
			tb.Fatalf("no certificate for %s/%s: %v", namespace, account, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
