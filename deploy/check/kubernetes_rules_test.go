package check

// This file has what an API server does not care about, and we do.

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/kubernetes/pkg/apis/apps"
	"k8s.io/kubernetes/pkg/apis/core"
	convert "k8s.io/kubernetes/pkg/apis/core/v1"
	"k8s.io/kubernetes/pkg/apis/networking"
	"k8s.io/pod-security-admission/api"
	admission "k8s.io/pod-security-admission/policy"
)

const secretFolder = "/run/secrets/roomgate"

// gatewayOf is the Deployment of the gateway itself.
func gatewayOf(t *testing.T, list []runtime.Object) *apps.Deployment {
	t.Helper()
	for _, d := range of[*apps.Deployment](list) {
		if d.Name == "roomgate" {
			return d
		}
	}
	t.Fatal("no Deployment roomgate")
	return nil
}

// secretsOf is what is mounted for the gateway, with dummies where the Secret is not in the overlay.
func secretsOf(t *testing.T, overlay string, list []runtime.Object) map[string]string {
	t.Helper()
	content := map[string]string{
		"glory_jwt_secrets": strings.Repeat("dummy", 10), "redis_url": "rediss://user:dummy@redis.example.com:6379/0",
		"interwater_access_key": "dummy", "interwater_secret_key": "dummy",
	}
	own := of[*core.Secret](list)
	switch {
	case strings.HasPrefix(overlay, "overlays/production") && len(own) > 0:
		t.Errorf("%s: a Secret is in it", overlay)
	case strings.HasPrefix(overlay, "overlays/sandbox") && len(own) != 1:
		t.Errorf("%s: %d Secrets", overlay, len(own))
	}
	mounted := map[string]string{}
	for _, v := range gatewayOf(t, list).Spec.Template.Spec.Volumes {
		for _, item := range v.Secret.Items {
			mounted[item.Path] = content[item.Key]
			for _, s := range own {
				mounted[item.Path] = string(s.Data[item.Key])
			}
		}
	}
	return mounted
}

func TestTheGatewayStartsWithTheseSettings(t *testing.T) {
	for _, overlay := range overlays {
		t.Run(overlay, func(t *testing.T) {
			list := objects(t, overlay)
			configs := of[*core.ConfigMap](list)
			gateway := gatewayOf(t, list).Spec.Template.Spec
			container := gateway.Containers[0]
			if len(configs) != 1 || container.EnvFrom[0].ConfigMapRef.Name != configs[0].Name {
				t.Fatalf("%d ConfigMaps, and the gateway reads %s", len(configs), container.EnvFrom[0].ConfigMapRef.Name)
			}
			settings := configs[0].Data
			cfg := load(t, settings, secretFolder, secretsOf(t, overlay, list))
			if local := strings.HasSuffix(overlay, withSecret); local != (len(cfg.GloryJWTSecrets) == 1) {
				t.Errorf("%d JWT secrets", len(cfg.GloryJWTSecrets))
			}
			drains(t, cfg, time.Duration(*gateway.TerminationGracePeriodSeconds)*time.Second)
			leavesRoom(t, settings["GOMEMLIMIT"], container.Resources.Limits.Memory().Value())
			for i, addr := range []string{cfg.ListenAddr, cfg.AdminAddr} {
				if port := fmt.Sprintf(":%d", container.Ports[i].ContainerPort); port != addr {
					t.Errorf("port %s is %s, and the gateway listens on %s", container.Ports[i].Name, port, addr)
				}
			}
		})
	}
}

