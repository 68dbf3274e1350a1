package main

// This file runs a program as a child: started, waited for, signalled and ended by its own pid.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// process is a running child.
type process struct {
	name  string
	cmd   *exec.Cmd
	out   tail
	ended chan struct{} // closed when it has
}

// spawn starts a program with that environment alone.
func spawn(name, path string, args, environ []string) (*process, error) {
	p := &process{name: name, ended: make(chan struct{})}
	p.cmd = exec.CommandContext(context.Background(), path, args...) // ends with kill alone
	p.cmd.Env = append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, environ...)
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	// In a group of its own: a Ctrl-C is for the fleet, which decides what ends when.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		_ = p.cmd.Wait() // how it ended doesn't matter: that it did may
		close(p.ended)
	}()
	return p, nil
}

// await waits until ready says true. A process that ends before is an error with its last words.
func (p *process) await(ctx context.Context, ready func(context.Context) bool) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ready(ctx) {
		select {
		case <-p.ended:
			return fmt.Errorf("%s has ended: %s", p.name, p.out.text())
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w: %s", p.name, ctx.Err(), p.out.text())
		case <-tick.C:
		}
	}
	return nil
}

// signal sends s to the process; one that has ended is left alone.
func (p *process) signal(s syscall.Signal) {
	select {
	case <-p.ended:
	default:
		_ = p.cmd.Process.Signal(s) // it may end at this very moment
	}
}

// kill ends the process at once, frozen or not, and waits for it. It may be nil.
func (p *process) kill() {
	if p == nil {
		return
	}
	p.signal(syscall.SIGKILL)
	<-p.ended
}

// terminate asks the process to end, and waits until it has.
func (p *process) terminate(ctx context.Context) error {
	p.signal(syscall.SIGTERM)
	select {
	case <-p.ended:
		if code := p.cmd.ProcessState.ExitCode(); code != 0 {
			return fmt.Errorf("%s has ended with %d: %s", p.name, code, p.out.text())
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(40 * time.Second):
		return errors.New(p.name + " does not end")
	}
}

// tail keeps the last of what is written to it.
type tail struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

const tailMost = 64 << 10

// Write implements io.Writer.
func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.buf.Len() > tailMost {
		_, _ = io.CopyN(io.Discard, &t.buf, tailMost/2)
	}
	return t.buf.Write(b)
}

func (t *tail) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.buf.String()
}
