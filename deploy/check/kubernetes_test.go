package check

// This file renders the overlays as `kubectl kustomize` does, and has each object judged by the code that an API server
// judges it with: strict decoding, then validation.

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	"k8s.io/kubernetes/pkg/apis/apps"
	_ "k8s.io/kubernetes/pkg/apis/apps/install"
	appsvalidation "k8s.io/kubernetes/pkg/apis/apps/validation"
	"k8s.io/kubernetes/pkg/apis/autoscaling"
	_ "k8s.io/kubernetes/pkg/apis/autoscaling/install"
	autoscalingvalidation "k8s.io/kubernetes/pkg/apis/autoscaling/validation"
	"k8s.io/kubernetes/pkg/apis/core"
	_ "k8s.io/kubernetes/pkg/apis/core/install"
	corevalidation "k8s.io/kubernetes/pkg/apis/core/validation"
	"k8s.io/kubernetes/pkg/apis/networking"
	_ "k8s.io/kubernetes/pkg/apis/networking/install"
	networkingvalidation "k8s.io/kubernetes/pkg/apis/networking/validation"
	"k8s.io/kubernetes/pkg/apis/policy"
	_ "k8s.io/kubernetes/pkg/apis/policy/install"
	policyvalidation "k8s.io/kubernetes/pkg/apis/policy/validation"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

const kubernetes = "../kubernetes"

// withSecret after an overlay's name adds the component that verifies members in the gateway.
const withSecret = " with components/local"

var overlays = []string{
	"overlays/sandbox", "overlays/sandbox" + withSecret, "overlays/production", "overlays/production" + withSecret,
}

// render is what `kubectl apply -k` would send.
func render(t *testing.T, overlay string) resmap.ResMap {
	t.Helper()
	folder, component := strings.CutSuffix(overlay, withSecret)
	folder = filepath.Join(kubernetes, folder)
	if component {
		folder = overlaid(t, folder, filepath.Join(kubernetes, "components/local"))
	}
	rendered, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), folder)
	if err != nil {
		t.Fatalf("%s: %v", overlay, err)
	}
	return rendered
}

// overlaid is a folder with a kustomization of an overlay and a component.
func overlaid(t *testing.T, overlay, component string) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var paths [2]string // relative: kustomize takes no others
	for i, one := range []string{overlay, component} {
		if one, err = filepath.Abs(one); err == nil {
			paths[i], err = filepath.Rel(dir, one)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	text := fmt.Sprintf("apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [%s]\ncomponents: [%s]\n", paths[0], paths[1])
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// decode reads one object as an API server does: what it doesn't know is an error, what is left out gets its default.
func decode(text []byte) (runtime.Object, error) {
	strict := serializer.NewCodecFactory(legacyscheme.Scheme, serializer.EnableStrict)
	object, err := runtime.Decode(strict.UniversalDecoder(), text)
	if err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	return object, nil
}

// invalid judges an object. A kind that is not here has to be added, so that nothing passes unseen.
func invalid(object runtime.Object) error {
	var problems field.ErrorList
	switch o := object.(type) {
	case *apps.Deployment:
		problems = appsvalidation.ValidateDeployment(o, corevalidation.PodValidationOptions{})
	case *autoscaling.HorizontalPodAutoscaler:
		problems = autoscalingvalidation.ValidateHorizontalPodAutoscaler(o,
			autoscalingvalidation.HorizontalPodAutoscalerSpecValidationOptions{MinReplicasLowerBound: 1})
	case *core.ConfigMap:
		problems = corevalidation.ValidateConfigMap(o)
	case *core.Namespace:
		problems = corevalidation.ValidateNamespace(o)
	case *core.Secret:
		problems = corevalidation.ValidateSecret(o)
	case *core.Service:
		problems = corevalidation.ValidateServiceCreate(o)
	case *core.ServiceAccount:
		problems = corevalidation.ValidateServiceAccount(o)
	case *networking.NetworkPolicy:
		problems = networkingvalidation.ValidateNetworkPolicy(o, networkingvalidation.NetworkPolicyValidationOptions{})
	case *policy.PodDisruptionBudget:
		problems = policyvalidation.ValidatePodDisruptionBudget(o, policyvalidation.PodDisruptionBudgetValidationOptions{})
	default:
		return fmt.Errorf("no validation for %T", object)
	}
	if len(problems) > 0 {
		return problems.ToAggregate()
	}
	return nil
}

// judge is decode and invalid. A ServiceMonitor is no kind of Kubernetes itself: of it only the shape is checked.
func judge(text []byte) (runtime.Object, error) {
	var kind struct{ APIVersion, Kind string }
	if err := yaml.Unmarshal(text, &kind); err != nil {
		return nil, err
	}
	if kind.APIVersion == monitoring.SchemeGroupVersion.String() && kind.Kind == monitoring.ServiceMonitorsKind {
		monitor := &monitoring.ServiceMonitor{}
		return monitor, yaml.UnmarshalStrict(text, monitor)
	}
	object, err := decode(text)
	if err != nil {
		return nil, err
	}
	return object, invalid(object)
}

// objects are those of an overlay, judged.
func objects(t *testing.T, overlay string) []runtime.Object {
	t.Helper()
	var list []runtime.Object
	for _, resource := range render(t, overlay).Resources() {
		text, err := resource.AsYAML()
		if err != nil {
			t.Fatal(err)
		}
		object, err := judge(text)
		if err != nil {
			t.Errorf("%s: %s: %v", overlay, resource.CurId(), err)
			continue
		}
		list = append(list, object)
	}
	return list
}

// of picks the objects of one type.
func of[T runtime.Object](list []runtime.Object) []T {
	var picked []T
	for _, object := range list {
		if o, ok := object.(T); ok {
			picked = append(picked, o)
		}
	}
	return picked
}

func TestAnAPIServerWouldTakeEveryObject(t *testing.T) {
	for _, overlay := range overlays {
		if n := len(objects(t, overlay)); n < 9 {
			t.Errorf("%s: only %d objects", overlay, n)
		}
	}
}

// TestMistakesAreFound: a validation that finds nothing would look the same as manifests without a mistake.
func TestMistakesAreFound(t *testing.T) {
	for mistake, change := range map[string][2]string{
		"unknown field":             {"readOnlyRootFilesystem", "readOnlyRootFileSystem"},
		"wrong type":                {"containerPort: 8080", "containerPort: public"},
		"selector fits no pod":      {"app.kubernetes.io/name: roomgate\n  strategy", "a: b\n  strategy"},
		"probe of no port":          {"port: admin", "port: 0"},
		"volume that isn't there":   {"name: secrets\n        secret", "name: secret\n        secret"},
		"limit below the request":   {"memory: 512Mi", "memory: 128Mi"},
		"unknown seccomp profile":   {"type: RuntimeDefault", "type: Default"},
		"both kinds of surge are 0": {"maxSurge: 1", "maxSurge: 0"},
	} {
		found := false
		for _, resource := range render(t, "overlays/production").Resources() {
			text, err := resource.AsYAML()
			if err != nil {
				t.Fatal(err)
			}
			if resource.GetKind() != "Deployment" || !strings.Contains(string(text), change[0]) {
				continue
			}
			_, err = judge([]byte(strings.ReplaceAll(string(text), change[0], change[1])))
			found = err != nil
			t.Logf("%s: %v", mistake, err)
		}
		if !found {
			t.Errorf("%s: not found", mistake)
		}
	}
}
