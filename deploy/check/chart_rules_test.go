package check

// Rules that an API server doesn't check.

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/kubernetes/pkg/apis/apps"
	"k8s.io/kubernetes/pkg/apis/autoscaling"
	"k8s.io/kubernetes/pkg/apis/core"
	convert "k8s.io/kubernetes/pkg/apis/core/v1"
	"k8s.io/kubernetes/pkg/apis/networking"
	"k8s.io/kubernetes/pkg/apis/policy"
	"k8s.io/pod-security-admission/api"
	admission "k8s.io/pod-security-admission/policy"
	gateway "sigs.k8s.io/gateway-api/apis/v1"

	"roomgate/internal/config"
)

const secretFolder = "/run/secrets/roomgate"

// gatewayOf returns the Deployment of the gateway itself.
func gatewayOf(t *testing.T, list []runtime.Object) *apps.Deployment {
	t.Helper()
	for _, d := range of[*apps.Deployment](list) {
		if d.Labels["app.kubernetes.io/name"] != "" && d.Spec.Template.Labels["app.kubernetes.io/component"] == "gateway" {
			return d
		}
	}
	t.Fatal("no Deployment of the gateway")
	return nil
}

// mounted returns the content of the files that a pod gets from its Secret: the sandbox's own, or dummies for the keys that
// values.yaml lists.
func mounted(t *testing.T, cfg map[string]string, list []runtime.Object, pod core.PodSpec) map[string]string {
	t.Helper()
	content := map[string]string{
		"redis_url": map[string]string{
			"single":   "rediss://user:dummy@redis.example.com:6379/0",
			"sentinel": "rediss://sentinel.example.com:26379?addr=other.example.com:26379&master_name=rooms&username=user&password=dummy",
			"cluster":  "rediss://user:dummy@redis-0.example.com:6379?addr=redis-1.example.com:6379",
		}[cfg["REDIS_MODE"]],
		"glory_jwt_secrets": strings.Repeat("dummy", 10), "origins": "https://app.example.com",
		"default_access_key": "dummy", "default_secret_key": "dummy",
		"staff_access_key": "staff", "staff_secret_key": "dummy", "members_access_key": "members", "members_secret_key": "dummy",
	}
	for _, s := range of[*core.Secret](list) {
		clear(content)
		for key, value := range s.Data {
			content[key] = string(value)
		}
	}
	files := map[string]string{}
	for _, v := range pod.Volumes {
		if v.Name == "secrets" {
			for _, item := range v.Secret.Items {
				if content[item.Key] == "" {
					t.Errorf("key %s is in no Secret", item.Key)
				}
				files[item.Path] = content[item.Key]
			}
		}
	}
	return files
}

func TestTheGatewayStartsWithTheseSettings(t *testing.T) {
	for name := range valueFiles {
		t.Run(name, func(t *testing.T) {
			list := objects(t, name)
			deployment := gatewayOf(t, list)
			pod := deployment.Spec.Template.Spec
			container := pod.Containers[0]
			settings := map[string]string{}
			for _, c := range of[*core.ConfigMap](list) {
				if c.Name == container.EnvFrom[0].ConfigMapRef.Name {
					settings = maps.Clone(c.Data)
				}
			}
			for _, pair := range []string{"TLS", "REDIS"} { // they are not here
				delete(settings, pair+"_CERT_FILE")
				delete(settings, pair+"_KEY_FILE")
			}
			cfg := load(t, settings, secretFolder, mounted(t, settings, list, pod))
			if local := name == "local-sentinel" || name == "external-secrets"; local != (len(cfg.GloryJWTSecrets) == 1) {
				t.Errorf("%d JWT secrets", len(cfg.GloryJWTSecrets))
			}
			if want := map[string]int{"licenses-cluster": 2}[name]; len(cfg.Licenses) != max(1, want) {
				t.Errorf("%d licenses", len(cfg.Licenses))
			}
			drains(t, cfg, time.Duration(*pod.TerminationGracePeriodSeconds)*time.Second)
			for i, addr := range []string{cfg.ListenAddr, cfg.AdminAddr} {
				if port := fmt.Sprintf(":%d", container.Ports[i].ContainerPort); port != addr {
					t.Errorf("port %s is %s, and the gateway listens on %s", container.Ports[i].Name, port, addr)
				}
			}
			// helm test uses the same settings.
			check := of[*core.Pod](list)[0]
			if c := check.Spec.Containers[0]; c.EnvFrom[0].ConfigMapRef.Name != container.EnvFrom[0].ConfigMapRef.Name ||
				c.Image != container.Image || !slices.Equal(c.Args, []string{"check"}) || check.Annotations["helm.sh/hook"] != "test" {
				t.Errorf("helm test runs %v", c)
			}
			if got := mounted(t, settings, list, check.Spec); !maps.Equal(got, mounted(t, settings, list, pod)) {
				t.Errorf("helm test has %d keys", len(got))
			}
		})
	}
}

