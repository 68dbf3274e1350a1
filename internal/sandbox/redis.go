package sandbox

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// ErrNoRedis means that this machine has no redis-server.
var ErrNoRedis = errors.New("redis-server is not installed")

// RedisServer is a running redis-server process that stores nothing on disk, for tests and for fleets on one machine.
type RedisServer struct {
	// Addr is its host:port. Restart keeps it.
	Addr string

	dir  string
	args []string
	cmd  *exec.Cmd
}

// StartRedis runs redis-server on a free loopback port, with args added to its command line, and returns when it answers. The
// error wraps ErrNoRedis if redis-server isn't installed. The caller must call Close.
func StartRedis(args ...string) (*RedisServer, error) {
	if _, err := exec.LookPath("redis-server"); err != nil {
		return nil, ErrNoRedis
	}
	port, err := FreePort("127.0.0.1")
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "roomgate-redis-")
	if err != nil {
		return nil, fmt.Errorf("redis folder: %w", err)
	}
	r := &RedisServer{Addr: net.JoinHostPort("127.0.0.1", port), dir: dir, args: append([]string{
		"--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", dir,
	}, args...)}
	if err := r.Restart(); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// lastPort counts up through the ports, so that no two tests of this process get the same one. It begins at random, so that other
// processes begin elsewhere.
var lastPort = func() *atomic.Uint32 {
	n := new(atomic.Uint32)
	n.Store(rand.Uint32N(12000))
	return n
}()

// FreePort returns a port that nobody listens on at host; 0.0.0.0 means all addresses. It is below the ports that the kernel
// assigns itself. So it stays free until it is used, and while a server that used it is restarted.
func FreePort(host string) (string, error) {
	var config net.ListenConfig
	var err error
	for range 100 {
		port := strconv.Itoa(20000 + int(lastPort.Add(1)%12000))
		var free net.Listener
		if free, err = config.Listen(context.Background(), "tcp", net.JoinHostPort(host, port)); err == nil {
			return port, free.Close()
		}
	}
	return "", fmt.Errorf("find a free port: %w", err)
}

// Restart starts the process again after Kill, empty and on the same address.
func (r *RedisServer) Restart() error {
	cmd := exec.CommandContext(context.Background(), "redis-server", r.args...) // only Kill ends it
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start redis-server: %w", err)
	}
	r.cmd = cmd
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !r.answers(ctx) {
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("redis-server on %s doesn't answer", r.Addr), r.Kill())
		case <-tick.C:
		}
	}
	return nil
}

// answers sends a PING. Any reply but LOADING counts: with a password set, it is an error.
func (r *RedisServer) answers(ctx context.Context) bool {
	dialer := net.Dialer{Timeout: time.Second}
	conn, err := dialer.DialContext(ctx, "tcp", r.Addr)
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close() }()
	if conn.SetDeadline(time.Now().Add(time.Second)) != nil {
		return false
	}
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		return false
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	return err == nil && !strings.Contains(line, "LOADING")
}

// Kill ends the process at once, like a crash, and waits for it. It does nothing if the process has ended.
func (r *RedisServer) Kill() error {
	if r.cmd == nil {
		return nil
	}
	err := r.cmd.Process.Kill()
	_ = r.cmd.Wait() // the error is "signal: killed", as intended
	r.cmd = nil
	return err
}

// Freeze suspends the process: connections stay open, but nothing answers.
func (r *RedisServer) Freeze() error { return r.cmd.Process.Signal(syscall.SIGSTOP) }

// Thaw resumes a frozen process.
func (r *RedisServer) Thaw() error { return r.cmd.Process.Signal(syscall.SIGCONT) }

// Close kills the process, frozen or not, and removes its folder.
func (r *RedisServer) Close() error { return errors.Join(r.Kill(), os.RemoveAll(r.dir)) }
