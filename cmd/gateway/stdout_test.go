package main

// Requests are served as usual when nobody reads standard output.

import (
	"bufio"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// startPiped runs the program as a process with a pipe as its standard output. It reads the pipe until the gateway serves, and no
// further. out is the reading end, which the caller may close.
func startPiped(t *testing.T, environ []string) (r *replica, out *os.File) {
	t.Helper()
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { out.Close() })
	command := exec.CommandContext(t.Context(), os.Args[0], "serve")
	command.Env, command.Stdout = append(environ, asProgram), in
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	in.Close()
	r = &replica{stop: func() { command.Process.Signal(syscall.SIGTERM) }, ended: sync.OnceValue(command.Wait)}
	t.Cleanup(func() { command.Process.Kill(); r.ended() })
	for scan := bufio.NewScanner(out); r.url == "" && scan.Scan(); {
		var line struct{ Msg, Listen, Admin string }
		if json.Unmarshal(scan.Bytes(), &line) == nil && line.Msg == "serving" {
			r.url, r.admin = "http://"+line.Listen, "http://"+line.Admin
		}
	}
	if r.url == "" {
		t.Fatal("the gateway doesn't serve")
	}
	return r, out
}

// linesDropped returns how many log lines the gateway has dropped.
func (r *replica) linesDropped(t *testing.T, client *http.Client) int {
	t.Helper()
	return r.metric(t, client, "roomgate_log_dropped_total")
}

func TestUnreadStandardOutputNeitherDelaysRequestsNorEndsTheProcess(t *testing.T) {
	t.Parallel()
	for name, gone := range map[string]bool{"stuck": false, "gone": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stands, client := newStands(t), newClient(t)
			r, out := startPiped(t, settings(stands, newRedis(t).Addr))
			if got := r.linesDropped(t, client); got != 0 {
				t.Errorf("%d lines dropped while they were read", got)
			}
			if gone {
				out.Close()
			}
			path := r.url + "/" + strings.Repeat("nowhere", 70)
			var all sync.WaitGroup
			for range 8 { // 4 MB of events; a pipe holds 64 KiB, the gateway 1 MiB, and a write that is stuck as much again
				all.Go(func() {
					for range 625 {
						if a, err := call(t.Context(), client, http.MethodGet, path, "", ""); err != nil || a.status != http.StatusNotFound {
							t.Errorf("%v %+v", err, a)
							return
						}
					}
				})
			}
			all.Wait()
			get(t, client, r.url+"/v1/info", stands.Glory.MintToken("1", time.Hour)).want(t, http.StatusOK)
			eventually(t, "lines are dropped", func() bool { return r.linesDropped(t, client) > 0 })
			for _, path := range []string{"/status", "/readyz"} {
				if a := get(t, client, r.admin+path, "").want(t, http.StatusOK); !strings.Contains(a.body, `"log lines are dropped"`) {
					t.Errorf("%s: %s", path, a.body)
				}
			}
			r.stop()
			if err := r.ended(); err != nil {
				t.Errorf("the end: %v", err)
			}
		})
	}
}

func TestLogIsWrittenToItsEnd(t *testing.T) {
	t.Parallel()
	r, process := startProcess(t, settings(newStands(t), "127.0.0.1:1"))
	process.Signal(syscall.SIGTERM)
	if err := r.ended(); err != nil {
		t.Error(err)
	}
	if len(r.log.events("stopped")) != 1 {
		t.Errorf("%s", r.log)
	}
}
