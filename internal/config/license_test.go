package config

import (
	"fmt"
	"testing"
)

// Issue 16: 3,000 licenses took 8 to 10 s, because the whole environment was read for each.
func TestLicensesDoNotReadTheEnvironmentEach(t *testing.T) {
	environ := []string{"GLORY_URL=http://127.0.0.1:1", "INTERWATER_URL=http://127.0.0.1:1", "REDIS_URL=redis://127.0.0.1:1"}
	const licenses = 100
	for n := range licenses {
		prefix := fmt.Sprintf("INTERWATER_LICENSE_%d_", n)
		environ = append(environ, fmt.Sprintf("%sNAME=l%d", prefix, n), prefix+"ACCESS_KEY=a", prefix+"SECRET_KEY=s")
	}
	load := func() {
		if _, err := Load(environ); err != nil {
			t.Fatal(err)
		}
	}
	before := testing.AllocsPerRun(3, load)
	for n := range 2000 {
		t.Setenv(fmt.Sprintf("ROOMGATE_TEST_%d", n), "x")
	}
	if more := testing.AllocsPerRun(3, load) - before; more > 5*2000 { // the environment is read once, not per license
		t.Errorf("2,000 more variables cost %.0f allocations with %d licenses", more, licenses)
	}
}
