// Command scale says what a fleet of gateways asks of Interwater's /v1/auth and of Redis, by simulation. docs/scale.md shows
// what it finds.
package main

import (
	"flag"
	"fmt"
	"time"
)

func main() {
	f := typical()
	flag.IntVar(&f.replicas, "replicas", f.replicas, "gateways")
	flag.IntVar(&f.licenses, "licenses", f.licenses, "licenses, each role in use counting as one")
	flag.Float64Var(&f.share, "share", f.share, "share of the licenses that one replica is asked for")
	flag.DurationVar(&f.life, "life", f.life, "of a token")
	flag.DurationVar(&f.fetch, "fetch", f.fetch, "how long one call of /v1/auth takes")
	flag.DurationVar(&f.redis, "redis", f.redis, "how long one call of Redis takes")
	flag.DurationVar(&f.warm, "warm", f.warm, "time in which a replica that starts is asked for each of its licenses")
	flag.IntVar(&f.pairs, "pairs", f.pairs, "pairs of replica and license that are simulated at most; the rest is scaled from them")
	flag.Uint64Var(&f.seed, "seed", f.seed, "another one draws other moments")
	flag.Parse()
	f.replicas, f.licenses, f.pairs = max(1, f.replicas), max(1, f.licenses), max(1, f.pairs)
	f.share, f.life = min(1, max(f.share, 1e-6)), max(f.life, time.Second)
	fmt.Print(report(f))
}

// typical is the fleet of the tables, but for their sizes.
func typical() fleet {
	return fleet{
		replicas: 8, licenses: 1, share: 1, life: time.Hour,
		fetch: 200 * time.Millisecond, redis: time.Millisecond, warm: time.Second, pairs: 1_000_000, seed: 1,
	}
}

// report is every situation in full.
func report(f fleet) string {
	text := fmt.Sprintf("%-24s", "a second")
	for k := range kinds {
		text += fmt.Sprintf("%10s", k)
	}
	text += fmt.Sprintf("%12s%12s%14s\n", "Redis most", "Redis busy", "longest line")
	for _, s := range []struct {
		name string
		play func() *bins
	}{{"steady", f.steady}, {"cold start", f.cold}, {"first refresh after it", f.refresh}, {"rolling deploy", f.deploy}} {
		b := s.play()
		text += fmt.Sprintf("%-24s", s.name+", mean")
		for k := range kinds {
			text += fmt.Sprintf("%10.4g", b.mean(k))
		}
		line := "-" // within whole seconds there is none to be seen
		if b.width < time.Second {
			line = b.wait(f.replicas).Round(time.Millisecond).String()
		}
		text += fmt.Sprintf("%12.4g%11.1f%%%14s\n%-24s", b.most(inRedis()...), 100*b.busy(f.replicas), line, "  most in a second")
		for k := range kinds {
			text += fmt.Sprintf("%10.4g", b.most(k))
		}
		text += "\n"
	}
	return text
}
