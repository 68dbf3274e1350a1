package main

// The tests of the API description fetch it from the gateway, send requests that are made from it, and check the answers against it.

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
)

// undescribed returns the headers that any answer may have.
func undescribed() []string {
	return []string{"Content-Type", "Content-Length", "Content-Encoding", "Date", "Connection", "Vary"}
}

// description is the API description as the gateway serves it.
type description struct {
	*openapi3.T
	client *http.Client
	seen   map[string]bool // answers that came, by operation and status
}

// operation is a method of a path. Operation is nil if the description doesn't have it.
type operation struct {
	method, path string
	*openapi3.Operation
}

// fetchDescription reads /openapi.json and checks that it is valid OpenAPI with valid examples. It closes all objects, so that a field
// that isn't described fails the test, though clients should ignore it.
func fetchDescription(t *testing.T, gate string) *description {
	t.Helper()
	d := &description{client: newClient(t), seen: map[string]bool{}}
	document, err := openapi3.NewLoader().LoadFromData([]byte(get(t, d.client, gate+"/openapi.json", "").want(t, 200).body))
	if err != nil {
		t.Fatal(err)
	}
	d.T = document
	if err := document.Validate(t.Context()); err != nil || !document.IsOpenAPI31OrLater() {
		t.Fatalf("openapi %s: %v", document.OpenAPI, err)
	}
	for _, schema := range document.Components.Schemas {
		closeObjects(schema.Value)
	}
	openapi3filter.RegisterBodyDecoder("text/html", openapi3filter.PlainBodyDecoder)
	return d
}

func closeObjects(s *openapi3.Schema) {
	if len(s.Properties) > 0 {
		s.AdditionalProperties.Has = new(bool)
	}
	for _, property := range s.Properties {
		closeObjects(property.Value)
	}
}

// operations returns all operations whose path has one of the beginnings, in order. For each GET there is a HEAD, too.
func (d *description) operations(beginnings ...string) []operation {
	var all []operation
	for _, path := range slices.Sorted(maps.Keys(d.Paths.Map())) {
		if !slices.ContainsFunc(beginnings, func(b string) bool { return strings.HasPrefix(path, b) }) {
			continue
		}
		operations := d.Paths.Value(path).Operations()
		for _, method := range slices.Sorted(maps.Keys(operations)) {
			all = append(all, operation{method, path, operations[method]})
			if method == http.MethodGet {
				all = append(all, operation{http.MethodHead, path, operations[method]})
			}
		}
	}
	return all
}

// ask sends an operation's request, with the example of the description as its body, and checks the answer against the description.
// change, if not nil, changes the request first.
func (d *description) ask(t *testing.T, gate string, op operation, token string, status int, change func(*http.Request)) answer {
	t.Helper()
	body := ""
	if op.Operation != nil && op.RequestBody != nil {
		example, _ := json.Marshal(op.RequestBody.Value.Content["application/json"].Example)
		body = string(example)
	}
	url := gate + strings.ReplaceAll(op.path, "{room_name}", koreanRoom())
	request, err := http.NewRequestWithContext(t.Context(), op.method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body == "" {
		request.Body, request.ContentLength = nil, 0
	} else {
		request.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	if change != nil {
		change(request)
	}
	a, err := send(d.client, request)
	if err != nil {
		t.Fatal(err)
	}
	if a.status != status {
		t.Errorf("%s %s: status %d, want %d: %s", op.method, op.path, a.status, status, a.body)
	}
	if err := d.check(t.Context(), op, a); err != nil {
		t.Errorf("%s %s: %d %s\n%v\n%s", op.method, op.path, a.status, a.body, a.header, err)
	}
	return a
}

// check compares an answer with the description: status, headers, type and body. For what isn't described, the answer must be like that
// to a malformed request; a 405 also has Allow.
func (d *description) check(ctx context.Context, op operation, a answer) error {
	expected, status, described := d.Components.Responses["Malformed"], fmt.Sprint(a.status), undescribed()
	if op.Operation != nil {
		if expected = op.Responses.Value(status); expected == nil {
			expected, status = op.Responses.Default(), "default"
		}
	} else if _, ok := a.header["Allow"]; ok == (a.status == http.StatusMethodNotAllowed) {
		described = append(described, "Allow")
	}
	if expected == nil {
		return fmt.Errorf("status %d is not described", a.status)
	}
	d.seen[fmt.Sprint(op.method, " ", op.path, " ", status)] = true
	for name := range expected.Value.Headers {
		described = append(described, http.CanonicalHeaderKey(name))
	}
	for name := range a.header {
		if !slices.Contains(described, name) {
			return fmt.Errorf("header %s is not described", name)
		}
	}
	bodiless := op.method == http.MethodHead || a.status == http.StatusNotModified
	if bodiless && a.body != "" {
		return fmt.Errorf("a body where none belongs: %q", a.body)
	}
	// The validator ignores answers to HEAD, and 304. So it is told that the answer is a 200 to a GET.
	asked := &openapi3.Operation{Responses: openapi3.NewResponses(openapi3.WithStatus(200, expected))}
	input := (&openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{
			Request: &http.Request{Method: http.MethodGet},
			Route:   &routers.Route{Spec: d.T, Path: op.path, Method: http.MethodGet, Operation: asked},
		},
		Status: http.StatusOK, Header: a.header,
		Options: &openapi3filter.Options{IncludeResponseStatus: true, ExcludeResponseBody: bodiless, MultiError: true},
	}).SetBodyBytes([]byte(a.body))
	return openapi3filter.ValidateResponse(ctx, input)
}

// never fails the test for every described answer that hasn't come.
func (d *description) never(t *testing.T) {
	t.Helper()
	for _, op := range d.operations("/") {
		for _, status := range slices.Sorted(maps.Keys(op.Responses.Map())) {
			if !d.seen[op.method+" "+op.path+" "+status] {
				t.Errorf("%s %s: %s is described, and no request of this test is answered it", op.method, op.path, status)
			}
		}
	}
}
