package ops

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

// NewTracing returns a provider that makes spans and exports them, or nil if environ names no exporter (OTEL_TRACES_EXPORTER=otlp
// or an OTLP endpoint). The SDK reads the other variables (sampler, headers, limits, …) itself, from the process's environment.
// Export errors go to log. The caller must call Shutdown, which exports what is left.
//
// OTLP over HTTP is the only exporter, because every collector accepts it. It makes the binary 7 MB larger, since OTLP's
// generated types bring gRPC along. The gRPC exporter would add only 0.1 MB, but also a second way.
func NewTracing(ctx context.Context, environ []string, version string, log *slog.Logger) (*sdktrace.TracerProvider, error) {
	named, err := exporterNamed(environ)
	if err != nil || !named {
		return nil, err
	}
	// The SDK has one handler for the whole process. By default it writes lines of another format to standard error.
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("tracing", "error", err.Error()) }))
	otel.SetLogger(logr.New(complaints{log}))
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_…: %w", err)
	}
	return newProvider(ctx, sdktrace.WithBatcher(exporter), version, log)
}

// newProvider describes this process in its spans. OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES take precedence. If some
// attributes can't be read, the others are used, and log gets a warning.
func newProvider(
	ctx context.Context, exporter sdktrace.TracerProviderOption, version string, log *slog.Logger,
) (*sdktrace.TracerProvider, error) {
	itself, err := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithHost(),
		resource.WithAttributes(attribute.String("service.name", "roomgate"), attribute.String("service.version", version)), resource.WithFromEnv())
	if errors.Is(err, resource.ErrPartialResource) {
		log.Warn("tracing", "error", "OTEL_RESOURCE_ATTRIBUTES: write name=value,name=value; unreadable attributes are ignored")
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
		return false, errors.New("OTEL_TRACES_EXPORTER: only otlp and none are supported")
	}
	for _, name := range []string{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"} {
		if protocol := set[name]; protocol == "http/protobuf" {
			break // the more specific variable counts
		} else if protocol != "" {
			return false, fmt.Errorf("%s: only http/protobuf is supported", name)
		}
	}
	return true, nil
}

// complaints logs the SDK's messages about variables that it can't use. It logs only the message, because values and errors may
// repeat a collector's password.
type complaints struct{ log *slog.Logger }

// Init implements logr.LogSink.
func (complaints) Init(logr.RuntimeInfo) {}

// Enabled implements logr.LogSink. The SDK's warnings have level 1; information has higher levels.
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
