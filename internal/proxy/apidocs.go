package proxy

// The description of the public routes, for programs (/openapi.json) and for people (/docs). The viewer is Swagger UI. All of it comes
// from the binary, so the page loads nothing from other hosts.

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"

	viewer "github.com/swaggest/swgui/v5/static"
	"go.yaml.in/yaml/v3"
)

//go:embed openapi.yaml
var openapiYAML []byte

//go:embed docs.html
var docsHTML []byte

//go:embed docs.js
var docsJS []byte

//go:embed docs.dark.css
var docsDark []byte

// docsPolicy lets the page load files from the gateway and send requests to it, and to no other host. The pictures in Swagger UI's style
// sheet are data: URLs.
const docsPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// newAPIDocs returns the pages by their ServeMux patterns. It returns an empty map if on is false.
func newAPIDocs(on bool) (map[string]*endpoint, error) {
	own := make(map[string]*endpoint)
	if !on {
		return own, nil
	}
	var document yaml.Node
	if err := yaml.Unmarshal(openapiYAML, &document); err != nil {
		return nil, fmt.Errorf("openapi.yaml: %w", err)
	}
	description, err := toJSON(document.Content[0])
	if err != nil {
		return nil, fmt.Errorf("openapi.yaml: %w", err)
	}
	pages := map[string]http.Handler{
		"GET /openapi.json":  newPage("application/json; charset=utf-8", pack(description)),
		"GET /docs":          newPage("text/html; charset=utf-8", pack(docsHTML)),
		"GET /docs/start.js": newPage("text/javascript; charset=utf-8", pack(docsJS)),
		"GET /docs/dark.css": newPage("text/css; charset=utf-8", pack(docsDark)),
	}
	for name, contentType := range map[string]string{
		"swagger-ui-bundle.js": "text/javascript; charset=utf-8",
		"swagger-ui.css":       "text/css; charset=utf-8",
	} {
		packed, err := viewer.FS.ReadFile(name + ".gz")
		if err != nil {
			return nil, fmt.Errorf("viewer: %w", err)
		}
		pages["GET /docs/"+name] = newPage(contentType, packed)
	}
	for pattern, page := range pages {
		own[pattern] = &endpoint{serve: func(w *writer, r *http.Request) { w.serve(page, r) }}
	}
	toDocs := http.RedirectHandler("/docs", http.StatusFound)
	for _, pattern := range []string{"GET /{$}", "GET /docs/{$}"} { // for people who know only the host
		own[pattern] = &endpoint{redirect: true, serve: func(w *writer, r *http.Request) { w.serve(toDocs, r) }}
	}
	return own, nil
}

// toJSON returns a YAML node as JSON. It keeps the order of an object's names, so the page shows routes in the order of the file.
func toJSON(node *yaml.Node) ([]byte, error) {
	switch node.Kind {
	case yaml.AliasNode:
		return toJSON(node.Alias)
	case yaml.MappingNode, yaml.SequenceNode:
	default:
		var value any
		if err := node.Decode(&value); err != nil {
			return nil, err //nolint:wrapcheck // the caller names the file, and the error the line
		}
		return json.Marshal(value) //nolint:wrapcheck // the same
	}
	var text bytes.Buffer
	for i, child := range node.Content {
		part, err := toJSON(child)
		if err != nil {
			return nil, err
		}
		switch {
		case node.Kind == yaml.MappingNode && i%2 == 1:
			text.WriteByte(':')
		case i > 0:
			text.WriteByte(',')
		}
		text.Write(part)
	}
	if node.Kind == yaml.SequenceNode {
		return fmt.Appendf(nil, "[%s]", &text), nil
	}
	return fmt.Appendf(nil, "{%s}", &text), nil
}

func pack(content []byte) []byte {
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	_, _ = zip.Write(content) // to memory: can't fail
	_ = zip.Close()
	return packed.Bytes()
}

// serve answers with a page. It panics with http.ErrAbortHandler if too many such answers wait for their clients.
func (w *writer) serve(page http.Handler, r *http.Request) {
	if !w.mayAnswer() {
		w.call.failure, w.call.refusal = errOverloaded, explain(errOverloaded).reason
		panic(http.ErrAbortHandler)
	}
	page.ServeHTTP(w, r)
}

// page is one file, ready to be sent.
type page struct {
	contentType, tag string
	packed           []byte // by gzip
	// plain returns the unpacked page. It unpacks once, so slow clients don't each keep a copy in memory.
	plain func() []byte
}

func newPage(contentType string, packed []byte) *page {
	sum := sha256.Sum256(packed)
	return &page{contentType, fmt.Sprintf(`W/"%x"`, sum[:12]), packed, sync.OnceValue(func() []byte { return unpack(packed) })}
}

// unpack undoes pack. It panics if packed isn't valid gzip.
func unpack(packed []byte) []byte {
	zip, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		panic(fmt.Errorf("packed page: %w", err))
	}
	plain, err := io.ReadAll(zip) // no zip bomb: it comes from pack or the viewer's release
	if err != nil {
		panic(fmt.Errorf("packed page: %w", err))
	}
	return plain
}

// ServeHTTP implements http.Handler, for GET and HEAD.
func (p *page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-cache") // a new release has other pages under the same paths
	h.Set("ETag", p.tag)
	h.Set("Vary", "Accept-Encoding")
	if strings.Contains(r.Header.Get("If-None-Match"), p.tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", p.contentType)
	if strings.HasPrefix(p.contentType, "text/html") {
		h.Set("Content-Security-Policy", docsPolicy)
	}
	body := p.packed
	if takesGzip(r.Header) {
		h.Set("Content-Encoding", "gzip")
	} else {
		body = p.plain()
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) //nolint:gosec // nothing in it is from a request; the server notices a client that has gone
	}
}

// takesGzip reports whether the client accepts gzip: Accept-Encoding names it, and not with q=0.
func takesGzip(h http.Header) bool {
	for coding := range strings.SplitSeq(strings.Join(h["Accept-Encoding"], ","), ",") {
		name, weight, _ := strings.Cut(coding, ";")
		if strings.EqualFold(strings.TrimSpace(name), "gzip") {
			return weight == "" || strings.Trim(weight, " qQ=0.") != ""
		}
	}
	return false
}
