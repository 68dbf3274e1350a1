package bridge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"roomgate/internal/secret"
	"roomgate/internal/tokencache"
)

// Bounds for answers of v1/auth. A larger answer or token is a failure; longer times are cut.
const (
	maxAuthAnswer  = 64 << 10  // bytes
	maxAccessToken = 8 << 10   // bytes
	maxRetryAfter  = time.Hour // for which an answer can keep a license from being used
	maxTokenLife   = 100 * 365 * 24 * time.Hour
)

// issuer calls v1/auth for one license and role. It never changes: new keys get a new issuer.
type issuer struct {
	interwater sender
	license    License
	owner      bool
}

// authRequest is the body of a request to v1/auth (interwater.md, section 0).
type authRequest struct {
	AccessKey string `json:"accessKey"`
	SecretKey string `json:"secretKey"`
	Expires   int    `json:"expires"` // minutes
	IsOwner   bool   `json:"isOwner,omitempty"`
}

// fetch is a tokencache.Fetch. An error of the call or the answer is a *tokencache.FetchError. No error quotes a key or the answer.
func (i *issuer) fetch(ctx context.Context) (tokencache.Issued, error) {
	body, err := json.Marshal(authRequest{
		AccessKey: i.license.AccessKey.Reveal(), SecretKey: i.license.SecretKey.Reveal(),
		Expires: i.license.TokenMinutes, IsOwner: i.owner,
	})
	if err != nil {
		return tokencache.Issued{}, fmt.Errorf("encode: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, i.interwater.Base().JoinPath("/v1/auth").String(), bytes.NewReader(body))
	if err != nil {
		return tokencache.Issued{}, fmt.Errorf("v1/auth: %w", err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/json")
	response, err := i.interwater.RoundTrip(request)
	if err != nil {
		return tokencache.Issued{}, failed(tokencache.Transient, "v1/auth: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAuthAnswer+1))
	if response.StatusCode < 200 || response.StatusCode > 299 {
		return tokencache.Issued{}, refusal(response)
	}
	if err != nil {
		return tokencache.Issued{}, failed(tokencache.Transient, "v1/auth: read: %w", err)
	}
	if len(answer) > maxAuthAnswer {
		return tokencache.Issued{}, failed(tokencache.Garbage, "v1/auth: answer over %d bytes", maxAuthAnswer)
	}
	return i.judge(answer)
}

// refusal returns a *tokencache.FetchError for an answer that isn't 2xx. Class: Denied for 401 and 403; Throttled for 429, and for
// 503 with Retry-After; Garbage for statuses under 400, since a redirect isn't followed; otherwise Transient.
func refusal(response *http.Response) error {
	failure := &tokencache.FetchError{Class: tokencache.Transient, Err: fmt.Errorf("v1/auth: status %d", response.StatusCode)}
	failure.RetryAfter = retryAfter(response.Header.Get("Retry-After"))
	switch code := response.StatusCode; {
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		failure.Class = tokencache.Denied
	case code == http.StatusTooManyRequests || code == http.StatusServiceUnavailable && failure.RetryAfter > 0:
		failure.Class = tokencache.Throttled
	case code < 400:
		failure.Class = tokencache.Garbage
	}
	return failure
}

// judge reads the token from the body of a 2xx answer. Any 2xx will do: several frameworks answer a POST with 201. What doesn't
// have the documented form is Garbage.
func (i *issuer) judge(answer []byte) (tokencache.Issued, error) {
	object, err := StrictObject(answer)
	if err != nil {
		return tokencache.Issued{}, failed(tokencache.Garbage, "v1/auth: answer: %w", err)
	}
	if object["status"] != true {
		return tokencache.Issued{}, failed(tokencache.Garbage, "v1/auth: status is not true")
	}
	fields, _ := object["data"].(map[string]any)
	token, _ := fields["accessToken"].(string)
	switch {
	case token == "":
		return tokencache.Issued{}, failed(tokencache.Garbage, "v1/auth: no accessToken")
	case len(token) > maxAccessToken:
		return tokencache.Issued{}, failed(tokencache.Garbage, "v1/auth: accessToken over %d bytes", maxAccessToken)
	case strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return tokencache.Issued{}, failed(tokencache.Garbage, "v1/auth: accessToken is not printable ASCII")
	}
	life, err := lifeOf(token, time.Duration(i.license.TokenMinutes)*time.Minute, time.Now())
	if err != nil {
		return tokencache.Issued{}, failed(tokencache.Garbage, "v1/auth: %w", err)
	}
	return tokencache.Issued{Value: secret.New(token), Life: life}, nil
}

// lifeOf returns an access token's lifetime by its claims (RFC 7519 §4.1), which aren't verified. It is exp − iat, so that neither
// clock matters; without iat it is exp − now; without a readable exp it is asked. A token that has expired is an error.
func lifeOf(token string, asked time.Duration, now time.Time) (time.Duration, error) {
	claims := map[string]any{}
	if parts := strings.Split(token, "."); len(parts) == 3 {
		if read, err := decodeObject(parts[1]); err == nil {
			claims = read
		}
	}
	expiry, readable := seconds(claims["exp"])
	if !readable {
		return asked, nil
	}
	issued, hasIssued := seconds(claims["iat"])
	if !hasIssued {
		issued = float64(now.UnixMilli()) / 1000
	}
	life := expiry - issued
	if life <= 0 {
		return 0, errors.New("the issued token has expired already")
	}
	return time.Duration(min(life, maxTokenLife.Seconds()) * float64(time.Second)), nil
}

// seconds reads a NumericDate. It returns false if claim isn't a finite number.
func seconds(claim any) (float64, bool) {
	number, ok := claim.(json.Number)
	if !ok {
		return 0, false
	}
	value, err := number.Float64()
	return value, err == nil && !math.IsInf(value, 0)
}

// retryAfter reads a Retry-After header (RFC 9110 §10.2.3): seconds or a date. It is between 0 and maxRetryAfter; 0 if the header has
// neither form.
func retryAfter(header string) time.Duration {
	if n, err := strconv.Atoi(header); err == nil || errors.Is(err, strconv.ErrRange) { // out of range, n is the largest
		return time.Duration(min(max(0, n), int(maxRetryAfter/time.Second))) * time.Second
	}
	if at, err := http.ParseTime(header); err == nil {
		return min(max(0, time.Until(at)), maxRetryAfter)
	}
	return 0
}

// failed returns a *tokencache.FetchError.
func failed(class tokencache.Class, format string, args ...any) error {
	return &tokencache.FetchError{Class: class, Err: fmt.Errorf(format, args...)}
}

// TryLicense fetches an access token for a member, without any cache, and returns its lifetime. It waits as long as ctx and
// interwater allow. The error is that of the fetch, or of keys that can't be used.
func TryLicense(ctx context.Context, interwater sender, l License) (time.Duration, error) {
	grant, err := newGrant(l, RoleMember, interwater)
	if err != nil {
		return 0, err
	}
	issued, err := grant.issuer.fetch(ctx)
	return issued.Life, err
}
