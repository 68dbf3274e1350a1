package main

// This file writes the tables of docs/scale.md.

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// tablePairs keeps the tables quick to make; that is enough for their digits.
const tablePairs = 20_000

// tables are what stands between the marks of docs/scale.md.
func tables() string {
	f := typical()
	f.pairs = tablePairs
	var b strings.Builder
	f.licenses = 1
	writeTable(&b, "replicas, one license", []int{10, 100, 1000, 10_000}, func(n int) fleet { f := f; f.replicas = n; return f })
	f.licenses = 100
	writeTable(&b, "replicas, 100 licenses", []int{10, 100, 1000, 10_000}, func(n int) fleet { f := f; f.replicas = n; return f })
	writeTable(&b, "licenses, 8 replicas", []int{1, 100, 10_000, 100_000}, func(n int) fleet { f := f; f.licenses = n; return f })
	return b.String()
}

// writeTable has a row for each size.
func writeTable(b *strings.Builder, title string, sizes []int, of func(int) fleet) {
	fmt.Fprintf(b, "\n| %s | auth/h | tokens | deny | roster | most | core | cold: auth | Redis | line | refresh: auth | Redis | deploy: Redis |\n", title)
	b.WriteString("|" + strings.Repeat(" ---: |", 13) + "\n")
	for _, n := range sizes {
		f := of(n)
		steady, cold, refresh, deploy := f.steady(), f.cold(), f.refresh(), f.deploy()
		tokens := 0.0
		for _, k := range []kind{look, lock, store, release} {
			tokens += steady.mean(k)
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s | %s %% | %s | %s | %s | %s | %s | %s |\n", digits(float64(n)),
			digits(3600*steady.mean(auth)), digits(tokens), digits(steady.mean(deny)), digits(steady.mean(roster)),
			digits(steady.most(inRedis()...)), digits(100*steady.busy(f.replicas)),
			digits(cold.most(auth)), digits(cold.most(inRedis()...)), line(f, cold),
			digits(refresh.most(auth)), digits(refresh.most(inRedis()...)), digits(deploy.most(inRedis()...)))
	}
}

// line is the longest wait in Redis's line. Where Redis never catches up, it says nothing beyond that.
func line(f fleet, b *bins) string {
	wait := b.wait(f.replicas)
	switch {
	case wait < 10*time.Millisecond:
		return "–"
	case wait > time.Second:
		return "> 1 s"
	}
	return digits(float64(wait.Milliseconds())) + " ms"
}

// digits writes two of them, and none below a tenth.
func digits(x float64) string {
	switch {
	case x == 0:
		return "0"
	case x < 0.1:
		return "< 0.1"
	case x < 10:
		return strconv.FormatFloat(x, 'g', 2, 64)
	}
	unit := math.Pow(10, math.Floor(math.Log10(x))-1)
	text := strconv.FormatFloat(math.Round(x/unit)*unit, 'f', 0, 64)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
