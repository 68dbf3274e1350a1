package check

// Renders the chart with Helm's own code, as `helm template` does, for each of the value files in its folder ci.

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	"helm.sh/helm/v3/pkg/releaseutil"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"
)

const (
	chartFolder = "../helm/roomgate"
	sandbox     = "sandbox" // the one values file that is not for members
)

// valueFiles are the files in the chart's folder ci, and the kinds of objects that each is rendered to.
var valueFiles = map[string]string{
	sandbox: "ConfigMap Deployment Deployment Deployment NetworkPolicy NetworkPolicy Pod PodDisruptionBudget Secret Service Service " +
		"Service ServiceAccount",
	"remote-single":  "ConfigMap Deployment HorizontalPodAutoscaler NetworkPolicy Pod PodDisruptionBudget Service ServiceAccount",
	"local-sentinel": "ConfigMap Deployment HorizontalPodAutoscaler NetworkPolicy Pod PodDisruptionBudget Service ServiceAccount",
	"licenses-cluster": "ConfigMap ConfigMap Deployment HorizontalPodAutoscaler Ingress NetworkPolicy Pod PodDisruptionBudget PrometheusRule " +
		"Service ServiceAccount ServiceMonitor",
	"external-secrets": "ConfigMap Deployment ExternalSecret HTTPRoute HorizontalPodAutoscaler NetworkPolicy Pod PodDisruptionBudget " +
		"Service ServiceAccount",
	"tls-loadbalancer": "ConfigMap Deployment HorizontalPodAutoscaler NetworkPolicy Pod PodDisruptionBudget Service ServiceAccount",
	"placed":           "ConfigMap Deployment NetworkPolicy Pod PodDisruptionBudget Service",
	"open": "ConfigMap ConfigMap Deployment HorizontalPodAutoscaler Pod PrometheusRule Service ServiceAccount " +
		"ServiceMonitor",
}

