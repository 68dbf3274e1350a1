package main

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

// process is a child process.
type process struct {
	name  string
	cmd   *exec.Cmd
	out   tail
	ended chan struct{} // closed when the process has ended
}

// spawn starts a program whose environment is only environ and PATH.
func spawn(name, path string, args, environ []string) (*process, error) {
	p := &process{name: name, ended: make(chan struct{})}
	p.cmd = exec.CommandContext(context.Background(), path, args...) // only kill and terminate end it
	p.cmd.Env = append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, environ...)
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	// In its own group: Ctrl-C reaches only the fleet, which decides what ends when.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		_ = p.cmd.Wait() // terminate reads how it ended
		close(p.ended)
	}()
	return p, nil
}

// await waits up to 20 s until ready returns true. If the process ends before, the error has its last output.
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

// signal sends s to the process, unless it has ended.
func (p *process) signal(s syscall.Signal) {
	select {
	case <-p.ended:
	default:
		_ = p.cmd.Process.Signal(s) // it may end at this very moment
	}
}

// kill ends the process at once, even a frozen one, and waits for it. p may be nil.
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

// tail keeps the last part of what is written to it. Safe for concurrent use.
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
