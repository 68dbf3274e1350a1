package ops

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

func TestTracingIsOffUntilAnExporterIsNamed(t *testing.T) {
	const endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318"
	for _, tt := range []struct {
		environ string
		on      bool
		problem string // in the error; "": none
	}{
		{"", false, ""},
		{"OTEL_SERVICE_NAME=x OTEL_TRACES_SAMPLER=always_on", false, ""},
		{"OTEL_TRACES_EXPORTER=", false, ""},
		{"OTEL_TRACES_EXPORTER=otlp", true, ""},
		{"OTEL_TRACES_EXPORTER=none", false, ""},
		{"OTEL_TRACES_EXPORTER=none " + endpoint, false, ""},
		{"OTEL_TRACES_EXPORTER=zipkin", false, "OTEL_TRACES_EXPORTER"},
		{"OTEL_TRACES_EXPORTER=otlp,console", false, "OTEL_TRACES_EXPORTER"},
		{endpoint, true, ""},
		{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://127.0.0.1:4318/v1/traces", true, ""},
		{"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=http://127.0.0.1:4318", false, ""},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=", false, ""},
		{"OTEL_SDK_DISABLED=true " + endpoint, false, ""},
		{"OTEL_SDK_DISABLED=TRUE OTEL_TRACES_EXPORTER=zipkin", false, ""},
		{"OTEL_SDK_DISABLED=false " + endpoint, true, ""},
		{"OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf " + endpoint, true, ""},
		{"OTEL_EXPORTER_OTLP_PROTOCOL=grpc " + endpoint, false, "OTEL_EXPORTER_OTLP_PROTOCOL"},
		{"OTEL_EXPORTER_OTLP_PROTOCOL=http/json " + endpoint, false, "OTEL_EXPORTER_OTLP_PROTOCOL"},
		{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=grpc OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf " + endpoint, false, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"},
		{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/protobuf OTEL_EXPORTER_OTLP_PROTOCOL=grpc " + endpoint, true, ""},
		{"OTEL_EXPORTER_OTLP_PROTOCOL=grpc", false, ""}, // nothing is sent
	} {
		on, err := exporterNamed(strings.Fields(tt.environ))
		if on != tt.on || (err != nil) != (tt.problem != "") || err != nil && !strings.HasPrefix(err.Error(), tt.problem+":") {
			t.Errorf("%s: %v, %v", tt.environ, on, err)
		}
	}
}

func TestNoTracingIsNil(t *testing.T) {
	if spans, err := NewTracing(t.Context(), []string{"HOME=/"}, "v1", slog.New(slog.DiscardHandler)); spans != nil || err != nil {
		t.Errorf("%v, %v", spans, err)
	}
	if spans, err := NewTracing(t.Context(), []string{"OTEL_TRACES_EXPORTER=x"}, "v1", slog.New(slog.DiscardHandler)); spans != nil || err == nil {
		t.Errorf("%v, %v", spans, err)
	}
}

func TestSpansSayWhoMakesThem(t *testing.T) {
	for environ, want := range map[string]string{"": "roomgate", "rooms": "rooms"} {
		t.Setenv("OTEL_SERVICE_NAME", environ)
		exported := tracetest.NewInMemoryExporter()
		provider, err := newProvider(t.Context(), sdktrace.WithSyncer(exported), "v1", slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		_, span := provider.Tracer("t").Start(t.Context(), "s")
		span.End()
		got := map[string]string{}
		for _, a := range exported.GetSpans()[0].Resource.Attributes() {
			got[string(a.Key)] = a.Value.String()
		}
		if got["service.name"] != want || got["service.version"] != "v1" {
			t.Errorf("%q: %v", environ, got)
		}
	}
}

// Warnings about the collector must go to the log, in its format.
func TestFailuresOfTheExporterAreLogged(t *testing.T) {
	var out bytes.Buffer
	output := NewLogOutput(&out, prometheus.NewRegistry())
	spans, err := NewTracing(t.Context(), []string{"OTEL_TRACES_EXPORTER=otlp"}, "v1", NewLogger(output, "json", slog.LevelInfo))
	if err != nil {
		t.Fatal(err)
	}
	defer spans.Shutdown(t.Context())
	otel.Handle(errors.New("collector is away"))
	output.Close()
	if text := out.String(); !strings.Contains(text, `"level":"WARN","msg":"tracing","error":"collector is away"`) {
		t.Errorf("%q", text)
	}
}

// If the SDK can't read a header, it would write it to standard error, with the collector's password.
func TestVariableThatCannotBeReadIsNotRepeated(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "Authorization Basic hidden,b=%zzhidden")
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://user:hidden@host:port")
	var out bytes.Buffer
	output := NewLogOutput(&out, prometheus.NewRegistry())
	spans, err := NewTracing(t.Context(), []string{"OTEL_TRACES_EXPORTER=otlp"}, "v1", NewLogger(output, "json", slog.LevelInfo))
	if err != nil {
		t.Fatal(err)
	}
	defer spans.Shutdown(t.Context())
	output.Close()
	text := out.String()
	for _, want := range []string{"parse headers", "escape header value", "parse url"} {
		if !strings.Contains(text, `"msg":"tracing","error":"OTEL_…: `+want) {
			t.Errorf("no %s in %q", want, text)
		}
	}
	if strings.Contains(text, "hidden") {
		t.Errorf("%q", text)
	}
}

func TestAttributesThatCannotBeReadDoNotStopTheStart(t *testing.T) {
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "zone=b,hidden,")
	var out bytes.Buffer
	output, exported := NewLogOutput(&out, prometheus.NewRegistry()), tracetest.NewInMemoryExporter()
	provider, err := newProvider(t.Context(), sdktrace.WithSyncer(exported), "v1", NewLogger(output, "json", slog.LevelInfo))
	if err != nil {
		t.Fatal(err)
	}
	_, span := provider.Tracer("t").Start(t.Context(), "s")
	span.End()
	output.Close()
	if text := out.String(); !strings.Contains(text, "OTEL_RESOURCE_ATTRIBUTES: write") || strings.Contains(text, "hidden") {
		t.Errorf("%q", text)
	}
	zone, _ := exported.GetSpans()[0].Resource.Set().Value("zone")
	service, _ := exported.GetSpans()[0].Resource.Set().Value("service.name")
	if zone.String() != "b" || service.String() != "roomgate" {
		t.Errorf("zone %v, service %v", zone, service)
	}
}
