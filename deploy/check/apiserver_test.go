package check

// Validates objects with the code of an API server: strict decoding, then validation.

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/external-secrets/external-secrets/apis/meta/v1" // keeps the module: its CRDs are read
	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
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
	gateway "sigs.k8s.io/gateway-api/apis/v1"
	kubejson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// decode reads one object as an API server does: an unknown field is an error, a missing one gets its default.
func decode(text []byte) (runtime.Object, error) {
	strict := serializer.NewCodecFactory(legacyscheme.Scheme, serializer.EnableStrict)
	object, err := runtime.Decode(strict.UniversalDecoder(), text)
	if err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	return object, nil
}

// named sets an object's namespace, as applying it does.
func named(object runtime.Object) error {
	meta, ok := object.(interface {
		GetNamespace() string
		SetNamespace(string)
	})
	if !ok || meta.GetNamespace() != "" {
		return fmt.Errorf("%T names a namespace: it is the release's", object)
	}
	meta.SetNamespace("roomgate")
	return nil
}

// invalid validates an object. It fails on a kind that isn't here, so that no object passes unchecked.
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
	case *core.Pod:
		problems = corevalidation.ValidatePodCreate(o, corevalidation.PodValidationOptions{})
	case *core.Secret:
		problems = corevalidation.ValidateSecret(o)
	case *core.Service:
		problems = corevalidation.ValidateServiceCreate(o)
	case *core.ServiceAccount:
		problems = corevalidation.ValidateServiceAccount(o)
	case *networking.Ingress:
		problems = networkingvalidation.ValidateIngressCreate(o)
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

// judge decodes and validates an object. A kind that isn't Kubernetes' own is checked against its published Go type, its CRD, or both.
func judge(t *testing.T, text []byte) (runtime.Object, error) {
	t.Helper()
	var kind struct{ APIVersion, Kind string }
	if err := yaml.Unmarshal(text, &kind); err != nil {
		return nil, err
	}
	switch kind.APIVersion + " " + kind.Kind {
	case "monitoring.coreos.com/v1 ServiceMonitor":
		monitor := &monitoring.ServiceMonitor{}
		return monitor, typed(text, monitor)
	case "monitoring.coreos.com/v1 PrometheusRule":
		rule := &monitoring.PrometheusRule{}
		return rule, typed(text, rule)
	case "gateway.networking.k8s.io/v1 HTTPRoute":
		route := &gateway.HTTPRoute{}
		if err := typed(text, route); err != nil {
			return nil, err
		}
		return route, fits(t, text, "sigs.k8s.io/gateway-api", "config/crd/standard/gateway.networking.k8s.io_httproutes.yaml")
	case "external-secrets.io/v1 ExternalSecret":
		// Its Go type would bring in all dependencies of its controller.
		secret := &unstructured.Unstructured{}
		if err := yaml.UnmarshalStrict(text, &secret.Object); err != nil {
			return nil, err
		}
		return secret, fits(t, text, "github.com/external-secrets/external-secrets",
			"config/crds/bases/external-secrets.io_externalsecrets.yaml")
	}
	object, err := decode(text)
	if err != nil {
		return nil, err
	}
	if err := named(object); err != nil {
		return nil, err
	}
	return object, invalid(object)
}

// typed reads an object into its Go type. As for an API server, a field that the type doesn't have is an error, and so is a
// field name in another case.
func typed(text []byte, into any) error {
	encoded, err := yaml.YAMLToJSON(text)
	if err != nil {
		return err
	}
	problems, err := kubejson.UnmarshalStrict(encoded, into)
	return errors.Join(append(problems, err)...)
}

// fits checks an object against the schema of its CRD, which is a file of a module. Fields that the schema doesn't have are
// errors; an API server drops them with a warning.
func fits(t *testing.T, text []byte, module, file string) error {
	t.Helper()
	dir, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		t.Fatal(err)
	}
	crd, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), file))
	if err != nil {
		t.Fatal(err)
	}
	var definition struct {
		Spec struct {
			Versions []struct {
				Name   string
				Schema struct{ OpenAPIV3Schema map[string]any }
			}
		}
	}
	if err := yaml.Unmarshal(crd, &definition); err != nil {
		t.Fatal(err)
	}
	var object any
	if err := yaml.Unmarshal(text, &object); err != nil {
		return err
	}
	for _, version := range definition.Spec.Versions {
		if version.Name != "v1" {
			continue
		}
		compiler := jsonschema.NewCompiler()
		if err := compiler.AddResource("crd.json", closed(version.Schema.OpenAPIV3Schema)); err != nil {
			t.Fatal(err)
		}
		schema, err := compiler.Compile("crd.json")
		if err != nil {
			t.Fatal(err)
		}
		return schema.Validate(object)
	}
	t.Fatalf("%s has no version v1", file)
	return nil
}

// closed lets each object of a schema refuse fields that it doesn't name, except in metadata, which the schema leaves open.
func closed(schema any) any {
	switch s := schema.(type) {
	case map[string]any:
		properties, ok := s["properties"].(map[string]any)
		if _, more := s["additionalProperties"]; ok && len(properties) > 0 && !more && s["type"] == "object" {
			s["additionalProperties"] = false
		}
		for _, part := range s {
			closed(part)
		}
	case []any:
		for _, part := range s {
			closed(part)
		}
	}
	return schema
}

// TestMistakesAreFound shows that the validation finds mistakes; one that finds nothing would pass every chart.
func TestMistakesAreFound(t *testing.T) {
	type mistake struct{ file, kind, from, to string }
	for _, m := range []mistake{
		{"remote-single", "Deployment", "readOnlyRootFilesystem", "readOnlyRootFileSystem"},
		{"remote-single", "Deployment", "containerPort: 8080", "containerPort: public"},
		{"remote-single", "Deployment", "component: gateway\n  template", "component: gate\n  template"}, // selector fits no pod
		{"remote-single", "Deployment", "port: admin", "port: 0"},
		{"remote-single", "Deployment", "name: secrets\n          secret", "name: secret\n          secret"}, // a volume that isn't there
		{"remote-single", "Deployment", "memory: 512Mi", "memory: 128Mi"},                                    // below the request
		{"remote-single", "Deployment", "type: RuntimeDefault", "type: Default"},
		{"remote-single", "Deployment", "maxSurge: 1", "maxSurge: 0"}, // both kinds of surge are 0
		{"remote-single", "Pod", "restartPolicy: Never", "restartPolicy: Sometimes"},
		{"licenses-cluster", "Ingress", "pathType: Prefix", "pathType: Begins"},
		{"licenses-cluster", "ServiceMonitor", "targetPort:", "targetport:"},
		{"licenses-cluster", "PrometheusRule", "for: 2m", "For: 2m"},
		{"external-secrets", "HTTPRoute", "backendRefs:", "backends:"},
		{"external-secrets", "HTTPRoute", "rooms.example.com", "rooms_example"},
		{"external-secrets", "ExternalSecret", "property:", "field:"},
		{"external-secrets", "ExternalSecret", "creationPolicy: Owner", "creationPolicy: Mine"},
	} {
		manifests, _, err := template(t, values(t, m.file))
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, manifest := range manifests {
			if !strings.Contains(manifest, "\nkind: "+m.kind+"\n") || !strings.Contains(manifest, m.from) {
				continue
			}
			_, err := judge(t, []byte(strings.ReplaceAll(manifest, m.from, m.to)))
			found = err != nil
			t.Logf("%s: %v", m.to, err)
		}
		if !found {
			t.Errorf("%s: %s: not found", m.kind, m.to)
		}
	}
}
