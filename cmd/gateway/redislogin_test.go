package main

// A Redis password that changes all the time in the file of REDIS_URL_FILE, as passwords of cloud identities do.

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"roomgate/internal/sandbox"
	"roomgate/tests"
)

// accounts is a Redis on whose servers the gateway has its own account.
type accounts struct {
	servers []*sandbox.RedisServer
	url     func(login string) string // login is user:password
	mode    string
}

// loginShapes returns a Redis for each mode. The default run has only a single server.
func loginShapes() map[string]func(*testing.T) accounts {
	all := map[string]func(*testing.T) accounts{
		"single": func(t *testing.T) accounts {
			server := newRedis(t)
			return accounts{[]*sandbox.RedisServer{server}, func(login string) string { return "redis://" + login + "@" + server.Addr }, "single"}
		},
	}
	if !tests.Whole() {
		return all
	}
	all["cluster"] = func(t *testing.T) accounts {
		c := newCluster(t)
		return accounts{c.nodes, func(login string) string { return strings.Replace(c.url(), "//", "//"+login+"@", 1) }, "cluster"}
	}
	all["sentinel"] = func(t *testing.T) accounts {
		s := newSentinel(t)
		return accounts{[]*sandbox.RedisServer{s.master, s.standby}, func(login string) string {
			user, password, _ := strings.Cut(login, ":")
			return s.url() + "&username=" + user + "&password=" + password
		}, "sentinel"}
	}
	return all
}

// each runs a command on every server.
func (a accounts) each(t *testing.T, args ...any) (replies []any) {
	t.Helper()
	for _, server := range a.servers {
		client := redis.NewClient(&redis.Options{Addr: server.Addr, ReadTimeout: patience})
		reply, err := client.Do(t.Context(), args...).Result()
		client.Close()
		if err != nil {
			t.Fatal(err)
		}
		replies = append(replies, reply)
	}
	return replies
}

func TestEachRedisConnectionLogsInWithThePasswordOfTheMoment(t *testing.T) {
	t.Parallel()
	for mode, shape := range loginShapes() {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			a, stands, dir := shape(t), newStands(t), t.TempDir()
			a.each(t, "ACL", "SETUSER", "gate", "on", "~*", "&*", "+@all", ">password-0")
			put(t, dir, map[string]string{"url": a.url("gate:password-0") + "\n"})
			r := startReplica(t, settings(stands, "", "REDIS_URL=", "REDIS_URL_FILE="+filepath.Join(dir, "url"), "REDIS_MODE="+a.mode, "MEMBER_RATE_LIMIT=0"))
			got, stop := openLoad(t, 50, []string{r.url + "/v1/info"}, stands.Glory.MintToken("1", time.Hour))
			loggedIn := func() bool {
				return strings.Contains(fmt.Sprint(a.each(t, "CLIENT", "LIST", "TYPE", "NORMAL")...), "user=gate")
			}
			eventually(t, "the first login", loggedIn)
			for n := range 5 {
				// As in a cloud, both passwords are good for a moment.
				a.each(t, "ACL", "SETUSER", "gate", fmt.Sprint(">password-", n+1))
				put(t, dir, map[string]string{"url": a.url(fmt.Sprint("gate:password-", n+1)) + "\n"})
				a.each(t, "ACL", "SETUSER", "gate", fmt.Sprint("<password-", n))
				a.each(t, "CLIENT", "KILL", "USER", "gate")
				eventually(t, "the next login", loggedIn)
			}
			stop()
			if failed := failures(got.all()); len(failed) > 0 {
				t.Errorf("%d of %d failed, the first: %s", len(failed), len(got.all()), failed[0])
			}
			if refused := fmt.Sprint(a.each(t, "ACL", "LOG")...); strings.Contains(refused, "auth") {
				t.Errorf("logins with an old password: %s", refused)
			}
		})
	}
}

func TestAnotherRedisTakesARestart(t *testing.T) {
	t.Parallel()
	server, other, stands, client, dir := newRedis(t), newRedis(t), newStands(t), newClient(t), t.TempDir()
	put(t, dir, map[string]string{"url": "redis://" + server.Addr})
	r := startReplica(t, settings(stands, "", "REDIS_URL=", "REDIS_URL_FILE="+filepath.Join(dir, "url")))
	put(t, dir, map[string]string{"url": "redis://" + other.Addr})
	told := r.log.wait(t, "changed secrets can't be used; the old ones stay in use")
	if text := fmt.Sprint(told["error"]); text != "REDIS_URL: differs in more than user and password; restart the gateway to use it" {
		t.Errorf("told is %q", text)
	}
	direct := redis.NewClient(&redis.Options{Addr: server.Addr, ReadTimeout: patience})
	defer direct.Close()
	direct.Do(t.Context(), "CLIENT", "KILL", "TYPE", "normal")
	get(t, client, r.url+"/v1/info", stands.Glory.MintToken("1", time.Hour)).want(t, 200)
	eventually(t, "the old one goes on in use", func() bool { return direct.DBSize(t.Context()).Val() > 0 })
	elsewhere := redis.NewClient(&redis.Options{Addr: other.Addr})
	defer elsewhere.Close()
	if n := elsewhere.DBSize(t.Context()).Val(); n != 0 {
		t.Errorf("%d keys in the other one", n)
	}
}
