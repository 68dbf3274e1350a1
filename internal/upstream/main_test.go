package upstream

// TestMain looks for leaked goroutines at the end: a proxy that leaks one per request dies slowly.

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
