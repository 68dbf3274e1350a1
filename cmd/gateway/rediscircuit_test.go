package main

// If Redis refuses one kind of data, or one node of a cluster fails, all else in Redis stays in use.

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"roomgate/internal/fleet"
	"roomgate/tests"
)

// redisState is the part of /status about Redis and degradations.
type redisState struct {
	Redis struct {
		State string
	}
	Degraded []struct{ Text, Level, Since string }
}

// told returns the texts of all degradations.
func (s redisState) told() (text string) {
	for _, d := range s.Degraded {
		text += d.Text + "\n"
	}
	return text
}

func redisStatus(t *testing.T, r *replica) (s redisState) {
	t.Helper()
	if err := json.Unmarshal([]byte(get(t, newClient(t), r.admin+"/status", "").want(t, 200).body), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestARefusedDenyListOrRosterLeavesTokensShared(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		spoil, heal [][]any
		degraded    []string
	}{
		"no rights": {
			[][]any{{"ACL", "SETUSER", "gateway", "on", ">secret", "~roomgate:token:*", "+@all"}},
			[][]any{{"ACL", "SETUSER", "gateway", "allkeys"}},
			[]string{"redis refuses the deny list: NOPERM", "redis refuses the roster: NOPERM"},
		},
		"another type": {
			[][]any{
				{"ACL", "SETUSER", "gateway", "on", ">secret", "allkeys", "+@all"},
				{"SET", "roomgate:deny:v1:{deny}:names", "foreign"}, {"SET", "roomgate:deny:v1:{deny}:version", "1.1"},
			},
			[][]any{{"DEL", "roomgate:deny:v1:{deny}:names"}},
			[]string{"redis refuses the deny list: WRONGTYPE"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, stands, client := newRedis(t), newStands(t), newClient(t)
			admin := redis.NewClient(&redis.Options{Addr: server.Addr})
			t.Cleanup(func() { admin.Close() })
			do := func(commands [][]any) {
				for _, c := range commands {
					if err := admin.Do(t.Context(), c...).Err(); err != nil {
						t.Fatal(err)
					}
				}
			}
			do(tt.spoil)
			environ := settings(stands, "gateway:secret@"+server.Addr)
			replicas := []*replica{startReplica(t, environ), startReplica(t, environ)}
			for _, r := range replicas {
				eventually(t, "the refusal is seen", func() bool {
					told := redisStatus(t, r).told()
					return !slices.ContainsFunc(tt.degraded, func(text string) bool { return !strings.Contains(told, text) })
				})
				get(t, client, r.url+"/v1/info", stands.Glory.MintToken("1", time.Hour)).want(t, 200)
				if s := redisStatus(t, r); s.Redis.State != "up" {
					t.Errorf("status: %+v", s)
				}
				if body := get(t, client, r.admin+"/metrics", "").body; !strings.Contains(body, "\nroomgate_redis_circuit_open 0\n") {
					t.Error("the circuit is open")
				}
			}
			if n := stands.Interwater.AuthCalls(); n != 1 {
				t.Errorf("%d tokens were issued, want one for both replicas", n)
			}
			do(tt.heal)
			eventually(t, "all is well", func() bool { return len(redisStatus(t, replicas[0]).Degraded) == 0 })
		})
	}
}

// sent counts the scripts that a client runs on keys with a prefix, except probes.
type sent struct {
	prefix string
	n      atomic.Int64
}

// DialHook implements redis.Hook.
func (*sent) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessPipelineHook implements redis.Hook.
func (*sent) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// ProcessHook implements redis.Hook.
func (s *sent) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if args := cmd.Args(); cmd.Name() == "evalsha" && strings.HasPrefix(fmt.Sprint(args[3]), s.prefix) && !strings.Contains(fmt.Sprint(args[3]), ":probe") {
			s.n.Add(1)
		}
		return next(ctx, cmd)
	}
}

func TestAFrozenClusterNodeCostsOnlyItsOwnKeys(t *testing.T) {
	tests.Long(t)
	t.Parallel()
	c := newCluster(t)
	client, err := fleet.Connect(fleet.Connection{Mode: "cluster", URL: c.url(), Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	r := fleet.New(client, fleet.Options{Prefix: "roomgate:", Timeout: time.Second})
	t.Cleanup(r.Close)
	direct := client.(*redis.ClusterClient)
	// With the usual timeout the other nodes would soon miss the frozen node, and refuse everything, because no replica can replace it.
	if err := direct.ForEachMaster(t.Context(), func(ctx context.Context, node *redis.Client) error {
		return node.ConfigSet(ctx, "cluster-node-timeout", "600000").Err()
	}); err != nil {
		t.Fatal(err)
	}
	use := r.Use("tests", "test:")
	var frozen, others []string
	for i := range 90 {
		key := use.Key(fmt.Sprint(i))
		node, err := direct.MasterForKey(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if node.Options().Addr == c.nodes[2].Addr {
			frozen = append(frozen, key)
		} else {
			others = append(others, key)
		}
	}
	set := redis.NewScript(`return redis.call('SET', KEYS[1], '1')`)
	write := func(key string) error {
		return use.Do(t.Context(), key, func(ctx context.Context) error { return set.Run(ctx, client, []string{key}).Err() })
	}
	for _, key := range append(frozen, others...) {
		if err := write(key); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.nodes[2].Freeze(); err != nil {
		t.Fatal(err)
	}
	count := &sent{prefix: use.Key("")}
	client.AddHook(count)
	failed := 0
	for i, key := range frozen {
		if write(key) != nil {
			failed++
		}
		if err := write(others[i]); err != nil {
			t.Errorf("a key on another node: %v", err)
		}
	}
	// Each script that was sent to the frozen node has waited for the timeout.
	if waited := int(count.n.Load()) - len(frozen); failed != len(frozen) || waited > 4 {
		t.Errorf("%d of %d failed, %d were sent to the frozen node", failed, len(frozen), waited)
	}
	if use.Outage() == nil {
		t.Error("a node is down, but Outage doesn't say so")
	}
	if err := c.nodes[2].Thaw(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the node is used again", func() bool { return use.Outage() == nil && write(frozen[0]) == nil })
}