// values reads a file in ci.
func values(t *testing.T, name string) map[string]any {
	t.Helper()
	v, err := chartutil.ReadValuesFile(filepath.Join(chartFolder, "ci", name+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// template returns what `helm template roomgate deploy/helm/roomgate` prints with these values: each object's text, and
// the notes. The error is the one with which helm would refuse the values.
func template(t *testing.T, v map[string]any) (manifests []string, notes string, err error) {
	t.Helper()
	chart, err := loader.Load(chartFolder)
	if err != nil {
		t.Fatal(err)
	}
	cluster := *chartutil.DefaultCapabilities
	cluster.KubeVersion = chartutil.KubeVersion{Version: "v1.36.3", Major: "1", Minor: "36"}
	release := chartutil.ReleaseOptions{Name: "roomgate", Namespace: "roomgate", Revision: 1, IsInstall: true}
	all, err := chartutil.ToRenderValues(chart, v, release, &cluster)
	if err != nil {
		return nil, "", err
	}
	files, err := engine.Render(chart, all)
	if err != nil {
		return nil, "", err
	}
	for name, text := range files {
		if path.Base(name) == "NOTES.txt" {
			notes = text
			continue
		}
		for _, manifest := range releaseutil.SplitManifests(text) {
			manifests = append(manifests, manifest)
		}
	}
	slices.Sort(manifests)
	return manifests, notes, nil
}

// objects returns the validated objects of a values file.
func objects(t *testing.T, name string) []runtime.Object {
	t.Helper()
	manifests, _, err := template(t, values(t, name))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	var list []runtime.Object
	for _, manifest := range manifests {
		object, err := judge(t, []byte(manifest))
		if err != nil {
			t.Errorf("%s: %v\n%s", name, err, manifest)
			continue
		}
		list = append(list, object)
	}
	return list
}

// of returns the objects of one type.
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
	files, err := filepath.Glob(filepath.Join(chartFolder, "ci/*.yaml"))
	if err != nil || len(files) != len(valueFiles) {
		t.Errorf("%d value files of %d, %v", len(valueFiles), len(files), err)
	}
	for name, want := range valueFiles {
		var kinds []string
		manifests, notes, err := template(t, values(t, name))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, manifest := range manifests {
			var kind struct{ Kind string }
			if err := yaml.Unmarshal([]byte(manifest), &kind); err != nil {
				t.Error(err)
			}
			kinds = append(kinds, kind.Kind)
		}
		slices.Sort(kinds)
		if got := strings.Join(kinds, " "); got != want {
			t.Errorf("%s: %s\nwant %s", name, got, want)
		}
		if !strings.Contains(notes, "helm test roomgate") {
			t.Errorf("%s: notes %q", name, notes)
		}
		objects(t, name)
	}
}

// TestTheChartIsOfTheVersionThatIsNext: at a release's tag, both chart and changelog have the tag's version.
func TestTheChartIsOfTheVersionThatIsNext(t *testing.T) {
	changelog, err := os.ReadFile("../../CHANGELOG.md")
	if err != nil {
		t.Fatal(err)
	}
	chart, err := loader.Load(chartFolder)
	if err != nil {
		t.Fatal(err)
	}
	newest := regexp.MustCompile(`(?m)^## (\d+\.\d+\.\d+)`).FindStringSubmatch(string(changelog))
	if len(newest) == 0 || chart.Metadata.Version != newest[1] || chart.Metadata.AppVersion != newest[1] {
		t.Errorf("the chart is %s of %s, the changelog's newest is %q", chart.Metadata.Version, chart.Metadata.AppVersion, newest)
	}
}

func TestHelmLintIsClean(t *testing.T) {
	kube := chartutil.KubeVersion{Version: "v1.36.3", Major: "1", Minor: "36"}
	judged := map[string]map[string]any{"no values": {}}
	for name := range valueFiles {
		judged[name] = values(t, name)
	}
	for name, v := range judged {
		for _, m := range lint.AllWithKubeVersion(chartFolder, v, "roomgate", &kube).Messages {
			if m.Severity > support.InfoSev { // an icon is recommended: there is none
				t.Errorf("%s: %s", name, m)
			}
		}
	}
}

// TestWrongValuesAreRefused: the schema, or a template that says what is missing, refuses them before they reach a cluster.
func TestWrongValuesAreRefused(t *testing.T) {
	for wrong, complaint := range map[string]string{
		"replica: 3":                                "'replica'",
		"image: {repo: x}":                          "'repo'",
		"image: {tag: latest}":                      "/image/tag",
		"image: {digest: 'sha256:0'}":               "/image/digest",
		"image: {repository: ''}":                   "image.repository is required",
		"glory: {url: ''}":                          "glory.url is required",
		"glory: {mode: jwt}":                        "/glory/mode",
		"interwater: {url: ftp://x}":                "/interwater/url",
		"interwater: {licenses: []}":                "/interwater/licenses",
		"interwater: {licenses: [{allow: 'true'}]}": "'name'",
		"redis: {mode: ha}":                         "/redis/mode",
		"redis: {url: redis://secret}":              "'url'",
		"settings: {LOG_LEVL: debug}":               "/settings",
		"settings: {MAX_IN_FLIGHT: 1000000}":        "/settings/MAX_IN_FLIGHT", // as a number it would be written 1e+06
		"settings: {GLORY_URL: https://x}":          "/settings",
		"secret: {settings: {NO_SETTING: x}}":       "/secret/settings",
		"secret: {external: {enabled: true}}":       "secret.external.store.name is required",
		"drain: {delaySeconds: 10s}":                "/drain/delaySeconds",
		"ingress: {enabled: true}":                  "ingress.hosts is required",
		"httpRoute: {enabled: true}":                "httpRoute.parentRefs is required",
		"networkPolicy: {egress: []}":               "networkPolicy.egress is required",
		"podLabels: {a: 1}":                         "/podLabels/a",
		"sandbox: true":                             "/sandbox",
	} {
		var change map[string]any
		if err := yaml.Unmarshal([]byte(wrong), &change); err != nil {
			t.Fatal(err)
		}
		_, _, err := template(t, chartutil.CoalesceTables(change, values(t, "remote-single")))
		if err == nil || !strings.Contains(err.Error(), complaint) {
			t.Errorf("%s: %v; want %s in it", wrong, err, complaint)
		}
	}
}

// TestTheRulesAndTheDashboardAreTheTestedOnes: the chart installs the files that promtool and the gateway's tests check.
func TestTheRulesAndTheDashboardAreTheTestedOnes(t *testing.T) {
	for _, name := range []string{"alerts.yaml", "dashboard.json"} {
		tested, err := os.ReadFile("../observability/" + name)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(string(tested)), "\n")
		manifests, _, err := template(t, values(t, "open"))
		if err != nil {
			t.Fatal(err)
		}
		found := slices.ContainsFunc(manifests, func(manifest string) bool {
			rest := manifest
			for _, line := range lines { // each, in order, whatever the indentation
				_, after, ok := strings.Cut(rest, strings.TrimRight(line, " "))
				if !ok {
					return false
				}
				rest = after
			}
			return true
		})
		if !found {
			t.Errorf("%s is in no object", name)
		}
	}
}
