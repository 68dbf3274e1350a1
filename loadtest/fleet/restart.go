package main

// Rolling restarts, as in a deploy, and killed replicas, under load.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"time"

	"roomgate/internal/sandbox"
)

// settled is the quiet time before and after a measurement.
const settled = 3 * time.Second

// rollingRestarts restarts all replicas in rounds, spread evenly over the load. No request may fail.
func rollingRestarts(ctx context.Context, f *fleet, o options, progress io.Writer) (string, error) {
	l, err := f.startLoad(ctx, o.rate)
	if err != nil {
		return "", err
	}
	defer l.stop()
	began := time.Now()
	whole := time.Duration(o.requests) * time.Second / time.Duration(o.rate)
	for n := range o.restart * replicas {
		due := began.Add(settled + whole*time.Duration(n)/time.Duration(o.restart*replicas))
		if err := pause(ctx, time.Until(due)); err != nil {
			return "", err
		}
		if err := f.restart(ctx, n%replicas); err != nil {
			return "", err
		}
		_, _ = fmt.Fprintf(progress, "%s round %d: gateway %d has been restarted\n", clock(), n/replicas+1, n%replicas+1)
	}
	if err := pause(ctx, max(settled, time.Until(began.Add(whole+settled)))); err != nil {
		return "", err
	}
	l.stop()
	again, err := f.repeated(ctx)
	if err != nil {
		return "", err
	}
	t := tallyOf(l.samples())
	table := fmt.Sprintf(`%s. %d requests/s for %.0f s, %d rounds.

| requests | of these HTTP/2 | failed | repeated by HAProxy | repeated by the clients | p50 | p99 | max |
| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
| %d | %d | %d | %d | %d | %d ms | %d ms | %d ms |
`, stamp(), o.rate, time.Since(began).Seconds(), o.restart, t.requests, t.h2, t.failed, again, t.repeated,
		t.quantile(.5), t.quantile(.99), t.quantile(1))
	if t.failed > 0 {
		return table, fmt.Errorf("%d requests have failed: %s", t.failed, t.why())
	}
	return table, nil
}

// restart restarts replica i as a deploy does, and returns when the balancer uses it again.
func (f *fleet) restart(ctx context.Context, i int) error {
	if err := f.gateways[i].terminate(ctx); err != nil {
		return err
	}
	return f.revive(ctx, i)
}

// revive starts replica i after it has ended, and returns when the balancer uses it.
func (f *fleet) revive(ctx context.Context, i int) error {
	if err := f.startGateway(ctx, i); err != nil {
		return err
	}
	// If the balancer hasn't noticed that the replica was gone, it is up already.
	_, err := f.awaitServer(ctx, i, server.up)
	return err
}

// killings kills replicas while answers are so slow that some requests are always in flight. Only those on the killed replica
// may fail, and the balancer has to notice soon.
func killings(ctx context.Context, f *fleet, o options, progress io.Writer) (string, error) {
	err := f.control.setFaults(ctx, sandbox.Fault{Path: "/v1/sessions*", Delay: 200 * time.Millisecond})
	if err != nil {
		return "", err
	}
	l, err := f.startLoad(ctx, o.rate)
	if err != nil {
		return "", err
	}
	defer l.stop()
	var rows strings.Builder
	var missed []error
	for n := range o.kill {
		if err := pause(ctx, 2*settled); err != nil {
			return "", err
		}
		row, err := f.killOne(ctx, l, n)
		if row == "" {
			return "", err
		}
		missed = append(missed, err)
		rows.WriteString(row)
		_, _ = fmt.Fprintf(progress, "%s gateway %d has been killed and is back\n", clock(), n%replicas+1)
	}
	return fmt.Sprintf(`%s. %d requests/s; answers about rooms take 200 ms.

| killed | under way on it | failed | of these logins | repeated by HAProxy | out after |
| --- | ---: | ---: | ---: | ---: | ---: |
%s`, stamp(), o.rate, rows.String()), errors.Join(missed...)
}

// killOne kills a replica and starts it again. If row isn't "", err says which promises weren't kept.
func (f *fleet) killOne(ctx context.Context, l *load, n int) (row string, err error) {
	i := n % replicas
	before, err := f.servers(ctx)
	if err != nil {
		return "", err
	}
	again, err := f.repeated(ctx)
	if err != nil {
		return "", err
	}
	from := len(l.samples())
	killed := time.Now()
	f.gateways[i].signal(syscall.SIGKILL)
	out, err := f.awaitServer(ctx, i, func(s server) bool { return strings.HasPrefix(s.status, "DOWN") })
	if err != nil {
		return "", err
	}
	if err := pause(ctx, settled); err != nil {
		return "", err
	}
	repeated, err := f.repeated(ctx)
	if err != nil {
		return "", err
	}
	t := tallyOf(l.samples()[from:])
	row = fmt.Sprintf("| gateway %d | %d | %d | %d | %d | %.1f s |\n",
		i+1, before[i].inFlight, t.failed, t.logins, repeated-again, out.Sub(killed).Seconds())
	if t.failed > before[i].inFlight {
		err = fmt.Errorf("%d requests have failed, %d were under way: %s", t.failed, before[i].inFlight, t.why())
	}
	if out.Sub(killed) > 3*time.Second {
		err = errors.Join(err, fmt.Errorf("the balancer had the replica out only after %v", out.Sub(killed)))
	}
	return row, errors.Join(err, f.revive(ctx, i))
}

// pause waits for d, or until ctx ends, and then returns its error.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

func clock() string { return time.Now().Format(time.TimeOnly) }
