package check

// Reads the settings in manifests with the gateway's own code, and checks the rules for all containers.

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"

	"roomgate/internal/config"
)

// load reads settings as the gateway would in its container. secrets maps the names of the files below folder to their content.
func load(t *testing.T, settings map[string]string, folder string, secrets map[string]string) *config.Config {
	t.Helper()
	dir, environ := t.TempDir(), []string{}
	for name, value := range settings {
		if file, ok := strings.CutPrefix(value, folder+"/"); ok {
			content, there := secrets[file]
			if !there {
				t.Errorf("%s names %s, which is not mounted", name, value)
			}
			value = filepath.Join(dir, file)
			if err := os.WriteFile(value, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		environ = append(environ, name+"="+value)
	}
	cfg, err := config.Load(environ)
	if err != nil {
		t.Fatalf("the gateway would not start: %v", err)
	}
	for _, unknown := range config.Unknowns(environ) {
		t.Errorf("%s is no setting; %s?", unknown.Name, unknown.Meant)
	}
	return cfg
}

// drains checks that the grace period leaves a gateway time to stop, with 5 s in reserve.
func drains(t *testing.T, cfg *config.Config, grace time.Duration) {
	t.Helper()
	if needed := cfg.DrainDelay + cfg.ShutdownTimeout + 5*time.Second; grace < needed {
		t.Errorf("killed after %s, while draining may take %s and some seconds", grace, needed-5*time.Second)
	}
}

// leavesRoom checks that Go's soft memory limit is below the container's limit, so that the garbage collector acts before the kernel does.
func leavesRoom(t *testing.T, goMemLimit string, limit int64) {
	t.Helper()
	number, ok := strings.CutSuffix(goMemLimit, "B") // KiB and MiB are Kubernetes' Ki and Mi
	soft, err := resource.ParseQuantity(number)
	if !ok || err != nil {
		t.Fatalf("GOMEMLIMIT %q: %v", goMemLimit, err)
	}
	if share := float64(soft.Value()) / float64(limit); share < 0.85 || share > 0.9 {
		t.Errorf("GOMEMLIMIT %s is %.0f %% of the memory limit, want 85 to 90", goMemLimit, 100*share)
	}
}

// pinned checks that an image names a digest or an exact version.
func pinned(t *testing.T, image string) {
	t.Helper()
	if strings.Contains(image, "@sha256:") {
		return
	}
	_, tag, ok := strings.Cut(image[strings.LastIndexByte(image, '/')+1:], ":")
	if !ok || tag == "latest" || tag != "dev" && strings.Count(tag, ".") < 2 {
		t.Errorf("image %s names no release", image)
	}
}
