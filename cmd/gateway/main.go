// Gateway is an auth-bridging reverse proxy. Client apps log in at Glory and enter rooms at Interwater through it. They never
// see the license's keys or access token. See README.md.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"syscall"

	"roomgate/internal/config"
)

// version and commit are set by the linker.
var version, commit string

func main() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	// By default both signals end the process. A running gateway handles SIGHUP itself, and goes on when nobody reads its log.
	signal.Ignore(syscall.SIGHUP, syscall.SIGPIPE)
	go func() {
		<-signals
		cancel() // drain
		<-signals
		os.Exit(1) // without waiting for the drain
	}()
	log.SetOutput(io.Discard) // net/http would quote there what it can't parse of an upstream's answer
	tuneMemory(os.Environ())
	err := run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr)
	if err != nil && !errors.Is(err, errReported) {
		fmt.Fprintf(os.Stderr, "gateway: %v\n", err)
	}
	os.Exit(exitStatus(err))
}

// run is the whole program. When ctx ends, it drains and returns. The caller owns signals and the exit status.
func run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) error {
	name := "serve"
	if len(args) > 0 {
		name, args = args[0], args[1:]
	}
	help := false
	switch name {
	case "-v", "-version", "--version":
		name = "version"
	case "help", "-h", "-help", "--help":
		if len(args) == 0 {
			usage(stdout)
			return nil
		}
		help, name, args = true, args[0], []string{"-h"}
	}
	for _, c := range commands() {
		if c.name == name {
			if help {
				_, _ = fmt.Fprintf(stdout, "gateway %s: %s\n", c.name, c.does)
				stderr = stdout // the usage was asked for: it is no complaint
			}
			return c.run(ctx, args, environ, stdout, stderr)
		}
	}
	usage(stderr)
	return usageError(fmt.Sprintf("unknown command %q", name))
}

// command is a subcommand.
type command struct {
	name, does string
	run        func(ctx context.Context, args, environ []string, stdout, stderr io.Writer) error
}

func commands() []command {
	return []command{
		{"serve", "serve with the settings in the environment (the default)", runServe},
		{"sandbox", "run the gateway and all it needs in one process, to try it or to develop against it", runSandbox},
		{"check", "try the settings on Redis, Glory and Interwater, and print a table", checkFromStdin},
		{"healthcheck", "ask this machine's gateway whether it is ready", runHealthcheck},
		{"deny", "turn a member away on every replica", runDeny},
		{"allow", "take a member off the deny list", runAllow},
		{"denied", "print the deny list", runDenied},
		{"explain", "tell how the gateway would judge a request", explainFromStdin},
		{"version", "print version, commit and Go version", runVersion},
	}
}

func usage(w io.Writer) {
	_, _ = fmt.Fprintln(w, "usage: gateway [command] [flags]")
	for _, c := range commands() {
		_, _ = fmt.Fprintf(w, "  %-12s %s\n", c.name, c.does)
	}
	_, _ = fmt.Fprintln(w, "gateway help COMMAND shows its arguments and flags. Settings are environment variables: docs/settings.md lists them.")
}

// usageError is a mistake on the command line.
type usageError string

// Error implements error.
func (e usageError) Error() string { return string(e) }

// errReported is the error of a command that has already printed what is wrong.
var errReported = errors.New("failed")

// exitStatus returns 2 for mistakes in the settings or on the command line, and 1 for other errors.
func exitStatus(err error) int {
	if err == nil {
		return 0
	}
	if _, ok := errors.AsType[*config.Problems](err); ok {
		return 2
	}
	if _, ok := errors.AsType[usageError](err); ok {
		return 2
	}
	return 1
}
