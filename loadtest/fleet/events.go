package main

// The events of the chaos run: what breaks, and how it is repaired.

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"roomgate/internal/sandbox"
)

// event is one kind of fault.
type event struct {
	name string
	// upstream is true if an upstream can't answer meanwhile, so that no gateway could help.
	upstream bool
	// do breaks something, waits, and repairs it. replica is the index of the replica to break; other events ignore it.
	do func(ctx context.Context, f *fleet, replica int) error
}

// events returns all events, in the order of the table.
func events() []event {
	return []event{
		{"a replica is killed", false, killed},
		{"a replica is frozen", false, frozen},
		{"Redis is killed", false, redisKilled},
		{"Redis is frozen", false, redisFrozen},
		{"Redis is flushed", false, func(ctx context.Context, f *fleet, _ int) error { return f.flush(ctx) }},
		{"the token endpoint fails", true, faulty(sandbox.Fault{Path: "/v1/auth", Status: http.StatusInternalServerError})},
		{"the token endpoint is slow", false, faulty(sandbox.Fault{
			Path: "/v1/auth", Delay: 2 * time.Second, Token: &sandbox.TokenFault{TTL: tokenLife},
		})},
		{"the upstream resets connections", true, faulty(
			sandbox.Fault{Path: "/v1/sessions*", Kind: sandbox.KindReset}, sandbox.Fault{Path: "/v1/info", Kind: sandbox.KindReset},
		)},
		{"a deploy", false, deploy},
	}
}

// shortLife lets access tokens live for seconds. It applies during the whole run.
func shortLife() sandbox.Fault {
	return sandbox.Fault{Path: "/v1/auth", Token: &sandbox.TokenFault{TTL: tokenLife}}
}

// faulty returns an event during which the Interwater stand-in has these faults.
func faulty(faults ...sandbox.Fault) func(context.Context, *fleet, int) error {
	return func(ctx context.Context, f *fleet, _ int) error {
		if err := f.control.setFaults(ctx, append(faults, shortLife())...); err != nil {
			return err
		}
		err := pause(ctx, broken)
		return errors.Join(err, f.control.setFaults(ctx, shortLife()))
	}
}

func killed(ctx context.Context, f *fleet, replica int) error {
	f.gateways[replica].kill()
	if err := pause(ctx, broken); err != nil {
		return err
	}
	return f.revive(ctx, replica)
}

func frozen(ctx context.Context, f *fleet, replica int) error {
	f.gateways[replica].signal(syscall.SIGSTOP)
	err := pause(ctx, broken)
	f.gateways[replica].signal(syscall.SIGCONT)
	return err
}

func redisKilled(ctx context.Context, f *fleet, _ int) error {
	if err := f.redis.Kill(); err != nil {
		return err
	}
	if err := pause(ctx, broken); err != nil {
		return err
	}
	return f.redis.Restart()
}

func redisFrozen(ctx context.Context, f *fleet, _ int) error {
	if err := f.redis.Freeze(); err != nil {
		return err
	}
	err := pause(ctx, broken)
	return errors.Join(err, f.redis.Thaw())
}

func deploy(ctx context.Context, f *fleet, _ int) error {
	for i := range f.gateways {
		if err := f.restart(ctx, i); err != nil {
			return err
		}
	}
	return nil
}

// flush empties Redis.
func (f *fleet) flush(ctx context.Context) error {
	dialer := net.Dialer{Timeout: time.Second}
	conn, err := dialer.DialContext(ctx, "tcp", f.redis.Addr)
	if err != nil {
		return fmt.Errorf("flush Redis: %w", err)
	}
	defer func() { _ = conn.Close() }()
	reply := make([]byte, 64)
	_ = conn.SetDeadline(time.Now().Add(time.Second)) // a TCP connection has deadlines
	if _, err := conn.Write([]byte("FLUSHALL\r\n")); err != nil {
		return fmt.Errorf("flush Redis: %w", err)
	}
	n, err := conn.Read(reply)
	if err != nil {
		return fmt.Errorf("flush Redis: %w", err)
	}
	if !strings.HasPrefix(string(reply[:n]), "+OK") {
		return fmt.Errorf("flush Redis: %q", reply[:n])
	}
	return nil
}
