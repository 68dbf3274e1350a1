package upstream

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

func TestNewWantsWhatItNeeds(t *testing.T) {
	full := Options{Name: "u", Base: mustParse("http://upstream.example"), Timeout: time.Second, Slots: 1}
	if _, err := New(full); err != nil {
		t.Fatal(err)
	}
	for rule, change := range map[string]func(*Options){
		"no Name":        func(o *Options) { o.Name = "" },
		"no Base":        func(o *Options) { o.Base = nil },
		"no host":        func(o *Options) { o.Base = &url.URL{Scheme: "http"} },
		"another scheme": func(o *Options) { o.Base = mustParse("ftp://upstream.example") },
		"no Timeout":     func(o *Options) { o.Timeout = 0 },
		"no Slots":       func(o *Options) { o.Slots = 0 },
	} {
		o := full
		change(&o)
		if _, err := New(o); err == nil {
			t.Errorf("%s: no error", rule)
		}
	}
}

// gathered returns the samples of a metric: "glory 1, interwater 0".
func gathered(t *testing.T, r *prometheus.Registry, name string) string {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var samples []string
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name {
				value := m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
				samples = append(samples, fmt.Sprintf("%s %v", m.GetLabel()[0].GetValue(), value))
			}
		}
	}
	return strings.Join(samples, ", ")
}

func TestMetricsTellUpstreamsApart(t *testing.T) {
	registry := prometheus.NewRegistry()
	metrics, err := NewMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	u := listen(t, func(p *peer) { p.request() })
	o := Options{Base: u.base, Timeout: patience, Slots: 1, Metrics: metrics}
	for _, o.Name = range []string{"glory", "interwater"} {
		rt, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		defer rt.Close()
		for range circuitLeast {
			if o.Name == "glory" {
				_ = ask(t.Context(), t, rt, "GET", u.base)
			}
		}
	}
	want(t, gathered(t, registry, "roomgate_upstream_circuit_open"), "glory 1, interwater 0")
	want(t, gathered(t, registry, "roomgate_upstream_duration_seconds"), fmt.Sprintf("glory %d, interwater 0", circuitLeast))
	if _, err := NewMetrics(registry); err == nil {
		t.Error("the collectors were registered twice")
	}
}

func TestViewsShareTheUpstream(t *testing.T) {
	both(t, func(t *testing.T, k kind) {
		u := listen(t, func(p *peer) {
			if p.request(); p.n < circuitLeast {
				p.ended()
			}
		})
		rt := k.of(t, u, Options{Slots: 1})
		view := &tested{rt.With("u other", 10*time.Millisecond), k}
		for range circuitLeast {
			want(t, ask(t.Context(), t, view, "GET", u.base), "timeout")
		}
		if rt.Circuit() != open || view.Base() != rt.Base() {
			t.Errorf("the circuit is %s", rt.Circuit())
		}
	})
}

func TestSpansTellOfCallsAndNoWords(t *testing.T) {
	both(t, func(t *testing.T, k kind) {
		told := make(chan string, 10)
		u := listen(t, func(p *peer) {
			for r := p.request(); r != nil; r = p.request() {
				told <- r.Header.Get("Traceparent")
				switch r.URL.Path {
				case "/v1/info":
					p.ok("good")
				case "/broken":
					p.send(okHead + "Content-Length: 9\r\n\r\nCANARY")
					return
				case "/nonsense":
					p.send("CANARY\r\n\r\n")
					return
				default:
					p.ended()
				}
			}
		})
		spans := tracetest.NewInMemoryExporter()
		provider := trace.NewTracerProvider(trace.WithSyncer(spans))
		rt := k.of(t, u, Options{Tracing: provider})
		ctx, parent := provider.Tracer("t").Start(t.Context(), "parent")
		for _, tt := range []struct{ path, name, want string }{
			{"/v1/info", "u", "Unset  200"}, {"/broken", "u", "Error upstream 200"}, {"/nonsense", "u", "Error upstream "},
			{"/hang", "u", "Error timeout "}, {"/v1/info", "u other", "Unset  200"},
		} {
			spans.Reset()
			r, err := http.NewRequestWithContext(ctx, "GET", u.base.String()+tt.path+"?CANARY=1", nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Traceparent", "a client's")
			calls := &tested{rt.Upstream, k}
			switch {
			case tt.path == "/hang":
				calls.Upstream = rt.With(tt.name, 100*time.Millisecond)
			case tt.name != "u":
				calls.Upstream = rt.With(tt.name, patience)
			}
			_ = outcomeOf(calls.RoundTrip(r))
			if len(spans.GetSpans()) != 1 || r.Header.Get("Traceparent") != "a client's" {
				t.Fatalf("%s: %d spans, the caller's header %v", tt.path, len(spans.GetSpans()), r.Header)
			}
			span := spans.GetSpans()[0]
			status := ""
			for _, a := range span.Attributes {
				if a.Key == "http.response.status_code" {
					status = a.Value.String()
				}
			}
			want(t, span.Name+": "+fmt.Sprint(span.Status.Code, " ", span.Status.Description, " ", status), tt.name+": "+tt.want)
			if text := fmt.Sprintf("%+v", span); strings.Contains(text, "CANARY") || span.Parent.SpanID() != parent.SpanContext().SpanID() {
				t.Errorf("%s: %s", tt.path, text)
			}
			want(t, await(t, told), "00-"+span.SpanContext.TraceID().String()+"-"+span.SpanContext.SpanID().String()+"-01")
		}
	})
}

// outcomeOf reads an answer to its end.
func outcomeOf(answer *http.Response, err error) error {
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	for buffer := make([]byte, 1000); err == nil; {
		_, err = answer.Body.Read(buffer)
	}
	return err
}

func TestReasonsAreFew(t *testing.T) {
	for err, want := range map[error]string{
		ErrFailed: "upstream", ErrTimeout: "timeout", context.DeadlineExceeded: "timeout", context.Canceled: "client_gone",
		fmt.Errorf("u: %w: %w", ErrBody, context.Canceled): "body", errors.New("CANARY"): "upstream",
	} {
		if got := reason(err); got != want {
			t.Errorf("%v: %s", err, got)
		}
	}
}
