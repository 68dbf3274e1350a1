package main

// A gateway sends its traces to a collector. A collector that fails delays nobody.

import (
	"compress/gzip"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// collector receives spans by OTLP over HTTP.
type collector struct {
	*httptest.Server
	mu    sync.Mutex
	spans []*tracepb.Span
	text  strings.Builder // all that has come, as text and as raw bytes
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{}
	c.Server = httptest.NewServer(c)
	t.Cleanup(c.Close)
	return c
}

// ServeHTTP implements http.Handler.
func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		unzipped, err := gzip.NewReader(body)
		if err != nil {
			http.Error(w, "no gzip", http.StatusBadRequest)
			return
		}
		body = unzipped
	}
	raw, err := io.ReadAll(body)
	var batch collectorpb.ExportTraceServiceRequest
	if err != nil || proto.Unmarshal(raw, &batch) != nil || r.URL.Path != "/v1/traces" {
		http.Error(w, "no spans", http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	fmt.Fprintf(&c.text, "%s\n%s\n", &batch, raw)
	for _, resource := range batch.GetResourceSpans() {
		for _, scope := range resource.GetScopeSpans() {
			c.spans = append(c.spans, scope.GetSpans()...)
		}
	}
}

// received returns what has come until now.
func (c *collector) received() ([]*tracepb.Span, string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.spans), c.text.String()
}

// attribute returns a string or number of the span as text; "" if it has none.
func attribute(s *tracepb.Span, key string) string {
	for _, a := range s.GetAttributes() {
		if a.GetKey() == key {
			if number := a.GetValue().GetIntValue(); number != 0 {
				return fmt.Sprint(number)
			}
			return a.GetValue().GetStringValue()
		}
	}
	return ""
}

func TestSpansReachTheCollector(t *testing.T) {
	t.Parallel()
	for _, compression := range []string{"none", "gzip"} {
		stands, collector, client := newStands(t), newCollector(t), newClient(t)
		r, _ := startProcess(t, settings(stands, newRedis(t).Addr,
			"OTEL_EXPORTER_OTLP_ENDPOINT="+collector.URL, "OTEL_EXPORTER_OTLP_COMPRESSION="+compression, "OTEL_SERVICE_NAME=rooms"))
		const trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
		request, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, r.url+"/v1/info", nil)
		request.Header.Set("Authorization", "Bearer "+stands.Glory.MintToken("1", time.Hour))
		request.Header.Set("Traceparent", "00-"+trace+"-"+parent+"-01")
		response, err := client.Do(request)
		if err != nil || response.StatusCode != 200 {
			t.Fatalf("%v %v", err, response)
		}
		response.Body.Close()
		get(t, client, r.url+"/%ff", "").want(t, 400) // invalid UTF-8 in a span would lose the batch
		r.stop()
		if err := r.ended(); err != nil {
			t.Errorf("%v\n%s", err, r.log)
		}
		if warnings := r.log.events("tracing"); len(warnings) > 0 {
			t.Errorf("%v", warnings)
		}
		checkSpans(t, collector, trace, parent, stands.Interwater.LastRoomRequest().Header.Get("Traceparent"))
		if _, text := collector.received(); !strings.Contains(text, `string_value:"rooms"`) && !strings.Contains(text, `string_value: "rooms"`) {
			t.Error("the service's name is missing")
		}
	}
}

// checkSpans checks the spans of one room request, and of the token call that it caused. told is the traceparent that Interwater got.
func checkSpans(t *testing.T, c *collector, trace, parent, told string) {
	t.Helper()
	byName := map[string]*tracepb.Span{}
	spans, _ := c.received()
	for _, s := range spans {
		byName[s.GetName()] = s
	}
	server := byName["GET /v1/info"]
	if server == nil || hex.EncodeToString(server.GetTraceId()) != trace || hex.EncodeToString(server.GetParentSpanId()) != parent {
		t.Fatalf("no server span under the client's among %v", spans)
	}
	for _, name := range []string{"authorize", "token", "interwater"} {
		s := byName[name]
		if s == nil || !slices.Equal(s.GetTraceId(), server.GetTraceId()) || !slices.Equal(s.GetParentSpanId(), server.GetSpanId()) {
			t.Errorf("%s is not under the server span: %v", name, s)
		}
	}
	if want := "00-" + trace + "-" + hex.EncodeToString(byName["interwater"].GetSpanId()) + "-01"; told != want {
		t.Errorf("Interwater was told %q, want %q", told, want)
	}
	// The token call has its own trace, because it is for all requests that wait.
	auth := byName["interwater v1/auth"]
	if auth == nil || len(auth.GetParentSpanId()) > 0 || hex.EncodeToString(auth.GetTraceId()) == trace ||
		attribute(auth, "http.response.status_code") != "200" {
		t.Errorf("the token call has the span %v", auth)
	}
	if unclean := byName["request"]; unclean == nil || attribute(unclean, "roomgate.refusal") != "malformed" {
		t.Errorf("no span of the unclean path: %v", unclean)
	}
}

// Whatever the collector does, it delays neither members nor the end of the process.
func TestCollectorThatFailsDelaysNobody(t *testing.T) {
	t.Parallel()
	release, asked := make(chan struct{}), make(chan struct{}, 1000)
	hanging := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		asked <- struct{}{}
		<-release
	}))
	defer hanging.Close()
	defer close(release)
	busy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "60")
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer busy.Close()
	for name, endpoint := range map[string]string{"down": "http://127.0.0.1:1", "hanging": hanging.URL, "busy": busy.URL} {
		t.Run(name, func(t *testing.T) {
			stands, client := newStands(t), newClient(t)
			// The queue is short and is sent often, so it is full at once. The exporter's timeout is longer than the test's patience.
			r, _ := startProcess(t, settings(stands, newRedis(t).Addr, "MEMBER_RATE_LIMIT=0", "OTEL_EXPORTER_OTLP_ENDPOINT="+endpoint,
				"OTEL_BSP_SCHEDULE_DELAY=20", "OTEL_BSP_MAX_QUEUE_SIZE=20", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE=10",
				"OTEL_BSP_EXPORT_TIMEOUT=300000", "OTEL_EXPORTER_OTLP_TIMEOUT=300000"))
			token := stands.Glory.MintToken("1", time.Hour)
			get(t, client, r.url+"/v1/info", token).want(t, 200)
			if name == "hanging" {
				<-asked
			}
			for range 100 {
				get(t, client, r.url+"/v1/info", token).want(t, 200)
			}
			began := time.Now()
			r.stop()
			if err := r.ended(); err != nil {
				t.Errorf("%v\n%s", err, r.log)
			}
			if took := time.Since(began); took > patience { // five seconds are the promise; the rest is for a slow machine
				t.Errorf("the end took %v", took)
			}
			if len(r.log.events("tracing"))+len(r.log.events("spans were lost")) == 0 {
				t.Errorf("the log doesn't say that spans were lost:\n%s", r.log.events("stopped"))
			}
			for line := range strings.Lines(r.log.String()) {
				if !strings.HasPrefix(line, "{") {
					t.Errorf("not a JSON line: %s", line)
				}
			}
		})
	}
}
