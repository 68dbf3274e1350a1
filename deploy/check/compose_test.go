package check

// Loads the compose file with Docker Compose's own code, and checks what that code can't know.

import (
	"context"
	"net/netip"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

// project loads compose.yaml, overridden by more files of its folder.
func project(t *testing.T, over ...string) *types.Project {
	t.Helper()
	files := []string{"../compose/compose.yaml"}
	for _, name := range over {
		files = append(files, "../compose/"+name)
	}
	options, err := cli.NewProjectOptions(files, cli.WithDiscardEnvFile)
	if err != nil {
		t.Fatal(err)
	}
	p, err := options.LoadProject(context.Background())
	if err != nil {
		t.Fatalf("docker compose would refuse it: %v", err)
	}
	return p
}

func TestComposeHasEverybody(t *testing.T) {
	p := project(t)
	for _, name := range []string{"haproxy", "roomgate", "redis", "upstreams", "prometheus", "grafana"} {
		s, err := p.GetService(name)
		if err != nil {
			t.Fatal(err)
		}
		pinned(t, s.Image)
		if !s.ReadOnly || len(s.CapDrop) != 1 || s.CapDrop[0] != "ALL" || len(s.SecurityOpt) != 1 {
			t.Errorf("%s: not hardened", name)
		}
		// The stand-ins have no health check: the image's only program checks gateways.
		if ownCheck := s.HealthCheck != nil && len(s.HealthCheck.Test) > 1; ownCheck == (name == "upstreams") {
			t.Errorf("%s: health check %v", name, s.HealthCheck)
		}
		for _, port := range s.Ports {
			if port.HostIP != "127.0.0.1" {
				t.Errorf("%s: port %s is open to everybody: the secrets are public", name, port.Published)
			}
		}
		for _, v := range s.Volumes {
			if _, err := os.Stat(v.Source); v.Type == types.VolumeTypeBind && err != nil {
				t.Errorf("%s: %v", name, err) // Docker would create an empty folder
			}
		}
	}
	gateway := p.Services["roomgate"]
	if n := gateway.GetScale(); n != 3 {
		t.Errorf("%d gateways", n)
	}
	// The image reads only this file.
	if !slices.ContainsFunc(p.Services["prometheus"].Volumes, func(v types.ServiceVolumeConfig) bool {
		return v.Target == "/etc/prometheus/prometheus.yml"
	}) {
		t.Error("prometheus has no configuration")
	}
}

// TestComposeMovesAside: all its ports and its network can be changed, and the default network is one that nobody else uses by default.
func TestComposeMovesAside(t *testing.T) {
	network := func(p *types.Project) netip.Prefix {
		return netip.MustParsePrefix(p.Networks["default"].Ipam.Config[0].Subnet)
	}
	as := project(t)
	for _, taken := range []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"} { // clouds, Docker, homes, carriers
		if netip.MustParsePrefix(taken).Overlaps(network(as)) {
			t.Errorf("%s is in %s", network(as), taken)
		}
	}
	env := []string{"NETWORK=192.168.250", "PORT=1", "HAPROXY_PORT=2", "PROMETHEUS_PORT=3", "GRAFANA_PORT=4"}
	options, err := cli.NewProjectOptions([]string{"../compose/compose.yaml"}, cli.WithEnv(env), cli.WithDiscardEnvFile)
	if err != nil {
		t.Fatal(err)
	}
	moved, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var ports []string
	for _, s := range moved.Services {
		for _, port := range s.Ports {
			ports = append(ports, port.Published)
		}
	}
	slices.Sort(ports)
	if !slices.Equal(ports, []string{"1", "2", "3", "4"}) || network(moved).String() != "192.168.250.0/24" ||
		*moved.Services["roomgate"].Environment["TRUSTED_PROXIES"] != "192.168.250.2" {
		t.Errorf("ports %q, network %s", ports, network(moved))
	}
}

// composeSecrets returns the content of the files that a service gets, by their names below /run/secrets.
func composeSecrets(t *testing.T, p *types.Project, s types.ServiceConfig) map[string]string {
	t.Helper()
	content := map[string]string{}
	for _, secret := range s.Secrets {
		file := p.Secrets[secret.Source].File
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(file); err != nil || info.Mode().Perm()&0o004 == 0 {
			t.Errorf("%s: no container's user can read it (%v)", file, err)
		}
		content[path.Base(secret.Target)] = string(text)
	}
	return content
}

func TestTheGatewayStartsInCompose(t *testing.T) {
	t.Run("remote", func(t *testing.T) { startsInCompose(t, project(t), 0) })
	t.Run("local", func(t *testing.T) { startsInCompose(t, project(t, "local.yaml"), 1) })
}

// startsInCompose checks the gateway's settings, which must have this many JWT secrets.
func startsInCompose(t *testing.T, p *types.Project, secrets int) {
	t.Helper()
	s := p.Services["roomgate"]
	settings := map[string]string{}
	for name, value := range s.Environment {
		settings[name] = *value
	}
	cfg := load(t, settings, "/run/secrets", composeSecrets(t, p, s))
	if got := len(cfg.GloryJWTSecrets); got != secrets {
		t.Errorf("%d JWT secrets, want %d", got, secrets)
	}
	drains(t, cfg, time.Duration(*s.StopGracePeriod))
	leavesRoom(t, settings["GOMEMLIMIT"], int64(s.Deploy.Resources.Limits.MemoryBytes))

	// The gateway believes only the balancer, and no other container can get its address.
	balancer := netip.MustParseAddr(p.Services["haproxy"].Networks["default"].Ipv4Address)
	if len(cfg.TrustedProxies) != 1 || cfg.TrustedProxies[0] != netip.PrefixFrom(balancer, 32) {
		t.Errorf("believes %v, and the balancer is %v", cfg.TrustedProxies, balancer)
	}
	pool := p.Networks["default"].Ipam.Config[0]
	if !netip.MustParsePrefix(pool.Subnet).Contains(balancer) || netip.MustParsePrefix(pool.IPRange).Contains(balancer) {
		t.Errorf("%v: to be in %s and out of %s", balancer, pool.Subnet, pool.IPRange)
	}
}

// TestRedisAdmitsTheGateway: redis_url and redis_users.acl have the same password.
func TestRedisAdmitsTheGateway(t *testing.T) {
	p := project(t)
	url := composeSecrets(t, p, p.Services["roomgate"])["redis_url"]
	_, rest, _ := strings.Cut(url, "://")
	user, _, _ := strings.Cut(rest, "@")
	name, password, _ := strings.Cut(user, ":")
	acl := composeSecrets(t, p, p.Services["redis"])["redis_users"]
	if want := "user " + name + " on >" + password + " "; !strings.Contains(acl, want) {
		t.Errorf("the user of redis_url is not in redis_users.acl")
	}
}