// TestTheSchemaKnowsEverySetting, so that Helm refuses a misspelt one. Settings that have their own values are excepted.
func TestTheSchemaKnowsEverySetting(t *testing.T) {
	own := []string{
		"LISTEN_ADDR", "ADMIN_ADDR", "DRAIN_DELAY", "SHUTDOWN_TIMEOUT", "TLS_CERT_FILE", "TLS_KEY_FILE", "GLORY_URL",
		"GLORY_JWT_SECRETS", "INTERWATER_URL", "REDIS_URL", "REDIS_MODE", "REDIS_KEY_PREFIX", "REDIS_CERT_FILE", "REDIS_KEY_FILE", "INTERWATER_ACCESS_KEY",
		"INTERWATER_SECRET_KEY", "INTERWATER_TOKEN_MINUTES", "INTERWATER_ALLOW", "INTERWATER_OWNER",
		"SESSION_SECRETS", // by secret.settings
	}
	for _, s := range config.Settings() {
		if strings.Contains(s.Name, "<n>") {
			continue
		}
		v := values(t, "remote-single")
		v["settings"] = map[string]any{s.Name: "1"}
		if _, _, err := template(t, v); (err == nil) == slices.Contains(own, s.Name) {
			t.Errorf("%s: %v; the settings are listed in values.schema.json", s.Name, err)
		}
	}
}

