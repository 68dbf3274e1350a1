package proxy

import (
	"context"

	"roomgate/internal/bridge"
	"roomgate/internal/fleet"
)

// authorizer decides about members. *bridge.Bridge is one.
type authorizer interface {
	Authenticate(ctx context.Context, authorization []string) (bridge.Member, error)
	Authorize(ctx context.Context, member bridge.Member, request bridge.Request) (bridge.Grant, error)
}

// admission admits members to rooms. It is safe for concurrent use.
type admission struct {
	authorizer authorizer
	limit      *fleet.LocalLimiter
}

// admit authenticates the member, applies the rate limit and authorizes the request. It fills the call's subject and grant.
// authorization is the request's Authorization headers. The error comes from package bridge or is a *fleet.LimitError.
func (a *admission) admit(ctx context.Context, c *call, authorization []string) error {
	member, err := a.authorizer.Authenticate(ctx, authorization)
	if err != nil {
		return err
	}
	c.subject = member.Subject
	if err := a.limit.TakeShare(member.Subject, member.Share()); err != nil {
		return err
	}
	c.grant, err = a.authorizer.Authorize(ctx, member, bridge.Request{Method: c.method, Path: c.target.path, Room: c.room})
	return err
}
