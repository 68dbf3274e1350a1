package sandbox

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
)

// maxBody is the maximum size of a request body, in bytes.
const maxBody = 64 << 10

// jsonType names the charset, because most answers have Korean in them.
const jsonType = "application/json; charset=utf-8"

// writeJSON sends v. HTML escaping is off: neither API uses it, and URLs in answers contain "&".
func writeJSON(w http.ResponseWriter, status int, v any) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		// v is always one of our own types, which can all be encoded.
		panic(fmt.Sprintf("sandbox: encode answer: %v", err))
	}
	w.Header().Set("Content-Type", jsonType)
	w.WriteHeader(status)
	// A client that has left needs no answer.
	_, _ = w.Write(bytes.TrimSuffix(buf.Bytes(), []byte("\n")))
}

// readJSON reads the body into v. The body must be exactly one JSON value, sent as application/json. All errors are the client's.
func readJSON(r *http.Request, v any) error {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/json" {
		return errors.New("body is not sent as application/json")
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil {
		return fmt.Errorf("read body: %w", err)
	}
	if len(body) > maxBody {
		return fmt.Errorf("body is over %d bytes", maxBody)
	}
	// Unmarshal, unlike a Decoder, refuses data after the value.
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("parse body: %w", err)
	}
	return nil
}

// refusal writes an error in the form of one API.
type refusal func(w http.ResponseWriter, status int, message string)

// allow reports whether the request has the method; HEAD counts as GET. If not, it answers 405.
func (refuse refusal) allow(w http.ResponseWriter, r *http.Request, method string) bool {
	allowed := []string{method}
	if method == http.MethodGet {
		allowed = append(allowed, http.MethodHead)
	}
	if slices.Contains(allowed, r.Method) {
		return true
	}
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	refuse.status(w, http.StatusMethodNotAllowed)
	return false
}

// status refuses with the status text as message, where the documents have none.
func (refuse refusal) status(w http.ResponseWriter, status int) {
	refuse(w, status, http.StatusText(status))
}
