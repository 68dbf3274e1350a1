package fleet

// Uses and nodes don't affect each other, with one exception: if a node fails for one use, all others probe it.

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"roomgate/internal/sandbox"
)

func TestARefusalConcernsOneUseAndIsNoOutage(t *testing.T) {
	for _, reply := range []refusalOfRedis{
		"NOPERM this user has no permissions to access one of the keys used as arguments",
		"WRONGTYPE Operation against a key holding the wrong kind of value script: 0219, on @user_script:1.",
		"ERR Error running script (call to f_1): @user_script:1: WRONGTYPE Operation against a key holding the wrong kind of value",
	} {
		synctest.Test(t, func(t *testing.T) {
			r, _, _ := invented(t, nil)
			for range 10 {
				if err := call(r, reply); !errors.Is(err, reply) {
					t.Errorf("%s: %v", reply, err)
				}
			}
			u := r.Use("test", "")
			if u.Outage() != nil || !errors.Is(u.Refusal(), reply) {
				t.Errorf("%s: outage %v, refusal %v", reply, u.Outage(), u.Refusal())
			}
			if other := r.Use("other", "other:"); other.Outage() != nil || other.Refusal() != nil {
				t.Errorf("%s: the other use: outage %v, refusal %v", reply, other.Outage(), other.Refusal())
			}
			if _ = call(r, nil); u.Refusal() != nil {
				t.Errorf("%s: still refused after a success: %v", reply, u.Refusal())
			}
		})
	}
}

func TestAProbeSeesThatRightsAreBackButNothingOfAType(t *testing.T) {
	for reply, after := range map[refusalOfRedis]bool{"NOPERM no": false, "WRONGTYPE no": true} {
		synctest.Test(t, func(t *testing.T) {
			r, _, healthy := invented(t, nil)
			healthy.Store(true)
			_ = call(r, reply)
			time.Sleep(probeFirst)
			if refused := r.Use("test", "").Refusal() != nil; refused != after {
				t.Errorf("%s: refused is %v after a probe that succeeded", reply, refused)
			}
		})
	}
}

// A replica that needs no token for an hour must still show that Redis is down.
func TestAFailedNodeIsProbedForTheOtherUses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _, healthy := invented(t, nil)
		other := r.Use("other", "other:")
		synctest.Wait() // the probe at the start has failed
		healthy.Store(true)
		time.Sleep(time.Second)
		if other.Outage() != nil {
			t.Fatalf("%v although the probe succeeded", other.Outage())
		}
		healthy.Store(false)
		_ = call(r, errNetwork)
		time.Sleep(3 * time.Second)
		if other.Outage() == nil {
			t.Error("the other use doesn't know")
		}
	})
}

// freePort is a port that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	port, err := sandbox.FreePort("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// If a cluster doesn't tell its slots, its circuit opens, and calls fail at once.
func TestAClusterThatTellsNoSlotsIsAnOutage(t *testing.T) {
	t.Parallel()
	client, err := Connect(Connection{Mode: "cluster", URL: "redis://127.0.0.1:" + freePort(t), Timeout: 250 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	u := newOn(t, client, Options{}).Use("test", "")
	eventually(t, "Redis is known to be down", func() bool {
		_ = call(u.redis, nil)
		return u.Outage() != nil
	})
	if err := call(u.redis, nil); !errors.Is(err, ErrOutage) {
		t.Errorf("error %v", err)
	}
}

func TestAProbeMeetsTheRightsAndTheSlotOfItsKey(t *testing.T) {
	server := ownRedis(t, "--cluster-enabled", "yes", "--cluster-port", freePort(t))
	client := connect(t, server.Addr, patient)
	slot := func(key string) int64 {
		n, err := client.ClusterKeySlot(t.Context(), key).Result()
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for _, key := range []string{"roomgate:replicas", "p:deny:v1:{deny}:names", "{fleet}:limit:login:a", "p:token:v1:{abc}:token", "limit:"} {
		probe := beside(key)
		if slot(probe) != slot(key) || !strings.HasPrefix(probe, key) || probe == key {
			t.Errorf("%q is probed by %q", key, probe)
		}
	}
}
