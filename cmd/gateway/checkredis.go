package main

// Redis must do what the gateway's scripts need, and should not evict the gateway's keys.

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"roomgate/internal/config"
	"roomgate/internal/fleet"
)

// leastRedis is the first major version whose scripts may write after a call of TIME.
const leastRedis = 5

// redisNeeds does what the gateway's own scripts do: it reads Redis's clock and writes a key.
var redisNeeds = redis.NewScript(`local t = redis.call('TIME') return redis.call('SET', KEYS[1], t[1], 'PX', 1000)`)

// checkRedis returns a finding for each thing that can be wrong by itself. Each call waits up to REDIS_TIMEOUT.
func checkRedis(ctx context.Context, cfg *config.Config) []finding {
	f := begin("redis")
	to, _, err := redisConnection(cfg)
	if err != nil {
		return []finding{f.fail(err.Error(), "are REDIS_CERT_FILE and REDIS_KEY_FILE right?")}
	}
	client, err := fleet.Connect(to)
	if err != nil {
		return []finding{f.fail(err.Error(), "is REDIS_URL right?")}
	}
	defer func() { _ = client.Close() }()
	if err := client.Ping(ctx).Err(); err != nil { // opens the connection
		return []finding{f.fail(err.Error(), redisHint(ctx, cfg, to, err))}
	}
	pinged := time.Now()
	err = client.Ping(ctx).Err()
	f = f.end(fmt.Sprintf("answers within %s", time.Since(pinged).Round(10*time.Microsecond)))
	if err != nil {
		f = f.fail(err.Error(), redisHint(ctx, cfg, to, err))
	}
	w := begin("redis writes")
	if err := redisNeeds.Run(ctx, client, []string{cfg.RedisKeyPrefix + "check"}).Err(); err != nil {
		w = w.fail(err.Error(), redisHint(ctx, cfg, to, err))
	} else {
		w = w.end("runs scripts and takes writes")
	}
	version, mode, eviction := begin("redis version"), begin("redis mode"), begin("redis eviction")
	nodes := redisNodes(ctx, client)
	return []finding{f, w, redisVersion(version, nodes), redisMode(mode, cfg.RedisMode, nodes), redisEviction(eviction, nodes)}
}

// redisNode is what one server says about itself. "": it doesn't say.
type redisNode struct{ version, mode, policy, maxMemory string }

// redisNodes asks every master of a cluster, or the one server. Managed servers refuse some of the questions.
func redisNodes(ctx context.Context, client redis.UniversalClient) []redisNode {
	cluster, isCluster := client.(*redis.ClusterClient)
	if !isCluster {
		return []redisNode{askNode(ctx, client)}
	}
	var mu sync.Mutex
	var nodes []redisNode
	_ = cluster.ForEachMaster(ctx, func(ctx context.Context, master *redis.Client) error {
		n := askNode(ctx, master)
		mu.Lock()
		defer mu.Unlock()
		nodes = append(nodes, n)
		return nil
	}) // masters that can't be reached are left out
	return nodes
}

func askNode(ctx context.Context, client redis.UniversalClient) redisNode {
	server, memory := info(ctx, client, "server"), info(ctx, client, "memory")
	n := redisNode{server["redis_version"], server["redis_mode"], memory["maxmemory_policy"], memory["maxmemory"]}
	if set, err := client.ConfigGet(ctx, "maxmemory-policy").Result(); err == nil && set["maxmemory-policy"] != "" {
		n.policy = set["maxmemory-policy"]
	}
	return n
}

// info returns the fields of one section of INFO. It is empty if the server refuses INFO.
func info(ctx context.Context, client redis.UniversalClient, section string) map[string]string {
	fields := map[string]string{}
	for line := range strings.Lines(client.Info(ctx, section).Val()) {
		if name, value, isField := strings.Cut(strings.TrimSpace(line), ":"); isField {
			fields[name] = value
		}
	}
	return fields
}

// told returns the different values of a field, sorted. Nodes without a value are left out.
func told(nodes []redisNode, field func(redisNode) string) []string {
	var values []string
	for _, n := range nodes {
		if v := field(n); v != "" {
			values = append(values, v)
		}
	}
	slices.Sort(values)
	return slices.Compact(values)
}

// redisVersion fails if any node is too old. An unknown version is no failure, because checkRedis tries a script.
func redisVersion(f finding, nodes []redisNode) finding {
	versions := told(nodes, func(n redisNode) string { return n.version })
	if len(versions) == 0 {
		return f.end("unknown: INFO is not allowed")
	}
	for _, v := range versions {
		major, _, _ := strings.Cut(v, ".")
		if n, err := strconv.Atoi(major); err == nil && n < leastRedis {
			return f.fail(v, fmt.Sprintf("the gateway's scripts need Redis %d or later, or Valkey", leastRedis))
		}
	}
	return f.end(strings.Join(versions, ", "))
}

// redisMode compares the servers' mode with REDIS_MODE.
func redisMode(f finding, set string, nodes []redisNode) finding {
	modes := told(nodes, func(n redisNode) string { return n.mode })
	switch {
	case len(modes) == 0:
		return f.end(set + " by REDIS_MODE; INFO is not allowed")
	case set == "single" && !slices.Contains(modes, "standalone"),
		set == "sentinel" && slices.Contains(modes, "cluster"):
		return f.fail("REDIS_MODE is "+set+", the server is "+modes[0], "set REDIS_MODE="+modes[0])
	case set == "cluster":
		return f.end(fmt.Sprintf("cluster of %d masters", len(nodes)))
	}
	return f.end(set)
}

// redisEviction warns if Redis evicts keys when its memory is full.
func redisEviction(f finding, nodes []redisNode) finding {
	const remedy = "set maxmemory-policy noeviction"
	policies := told(nodes, func(n redisNode) string { return n.policy })
	if len(policies) == 0 {
		return f.warn("unknown: neither CONFIG nor INFO is allowed",
			"look up maxmemory-policy with the provider of this Redis; it should be noeviction")
	}
	for _, p := range policies {
		var lost string
		switch {
		case strings.HasPrefix(p, "allkeys-"):
			lost = "access tokens, limits' counts and the deny list"
		case strings.HasPrefix(p, "volatile-"):
			lost = "access tokens and limits' counts"
		default:
			continue
		}
		if limits := told(nodes, func(n redisNode) string { return n.maxMemory }); slices.Equal(limits, []string{"0"}) {
			p += " (maxmemory is not set: nothing is evicted yet)"
		}
		return f.warn(p, "when its memory is full, "+lost+" may be dropped: "+remedy)
	}
	return f.end(strings.Join(policies, ", "))
}
