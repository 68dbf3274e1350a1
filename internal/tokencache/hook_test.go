package tokencache

import (
	"context"
	"strings"

	"github.com/redis/go-redis/v9"
)

// hook is called with every command of a client before the command is sent. If it returns an error, the command isn't sent, and that is
// the answer.
type hook struct {
	redis.Hook
	before func(ctx context.Context, cmd redis.Cmder) error
}

// watch adds a hook to a cache's client.
func watch(c *Cache, before func(ctx context.Context, cmd redis.Cmder) error) {
	c.store.client.AddHook(hook{before: before})
}

// DialHook implements redis.Hook.
func (hook) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessPipelineHook implements redis.Hook.
func (hook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// ProcessHook implements redis.Hook.
func (h hook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if err := h.before(ctx, cmd); err != nil {
			cmd.SetErr(err)
			return err
		}
		return next(ctx, cmd)
	}
}

// runs reports whether cmd runs this script.
func runs(cmd redis.Cmder, script *redis.Script) bool {
	args := cmd.Args()
	return cmd.Name() == "evalsha" && len(args) > 1 && args[1] == script.Hash()
}

// touches reports whether cmd runs a script on a key with this prefix.
func touches(cmd redis.Cmder, prefix string) bool {
	args := cmd.Args()
	if (cmd.Name() != "evalsha" && cmd.Name() != "eval") || len(args) < 4 {
		return false
	}
	key, _ := args[3].(string)
	return strings.HasPrefix(key, prefix)
}
