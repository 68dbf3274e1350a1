package main

// Real balancers before replicas. They keep connections open, and send different members' requests over them.

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

const balancerHAProxy = `
global
	maxconn 1000
defaults
	mode http
	timeout connect 5s
	timeout client 75s
	timeout server 60s
	option forwardfor
	option abortonclose
frontend members
	bind 127.0.0.1:%s
	default_backend gateways
backend gateways
	http-reuse always
	http-request set-header X-Forwarded-Proto https
%s`

const balancerNginx = `
daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr error;
%[1]s
events {}
http {
	access_log off;
	client_body_temp_path body;
	proxy_temp_path proxy;
	fastcgi_temp_path fastcgi;
	uwsgi_temp_path uwsgi;
	scgi_temp_path scgi;
	upstream gateways {
%[3]s		keepalive 16;
	}
	server {
		listen 127.0.0.1:%[2]s;
		location / {
			proxy_pass http://gateways;
			proxy_http_version 1.1;
			proxy_set_header Connection "";
			proxy_set_header Host $host;
			proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
		}
	}
}
`

// startBalancer starts a balancer before the gateways and returns its address.
func (f *gateways) startBalancer(t *testing.T, name string) string {
	t.Helper()
	dir, port, log := t.TempDir(), freePort(t), newLogs(t)
	var servers strings.Builder
	config := filepath.Join(dir, name+".conf")
	command := exec.Command("haproxy", "-db", "-f", config)
	for i, url := range f.urls("") {
		addr := strings.TrimPrefix(url, "http://")
		if name == "nginx" {
			fmt.Fprintf(&servers, "\t\tserver %s;\n", addr)
		} else {
			fmt.Fprintf(&servers, "\tserver g%d %s\n", i, addr)
		}
	}
	text := fmt.Sprintf(balancerHAProxy, port, servers.String())
	if name == "nginx" {
		user := ""
		if os.Geteuid() == 0 {
			user = "user root;"
		}
		command = exec.Command("nginx", "-e", "stderr", "-p", dir, "-c", config)
		text = fmt.Sprintf(balancerNginx, user, port, servers.String())
	}
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	command.Stdout, command.Stderr = log, log
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		command.Process.Signal(syscall.SIGTERM)
		if err := command.Wait(); t.Failed() {
			t.Logf("%s: %v\n%s", name, err, log)
		}
	})
	addr := "127.0.0.1:" + port
	eventually(t, name+" answers", func() bool {
		a, err := call(t.Context(), newClient(t), http.MethodGet, "http://"+addr+"/openapi.json", "", "")
		return err == nil && a.status != http.StatusServiceUnavailable
	})
	return addr
}
