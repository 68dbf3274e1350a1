package main

// Redis as a cluster and behind a sentinel, on one machine.

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"roomgate/internal/sandbox"
	"roomgate/tests"
)

// freePort returns a port of 127.0.0.1 that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	return freePortAt(t, "127.0.0.1")
}

// freePortAt is freePort for another address. 0.0.0.0 means all addresses.
func freePortAt(t *testing.T, addr string) string {
	t.Helper()
	port, err := sandbox.FreePort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// cluster is a Redis cluster of three masters without replicas.
type cluster struct{ nodes []*sandbox.RedisServer }

func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{}
	var clients []*redis.Client
	for range 3 {
		node := newRedis(t, "--cluster-enabled", "yes", "--cluster-port", freePort(t), "--cluster-node-timeout", "2000")
		client := redis.NewClient(&redis.Options{Addr: node.Addr})
		t.Cleanup(func() { client.Close() })
		c.nodes, clients = append(c.nodes, node), append(clients, client)
	}
	ctx := t.Context()
	for i, client := range clients {
		from, to := 16384*i/3, 16384*(i+1)/3-1
		if err := client.ClusterAddSlotsRange(ctx, from, to).Err(); err != nil {
			t.Fatal(err)
		}
		host, port, _ := net.SplitHostPort(c.nodes[i].Addr)
		// CLUSTER MEET needs the bus port, too, because it isn't the usual one.
		bus, err := client.ConfigGet(ctx, "cluster-port").Result()
		if err != nil {
			t.Fatal(err)
		}
		if err := clients[0].Do(ctx, "CLUSTER", "MEET", host, port, bus["cluster-port"]).Err(); err != nil {
			t.Fatal(err)
		}
	}
	for _, client := range clients {
		eventually(t, "the cluster is whole", func() bool {
			return strings.Contains(client.ClusterInfo(ctx).Val(), "cluster_state:ok")
		})
	}
	return c
}

func (c *cluster) url() string {
	return fmt.Sprintf("redis://%s?addr=%s&addr=%s", c.nodes[0].Addr, c.nodes[1].Addr, c.nodes[2].Addr)
}

// sentinel watches a master with one replica.
type sentinel struct {
	addr            string
	master, standby *sandbox.RedisServer
	query           string // of REDIS_URL
}

func newSentinel(t *testing.T) *sentinel { return newLockedSentinel(t, "", "") }

// newLockedSentinel starts a sentinel with the password own, and servers with the password servers. "" for both: no password.
func newLockedSentinel(t *testing.T, own, servers string) *sentinel {
	t.Helper()
	lock := []string{"--requirepass", servers, "--masterauth", servers}
	s := &sentinel{master: newRedis(t, lock...), query: "?master_name=main"}
	host, port, _ := net.SplitHostPort(s.master.Addr)
	s.standby = newRedis(t, append(lock, "--replicaof", host+" "+port)...)
	at := freePort(t)
	s.addr = "127.0.0.1:" + at
	conf := filepath.Join(t.TempDir(), "sentinel.conf")
	text := fmt.Sprintf("port %s\nbind 127.0.0.1\nsentinel monitor main %s %s 1\nsentinel down-after-milliseconds main 1000\n"+
		"sentinel failover-timeout main 5000\n", at, host, port)
	if servers != "" {
		text += "requirepass " + own + "\nsentinel auth-pass main " + servers + "\n"
		s.query += "&password=" + servers
		s.addr = ":" + own + "@" + s.addr
	}
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), "redis-server", conf, "--sentinel")
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { command.Process.Kill(); command.Wait() })
	watcher := redis.NewSentinelClient(&redis.Options{Addr: "127.0.0.1:" + at, Password: own, DialTimeout: time.Second})
	t.Cleanup(func() { watcher.Close() })
	eventually(t, "the sentinel knows the standby", func() bool {
		return len(watcher.Replicas(t.Context(), "main").Val()) == 1
	})
	standby := redis.NewClient(&redis.Options{Addr: s.standby.Addr, Password: servers})
	t.Cleanup(func() { standby.Close() })
	eventually(t, "the standby follows", func() bool {
		return strings.Contains(standby.Info(t.Context(), "replication").Val(), "master_link_status:up")
	})
	return s
}

func (s *sentinel) url() string { return "redis://" + s.addr + s.query }

// shapes returns the kinds of Redis for a fleet. The default run has only a single server. Each function starts one and returns the
// settings for it.
func shapes() map[string]func(*testing.T) []string {
	single := func(t *testing.T) []string { return []string{"REDIS_URL=redis://" + newRedis(t).Addr} }
	if !tests.Whole() {
		return map[string]func(*testing.T) []string{"single": single}
	}
	return map[string]func(*testing.T) []string{
		"single": single,
		"cluster": func(t *testing.T) []string {
			return []string{"REDIS_MODE=cluster", "REDIS_URL=" + newCluster(t).url()}
		},
		"sentinel": func(t *testing.T) []string {
			return []string{"REDIS_MODE=sentinel", "REDIS_URL=" + newSentinel(t).url()}
		},
	}
}

// The sentinel's password doesn't work at the master, nor the master's at the sentinel.
func TestASentinelAndItsMasterHaveTheirOwnPasswords(t *testing.T) {
	tests.Long(t)
	t.Parallel()
	stands, s, client := newStands(t), newLockedSentinel(t, "watches", "serves"), newClient(t)
	environ := settings(stands, "", "REDIS_MODE=sentinel", "REDIS_URL="+s.url())
	r := startReplica(t, environ)
	get(t, client, r.url+"/v1/info", stands.Glory.MintToken("1", time.Hour)).want(t, 200)
	if a := get(t, client, r.admin+"/readyz", "").want(t, 200); strings.Contains(a.body, "redis") {
		t.Errorf("degraded: %s", a.body)
	}
	if dump := dumpRedis(t, ":serves@"+s.master.Addr); !strings.Contains(dump, ":token") {
		t.Errorf("the token is not in Redis:\n%s", dump)
	}
	want(t, environ)
}