func TestEveryPodIsRestricted(t *testing.T) {
	evaluator, err := admission.NewEvaluator(admission.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	level := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	for _, overlay := range overlays {
		for _, d := range of[*apps.Deployment](objects(t, overlay)) {
			var spec corev1.PodSpec
			if err := convert.Convert_core_PodSpec_To_v1_PodSpec(&d.Spec.Template.Spec, &spec, nil); err != nil {
				t.Fatal(err)
			}
			verdict := admission.AggregateCheckResults(evaluator.EvaluatePod(level, &metav1.ObjectMeta{}, &spec))
			if !verdict.Allowed {
				t.Errorf("%s: %s: %s: %s", overlay, d.Name, verdict.ForbiddenReason(), verdict.ForbiddenDetail())
			}
			if mount := spec.AutomountServiceAccountToken; mount == nil || *mount {
				t.Errorf("%s: %s: a token of the cluster is mounted", overlay, d.Name)
			}
			for _, c := range spec.Containers {
				if ro := c.SecurityContext.ReadOnlyRootFilesystem; ro == nil || !*ro {
					t.Errorf("%s: %s: the root file system can be written", overlay, d.Name)
				}
				if c.Resources.Requests.Cpu().IsZero() || c.Resources.Limits.Memory().IsZero() {
					t.Errorf("%s: %s: no CPU asked for, or memory without a limit", overlay, d.Name)
				}
				pinned(t, c.Image)
			}
		}
	}
}

// TestOutIsRedisAndTheUpstreams spells out where the gateway's pods get to, over all policies.
func TestOutIsRedisAndTheUpstreams(t *testing.T) {
	dns := []string{"kube-system/kube-dns TCP 53", "kube-system/kube-dns UDP 53"}
	for overlay, want := range map[string][]string{
		"overlays/sandbox":    {"redis TCP 6379", "upstreams TCP 8081", "upstreams TCP 8082"},
		"overlays/production": {"10.20.30.40/32 TCP 6379", "198.51.100.20/32 TCP 443", "203.0.113.10/32 TCP 443"},
	} {
		out := map[string]bool{}
		for _, p := range of[*networking.NetworkPolicy](objects(t, overlay)) {
			if p.Spec.PodSelector.MatchLabels["app.kubernetes.io/name"] != "roomgate" {
				continue
			}
			if !slices.Contains(p.Spec.PolicyTypes, networking.PolicyTypeEgress) {
				t.Errorf("%s: %s leaves the way out open", overlay, p.Name)
			}
			for _, rule := range p.Spec.Egress {
				for _, to := range reached(rule) {
					out[to] = true
				}
			}
		}
		want = append(want, dns...)
		slices.Sort(want)
		if got := slices.Sorted(maps.Keys(out)); !slices.Equal(got, want) {
			t.Errorf("%s: out to\n%q, want\n%q", overlay, got, want)
		}
	}
}

// reached lists what a rule lets out to. An empty list in a rule means everything, and has to show.
func reached(rule networking.NetworkPolicyEgressRule) []string {
	peers, ports := []string{}, []string{}
	for _, to := range rule.To {
		name := "anything"
		switch {
		case to.IPBlock != nil:
			name = to.IPBlock.CIDR
		case to.NamespaceSelector != nil && to.PodSelector != nil:
			name = to.NamespaceSelector.MatchLabels["kubernetes.io/metadata.name"] + "/" + to.PodSelector.MatchLabels["k8s-app"]
		case to.PodSelector != nil && to.NamespaceSelector == nil:
			name = to.PodSelector.MatchLabels["app.kubernetes.io/name"]
		}
		peers = append(peers, name)
	}
	for _, p := range rule.Ports {
		ports = append(ports, fmt.Sprintf("%s %s", *p.Protocol, p.Port.String()))
	}
	if len(peers) == 0 {
		peers = []string{"anything"}
	}
	if len(ports) == 0 {
		ports = []string{"any port"}
	}
	var list []string
	for _, peer := range peers {
		for _, port := range ports {
			list = append(list, peer+" "+port)
		}
	}
	return list
}

// TestTheServiceLeadsToMembersAlone: the operations listener asks for no password.
func TestTheServiceLeadsToMembersAlone(t *testing.T) {
	for _, overlay := range overlays {
		for _, s := range of[*core.Service](objects(t, overlay)) {
			if s.Name != "roomgate" {
				continue
			}
			if len(s.Spec.Ports) != 1 || s.Spec.Ports[0].TargetPort.String() != "public" {
				t.Errorf("%s: the Service leads to %v", overlay, s.Spec.Ports)
			}
		}
	}
}

// TestProductionKnowsNothingOfTheSandbox: its keys are public.
func TestProductionKnowsNothingOfTheSandbox(t *testing.T) {
	text, err := render(t, "overlays/production").AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	secrets, err := filepath.Glob(filepath.Join(kubernetes, "overlays/sandbox/secrets/*"))
	if err != nil || len(secrets) != 4 {
		t.Fatalf("%q, %v", secrets, err)
	}
	for _, file := range secrets {
		secret, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), strings.TrimSpace(string(secret))) {
			t.Errorf("%s is in it", file)
		}
	}
	if strings.Contains(string(text), "sandbox") {
		t.Error("the sandbox is mentioned")
	}
}
