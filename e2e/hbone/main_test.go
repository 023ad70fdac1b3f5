package hbone_test

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// Istio's logger flushes for as long as the process lives.
		goleak.IgnoreAnyFunction("istio.io/istio/pkg/log.init.0.func1"),
	)
}
