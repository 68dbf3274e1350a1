package bridge

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"roomgate/internal/upstream"
)

// maxGloryAnswer is the most that is read of an answer, in bytes. Glory's answers are far shorter; a longer one is cut, and then
// isn't JSON any more.
const maxGloryAnswer = 64 << 10

// askGlory sends GET /api/v1/what to Glory with the member's token (glory.md, sections 3 and 4). A 200 returns the body. denied
// is true for 403 and 401. By Glory's document, 403 means that the token isn't valid. Any other answer is an error. It
// wraps an error of package upstream, or is ctx's. The body is always read, so that the connection can be reused.
func askGlory(ctx context.Context, glory sender, what, token string) (answer []byte, denied bool, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, glory.Base().JoinPath("/api/v1", what).String(), nil)
	if err != nil {
		return nil, false, fmt.Errorf("%s: %w", what, err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Content-Type", "application/json") // Glory's document asks for it on every call
	request.Header.Set("Accept", "application/json")
	response, err := glory.RoundTrip(request)
	if err != nil {
		return nil, false, callFailed(ctx, what, err)
	}
	defer func() { _ = response.Body.Close() }()
	answer, err = io.ReadAll(io.LimitReader(response.Body, maxGloryAnswer))
	switch response.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		return nil, true, nil
	case http.StatusOK:
	default:
		return nil, false, fmt.Errorf("%s: %w: status %d", what, upstream.ErrFailed, response.StatusCode)
	}
	if err != nil {
		return nil, false, callFailed(ctx, what, err)
	}
	return answer, false, nil
}