func TestEveryPodIsRestricted(t *testing.T) {
	evaluator, err := admission.NewEvaluator(admission.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	level := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	for name := range valueFiles {
		list := objects(t, name)
		pods := map[string]core.PodSpec{}
		for _, d := range of[*apps.Deployment](list) {
			pods[d.Name] = d.Spec.Template.Spec
		}
		for _, p := range of[*core.Pod](list) {
			pods[p.Name] = p.Spec
		}
		for pod, internal := range pods {
			var spec corev1.PodSpec
			if err := convert.Convert_core_PodSpec_To_v1_PodSpec(&internal, &spec, nil); err != nil {
				t.Fatal(err)
			}
			verdict := admission.AggregateCheckResults(evaluator.EvaluatePod(level, &metav1.ObjectMeta{}, &spec))
			if !verdict.Allowed {
				t.Errorf("%s: %s: %s: %s", name, pod, verdict.ForbiddenReason(), verdict.ForbiddenDetail())
			}
			if mount := spec.AutomountServiceAccountToken; mount == nil || *mount {
				t.Errorf("%s: %s: a token of the cluster is mounted", name, pod)
			}
			for _, c := range spec.Containers {
				if ro := c.SecurityContext.ReadOnlyRootFilesystem; ro == nil || !*ro {
					t.Errorf("%s: %s: the root file system can be written", name, pod)
				}
				if c.Resources.Requests.Cpu().IsZero() || c.Resources.Limits.Memory().IsZero() {
					t.Errorf("%s: %s: no CPU asked for, or memory without a limit", name, pod)
				}
				pinned(t, c.Image)
			}
		}
	}
}

// TestOutIsRedisAndTheUpstreams lists what the gateway's pods may reach by all policies together.
func TestOutIsRedisAndTheUpstreams(t *testing.T) {
	dns := []string{
		"169.254.20.10/32 TCP 53", "169.254.20.10/32 UDP 53", "kube-system/kube-dns TCP 53", "kube-system/kube-dns UDP 53",
	}
	for name, want := range map[string][]string{
		sandbox: append(slices.Clone(dns), "roomgate-sandbox any port"),
		"remote-single": append(slices.Clone(dns),
			"10.20.30.40/32 TCP 6379", "198.51.100.20/32 TCP 443", "203.0.113.10/32 TCP 443"),
		"external-secrets": {
			"10.20.30.40/32 TCP 6379", "198.51.100.20/32 TCP 443", "203.0.113.10/32 TCP 443",
			"openshift-dns/ TCP 5353", "openshift-dns/ UDP 5353",
		},
	} {
		list := objects(t, name)
		out, pod := map[string]bool{}, labels.Set(gatewayOf(t, list).Spec.Template.Labels)
		for _, p := range of[*networking.NetworkPolicy](list) {
			if !selects(t, &p.Spec.PodSelector, pod) {
				continue
			}
			if !slices.Contains(p.Spec.PolicyTypes, networking.PolicyTypeEgress) {
				t.Errorf("%s: %s leaves the way out open", name, p.Name)
			}
			for _, rule := range p.Spec.Egress {
				for _, to := range reached(rule) {
					out[to] = true
				}
			}
		}
		slices.Sort(want)
		if got := slices.Sorted(maps.Keys(out)); !slices.Equal(got, want) {
			t.Errorf("%s: out to\n%q, want\n%q", name, got, want)
		}
	}
}

// reached lists the destinations that a rule allows. An empty list in a rule means everything, and is shown as such.
func reached(rule networking.NetworkPolicyEgressRule) []string {
	peers, ports := []string{}, []string{}
	for _, to := range rule.To {
		name := "anything"
		switch {
		case to.IPBlock != nil:
			name = to.IPBlock.CIDR
		case to.NamespaceSelector != nil:
			name = to.NamespaceSelector.MatchLabels["kubernetes.io/metadata.name"] + "/"
			if to.PodSelector != nil {
				name += to.PodSelector.MatchLabels["k8s-app"]
			}
		case to.PodSelector != nil:
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

func selects(t *testing.T, selector *metav1.LabelSelector, pod labels.Set) bool {
	t.Helper()
	s, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		t.Fatal(err)
	}
	return s.Matches(pod)
}

// TestEverythingLeadsToTheGateway: an API server accepts a selector or name that matches nothing. The Service must lead only to
// members' listener, because the operations listener asks for no password.
func TestEverythingLeadsToTheGateway(t *testing.T) {
	for name := range valueFiles {
		list := objects(t, name)
		deployment := gatewayOf(t, list)
		pod := labels.Set(deployment.Spec.Template.Labels)
		led := map[string]bool{}
		for _, o := range list {
			switch o := o.(type) {
			case *core.Service:
				if o.Name == deployment.Name {
					led["Service"] = labels.SelectorFromSet(o.Spec.Selector).Matches(pod) && len(o.Spec.Ports) == 1 &&
						o.Spec.Ports[0].TargetPort.String() == "public"
				}
			case *policy.PodDisruptionBudget:
				led["budget"] = selects(t, o.Spec.Selector, pod)
			case *autoscaling.HorizontalPodAutoscaler:
				led["autoscaler"] = o.Spec.ScaleTargetRef.Name == deployment.Name
			case *monitoring.ServiceMonitor:
				led["monitor"] = o.Spec.Endpoints[0].TargetPort.String() == deployment.Spec.Template.Spec.Containers[0].Ports[1].Name &&
					selects(t, &o.Spec.Selector, labels.Set(of[*core.Service](list)[0].Labels))
			case *networking.Ingress:
				b := o.Spec.Rules[0].HTTP.Paths[0].Backend.Service
				led["Ingress"] = b.Name == deployment.Name && b.Port.Name == of[*core.Service](list)[0].Spec.Ports[0].Name
			case *gateway.HTTPRoute:
				b := o.Spec.Rules[0].BackendRefs[0]
				led["route"] = string(b.Name) == deployment.Name && *b.Port == of[*core.Service](list)[0].Spec.Ports[0].Port
			}
		}
		for what, there := range led {
			if !there {
				t.Errorf("%s: the %s leads elsewhere", name, what)
			}
		}
		if !led["Service"] {
			t.Errorf("%s: no Service", name)
		}
		for _, spread := range deployment.Spec.Template.Spec.TopologySpreadConstraints {
			if !selects(t, spread.LabelSelector, pod) {
				t.Errorf("%s: %s spreads other pods", name, spread.TopologyKey)
			}
		}
	}
}

// TestOnlyTheSandboxKnowsItsKeys: they are public.
func TestOnlyTheSandboxKnowsItsKeys(t *testing.T) {
	text, err := os.ReadFile(chartFolder + "/templates/sandbox.yaml")
	if err != nil || !strings.Contains(string(text), "sandbox-access-key") {
		t.Fatalf("the keys are not where they were: %v", err)
	}
	for name := range valueFiles {
		manifests, _, err := template(t, values(t, name))
		if err != nil {
			t.Fatal(err)
		}
		all := strings.Join(manifests, "\n")
		if has := strings.Contains(all, "sandbox"); has != (name == sandbox) {
			t.Errorf("%s: speaks of the sandbox: %v", name, has)
		}
	}
}
