// Fleet starts what a fleet of gateways needs on one machine, without containers: redis-server, the stand-ins of both
// upstreams, three gateways, and HAProxy before them. It serves until Ctrl-C, or plays one of its runs: rolling restarts,
// an upgrade, dying replicas, chaos. See loadtest/README.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer cancel()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintf(os.Stderr, "fleet: %v\n", err)
		os.Exit(1)
	}
}

// options are what the command line says.
type options struct {
	base     int
	h2       bool
	remote   bool
	restart  int
	upgrade  bool
	from     string
	kill     int
	chaos    time.Duration
	seed     uint64
	rate     int
	requests int
	write    string
}

// run starts a fleet, does what the flags say, and stops all it has started.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var o options
	flags := flag.NewFlagSet("fleet", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.IntVar(&o.base, "base", 8080, "first port: the balancer; the others are at most 23 above it")
	flags.BoolVar(&o.h2, "h2", false, "the balancer speaks HTTP/2 over TLS to the gateways, not HTTP/1.1 in clear")
	flags.BoolVar(&o.remote, "remote", false, "the gateways have no JWT secret: Glory's stand-in is asked about members")
	flags.IntVar(&o.restart, "restart", 0, "restart all replicas under load, in so many rounds, and stop")
	flags.BoolVar(&o.upgrade, "upgrade", false, "upgrade all replicas from the previous version under load, one after the other, go back, and stop")
	flags.StringVar(&o.from, "from", previous, "with -upgrade: the previous version, a tag or commit")
	flags.IntVar(&o.kill, "kill", 0, "kill so many replicas under load, one after the other, and stop")
	flags.DurationVar(&o.chaos, "chaos", 0, "break something every 20 s for so long, under load, and stop")
	flags.Uint64Var(&o.seed, "seed", 1, "with -chaos: draws the order of events")
	flags.IntVar(&o.rate, "rate", 0, "requests a second (default 500, with -chaos 200)")
	flags.IntVar(&o.requests, "requests", 100_000, "with -restart: send at least so many")
	flags.StringVar(&o.write, "write", "", "put the table into this file too, between its markers")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return nil
	case err != nil:
		return err
	case flags.NArg() > 0:
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	f, err := start(ctx, o)
	defer f.stop()
	if err != nil {
		return err
	}
	play, name := chosen(&o)
	if play == nil {
		f.introduce(stdout)
		<-ctx.Done()
		return nil
	}
	table, missed := play(ctx, f, o, stderr)
	if table == "" {
		return missed
	}
	_, _ = fmt.Fprintf(stdout, "\n%s\n", table)
	if o.write != "" {
		if err := replaceSection(o.write, name, table); err != nil {
			return err
		}
	}
	return missed
}

// scenario plays something on a fleet and returns its result as Markdown. With a table, the error says what was promised
// and not kept.
type scenario func(ctx context.Context, f *fleet, o options, progress io.Writer) (table string, err error)

// chosen is the run that the flags ask for, and the name of its section; nil is none.
func chosen(o *options) (scenario, string) {
	rate := func(usual int) {
		if o.rate <= 0 {
			o.rate = usual
		}
	}
	switch {
	case o.restart > 0:
		rate(500)
		if o.h2 {
			return rollingRestarts, "restart-h2"
		}
		return rollingRestarts, "restart"
	case o.upgrade:
		rate(200)
		return upgrade, "upgrade"
	case o.kill > 0:
		rate(500)
		return killings, "kill"
	case o.chaos > 0:
		rate(200)
		return chaos, "chaos"
	}
	return nil, ""
}
