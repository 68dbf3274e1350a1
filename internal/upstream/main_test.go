package upstream

// This file ends the package's tests with a look for goroutines that were left behind: a proxy that loses one a request
// dies slowly.

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
