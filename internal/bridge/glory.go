package bridge

// This file is how Glory's member routes are called for a member.

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"roomgate/internal/upstream"
)

// maxGloryAnswer is more than any answer of these routes.
const maxGloryAnswer = 64 << 10

// askGlory GETs what, a member route of Glory's, with the member's token. denied is Glory's documented refusal of the token,
// or the undocumented 401; what is neither that nor 200 is an error. It wraps an error of package upstream, or is
// ctx's. The answer is read whole, so that the connection can be used again.
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
