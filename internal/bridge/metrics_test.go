package bridge

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"roomgate/internal/upstream"
)

func TestOutcomesAreThree(t *testing.T) {
	var got []string
	for _, err := range []error{nil, ErrMemberToken, fmt.Errorf("x: %w", ErrMemberToken), upstream.ErrFailed, upstream.ErrTimeout, context.Canceled} {
		got = append(got, outcome(err))
	}
	if want := []string{"admitted", "denied", "denied", "failed", "failed", "failed"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
