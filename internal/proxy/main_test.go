package proxy

// After the tests, goleak looks for goroutines that are left. A proxy that leaks one per request dies slowly.

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
