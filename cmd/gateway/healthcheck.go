package main

// healthcheck asks the gateway on this machine whether it is ready. Containers need the command because their image has no shell.

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"roomgate/internal/config"
	"roomgate/internal/upstream"
)

func runHealthcheck(ctx context.Context, args, environ []string, stdout, stderr io.Writer) error {
	if done, err := parseFlags(newFlags("healthcheck", stderr), args); done || err != nil {
		return err
	}
	addr, err := config.AdminAddr(environ)
	if err != nil {
		return err
	}
	if addr == "" {
		return usageError("ADMIN_ADDR is empty: there is no operations listener to ask")
	}
	url, err := readyURL(addr)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("healthcheck: %w", err)
	}
	gateway, err := upstream.New(upstream.Options{Name: "gateway", Base: request.URL, Timeout: 3 * time.Second, Slots: 1})
	if err != nil {
		return fmt.Errorf("healthcheck: %w", err)
	}
	defer gateway.Close()
	answer, err := gateway.RoundTrip(request)
	if err != nil {
		return fmt.Errorf("healthcheck: %w", err)
	}
	defer func() { _ = answer.Body.Close() }()
	_, _ = io.Copy(stdout, io.LimitReader(answer.Body, 64<<10))
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("healthcheck: not ready: status %d", answer.StatusCode)
	}
	return nil
}

// readyURL returns the URL of /readyz, for a client on the machine of the listener on addr.
func readyURL(addr string) (string, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", usageError("ADMIN_ADDR: " + err.Error())
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, port) + "/readyz", nil
}
