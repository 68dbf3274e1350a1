package ops

// This file sets tracing up, as the OpenTelemetry variables say. The exporter is OTLP over HTTP alone, which every collector
// takes: it makes the binary 7 MB larger, because the generated types of OTLP bring gRPC along; the exporter over gRPC would add
// 0.1 MB and a second way.

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// NewTracing returns what makes spans and sends them off, or nil where environ names no exporter (OTEL_TRACES_EXPORTER=otlp,
// or an OTLP endpoint). The rest of the variables (sampler, headers, limits, …) the SDK reads itself, from the process's
// environment. What goes wrong with sending is told to log. The caller ends it with Shutdown, which sends what is left.
func NewTracing(ctx context.Context, environ []string, version string, log *slog.Logger) (*sdktrace.TracerProvider, error) {
	named, err := exporterNamed(environ)
	if err != nil || !named {
		return nil, err
	}
	// The SDK has one handler for the whole process; its own writes lines of another form to standard error.
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("tracing", "error", err.Error()) }))
	otel.SetLogger(logr.New(complaints{log}))
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_…: %w", err)
	}
	return newProvider(ctx, sdktrace.WithBatcher(exporter), version, log)
}

// newProvider says who makes the spans; OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win. Of a list of attributes that can't be
// read the rest is taken, and log is told.
func newProvider(
	ctx context.Context, exporter sdktrace.TracerProviderOption, version string, log *slog.Logger,
) (*sdktrace.TracerProvider, error) {
	itself, err := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithHost(),
		resource.WithAttributes(attribute.String("service.name", "roomgate"), attribute.String("service.version", version)), resource.WithFromEnv())
	if errors.Is(err, resource.ErrPartialResource) {
		log.Warn("tracing", "error", "OTEL_RESOURCE_ATTRIBUTES: write name=value,name=value; what can't be read is left out")
	} else if err != nil {
		return nil, fmt.Errorf("describe this process: %w", err)
	}
	return sdktrace.NewTracerProvider(exporter, sdktrace.WithResource(itself)), nil
}

// exporterNamed reads the variables that turn tracing on and off.
func exporterNamed(environ []string) (bool, error) {
	set := make(map[string]string)
	for _, entry := range environ {
		if name, value, _ := strings.Cut(entry, "="); strings.HasPrefix(name, "OTEL_") {
			set[name] = strings.TrimSpace(value)
		}
	}
	if strings.EqualFold(set["OTEL_SDK_DISABLED"], "true") {
		return false, nil
	}
	switch set["OTEL_TRACES_EXPORTER"] {
	case "none":
		return false, nil
	case "otlp":
	case "":
		if set["OTEL_EXPORTER_OTLP_ENDPOINT"] == "" && set["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] == "" {
			return false, nil
		}
	default:
		return false, errors.New("OTEL_TRACES_EXPORTER: otlp and none are known")
	}
	for _, name := range []string{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"} {
		if protocol := set[name]; protocol == "http/protobuf" {
			break // the more special one counts
		} else if protocol != "" {
			return false, fmt.Errorf("%s: only http/protobuf is supported", name)
		}
	}
	return true, nil
}

// complaints is where the SDK tells of a variable that it can't use: by what it was doing alone, for values and errors repeat
// what was set, and that may be a collector's password.
type complaints struct{ log *slog.Logger }

// Init implements logr.LogSink.
func (complaints) Init(logr.RuntimeInfo) {}

// Enabled implements logr.LogSink. The SDK's warnings are of level 1, what it merely tells of is above.
func (complaints) Enabled(level int) bool { return level <= 1 }

// Info implements logr.LogSink.
func (c complaints) Info(_ int, doing string, _ ...any) { c.Error(nil, doing) }

// Error implements logr.LogSink.
func (c complaints) Error(_ error, doing string, _ ...any) {
	c.log.Warn("tracing", "error", "OTEL_…: "+doing)
}

// WithValues implements logr.LogSink.
func (c complaints) WithValues(...any) logr.LogSink { return c }

// WithName implements logr.LogSink.
func (c complaints) WithName(string) logr.LogSink { return c }
