package check

// Compares the systemd unit with the settings in configs/. .ci/run validates the unit with systemd-analyze.

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestTheUnitLetsTheGatewayDrain(t *testing.T) {
	unit, err := os.ReadFile("../systemd/roomgate.service")
	if err != nil {
		t.Fatal(err)
	}
	wait := regexp.MustCompile(`(?m)^TimeoutStopSec=(\w+)$`).FindSubmatch(unit)
	if wait == nil {
		t.Fatal("no TimeoutStopSec")
	}
	grace, err := time.ParseDuration(string(wait[1]))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"production.env", "remote.env"} {
		text, err := os.ReadFile("../../configs/" + name)
		if err != nil {
			t.Fatal(err)
		}
		settings := map[string]string{}
		for line := range strings.Lines(string(text)) {
			if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(key, "#") {
				settings[key] = strings.Trim(value, "'") // as EnvironmentFile= does
			}
		}
		drains(t, load(t, settings, "/run/secrets", map[string]string{
			"glory_jwt_secrets": strings.Repeat("dummy", 10), "redis_url": "rediss://user:dummy@redis.example.com:6379/0",
			"interwater_access_key": "dummy", "interwater_secret_key": "dummy",
		}), grace)
	}
}
