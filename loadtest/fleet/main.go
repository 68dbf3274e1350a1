// Fleet starts a fleet of gateways on one machine, without containers: redis-server, the stand-ins of both
// upstreams, three gateways, and HAProxy in front of them. It serves until Ctrl-C, or plays one of its runs: rolling restarts,
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

// options are the flags.
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

// run starts a fleet, does what the flags say, and stops everything that it has started.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var o options
	flags := flag.NewFlagSet("fleet", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.IntVar(&o.base, "base", 8080, "first port, the balancer's; the others are at most 23 higher")
	flags.BoolVar(&o.h2, "h2", false, "the balancer speaks HTTP/2 over TLS to the gateways, instead of HTTP/1.1 in clear text")
	flags.BoolVar(&o.remote, "remote", false, "the gateways have no JWT secret and ask Glory's stand-in about members")
	flags.IntVar(&o.restart, "restart", 0, "restart all replicas under load, in this many rounds, then stop")
	flags.BoolVar(&o.upgrade, "upgrade", false, "upgrade all replicas from the previous version under load, one after the other, roll back, then stop")
	flags.StringVar(&o.from, "from", previous, "with -upgrade: the previous version, a tag or commit")
	flags.IntVar(&o.kill, "kill", 0, "kill this many replicas under load, one after the other, then stop")
	flags.DurationVar(&o.chaos, "chaos", 0, "break something every 20 s under load, for this long, then stop")
	flags.Uint64Var(&o.seed, "seed", 1, "with -chaos: seed for the order of events")
	flags.IntVar(&o.rate, "rate", 0, "requests a second (default 500, with -chaos 200)")
	flags.IntVar(&o.requests, "requests", 100_000, "with -restart: send at least this many requests")
	flags.StringVar(&o.write, "write", "", "also write the table into this file, between its markers")
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

// scenario plays a run on a fleet and returns its result as Markdown. If table isn't "", err says which promises weren't
// kept; otherwise the run itself failed.
type scenario func(ctx context.Context, f *fleet, o options, progress io.Writer) (table string, err error)

// chosen returns the run that the flags ask for and the name of its section, or nil, and sets the run's default rate.
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
