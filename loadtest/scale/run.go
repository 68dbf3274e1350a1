package main

// This file plays whole situations: the steady state, a start of all replicas at once, and a rolling deploy.

import (
	"math"
	"math/rand/v2"
	"time"
)

// bins counts calls by kind in intervals of one width.
type bins struct {
	from, width time.Duration
	counts      [][kinds]float64
}

func newBins(from, to, width time.Duration) *bins {
	return &bins{from, width, make([][kinds]float64, max(1, int((to-from)/width)))}
}

// add counts a call that stands for so many; one before or after the bins is dropped.
func (b *bins) add(k kind, at time.Duration, times float64) {
	if i := int((at - b.from) / b.width); at >= b.from && i < len(b.counts) {
		b.counts[i][k] += times
	}
}

// mean of a kind per second.
func (b *bins) mean(k kind) float64 {
	sum := 0.0
	for _, c := range b.counts {
		sum += c[k]
	}
	return sum / (float64(len(b.counts)) * b.width.Seconds())
}

// most is the greatest number within one second of calls of these kinds together.
func (b *bins) most(of ...kind) float64 {
	wide, most, sum := int(time.Second/b.width), 0.0, 0.0
	at := func(i int) (n float64) {
		for _, k := range of {
			n += b.counts[i][k]
		}
		return n
	}
	for i := range b.counts {
		sum += at(i)
		if i >= wide {
			sum -= at(i - wide)
		}
		most = max(most, sum)
	}
	return most
}

// busy is the mean share of one core that Redis needs.
func (b *bins) busy(replicas int) float64 {
	share := 0.0
	for k := look; k < kinds; k++ {
		share += b.mean(k) * k.cost(replicas)
	}
	return share
}

// wait is the longest that a call stands in line before Redis, which works on one at a time.
func (b *bins) wait(replicas int) time.Duration {
	longest, line := 0.0, 0.0
	for _, c := range b.counts {
		for k := look; k < kinds; k++ {
			line += c[k] * k.cost(replicas)
		}
		longest = max(longest, line)
		line = max(0, line-b.width.Seconds())
	}
	return time.Duration(longest * float64(time.Second))
}

// inRedis are the kinds that Redis sees.
func inRedis() []kind { return []kind{look, lock, store, release, deny, roster} }

// licensed plays the fleet's licenses into bins: some of them, each standing for several, where there are many.
func (f fleet) licensed(into *bins, restarts []time.Duration) {
	few := min(f.licenses, max(1, int(float64(f.pairs)/(float64(f.replicas)*f.share))))
	times := float64(f.licenses) / float64(few)
	end := into.from + into.width*time.Duration(len(into.counts))
	for i := range few {
		r := rand.New(rand.NewPCG(f.seed, uint64(i)))
		first := f.spread * time.Duration(i) / time.Duration(few)
		play(f, r, first, end, restarts, func(k kind, at time.Duration) { into.add(k, at, times) })
	}
}

// chatter plays what a number of replicas that start together say to Redis whoever asks, until end. Of many, some stand for
// several each.
func (f fleet) chatter(into *bins, replicas int, start, end time.Duration) {
	const most = 500
	if replicas == 0 {
		return
	}
	few := min(replicas, most)
	times := float64(replicas) / float64(few)
	for i := range few {
		r := rand.New(rand.NewPCG(f.seed, math.MaxUint64-uint64(i)))
		begin := start + randN(r, f.warm)
		for at := begin; at < end; at += f.redis + jitter(r, denyPoll) {
			into.add(deny, at, times)
		}
		for at := begin; at < end; at += f.redis + jitter(r, rosterEvery) {
			into.add(roster, at, times)
		}
	}
}

// murmur adds the chatter of a fleet that started long ago: a minute of it, over and over.
func (f fleet) murmur(into *bins) {
	talk := newBins(time.Minute, 2*time.Minute, into.width)
	f.chatter(talk, f.replicas, 0, 2*time.Minute)
	for i := range into.counts {
		for _, k := range []kind{deny, roster} {
			into.counts[i][k] = talk.counts[i%len(talk.counts)][k]
		}
	}
}

// steady is a fleet whose licenses were first asked for at moments spread over a life, watched for ten lives after that.
func (f fleet) steady() *bins {
	f.spread = f.life
	b := newBins(2*f.life, 12*f.life, time.Second)
	f.licensed(b, nil)
	f.murmur(b)
	return b
}

// cold is the first ten seconds of a fleet that starts at once with an empty Redis.
func (f fleet) cold() *bins {
	f.spread = 0
	b := newBins(0, 10*time.Second, 10*time.Millisecond)
	f.licensed(b, nil)
	f.chatter(b, f.replicas, 0, 10*time.Second)
	return b
}

// refresh is the time in which a fleet that started cold replaces its first tokens.
func (f fleet) refresh() *bins {
	f.spread = 0
	window := min(f.life/advisoryShare, advisoryMost)
	b := newBins(f.life-window-window/5, f.life-window/2, 10*time.Millisecond)
	f.licensed(b, nil)
	f.murmur(b)
	return b
}

// deployParts are the parts in which a rolling deploy replaces the replicas, deployEvery apart.
const (
	deployParts = 4
	deployEvery = time.Minute
)

// deploy is a rolling one in the middle of a life.
func (f fleet) deploy() *bins {
	f.spread = 0
	var restarts []time.Duration
	for i := range time.Duration(deployParts) {
		restarts = append(restarts, f.life/2+i*deployEvery)
	}
	b := newBins(restarts[0], restarts[0]+deployParts*deployEvery, 10*time.Millisecond)
	f.licensed(b, restarts)
	end := restarts[0] + deployParts*deployEvery
	for i, at := range restarts {
		part := (f.replicas + deployParts - 1 - i) / deployParts
		f.chatter(b, part, 0, at)
		f.chatter(b, part, at, end)
	}
	return b
}
