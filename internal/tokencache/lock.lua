-- Tries to take a key's lock, and draws a generation with it.
--
-- A generation is greater than any that the fence or the caller has seen, and never below Redis's clock in microseconds. So
-- neither a flushed Redis nor one whose clock is behind draws one that somebody takes for old.
--
-- KEYS[1]  the lock: its holder
-- KEYS[2]  the fence: the greatest generation so far
-- ARGV[1]  the name of who tries
-- ARGV[2]  the lease in milliseconds
-- ARGV[3]  the greatest generation that the caller has seen
-- ARGV[4]  a number drawn at random: how far above the last one a generation is where the clock is behind
-- result   the generation, or '' if another holds the lock
-- retry    draws another generation and begins the lease anew, if it follows the first try at once

-- No replica sets a lock without an end, or one longer than a lease. Replace it.
local left = redis.call('PTTL', KEYS[1])
local held = left >= 0 and left <= tonumber(ARGV[2])
if held and redis.pcall('GET', KEYS[1]) ~= ARGV[1] then
  return ''
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
local t = redis.call('TIME')
local now, seen = t[1] * 1000000 + t[2], tonumber(ARGV[3])
local last = redis.pcall('GET', KEYS[2])
last = type(last) == 'string' and tonumber(last) or 0
-- A fence a day ahead of clock and caller isn't ours. Not "last > ...": no comparison holds for "nan", which is a number too.
if not (last <= math.max(now, seen) + 86400000000) then
  last = 0
end
last = math.max(last, seen)
-- Not last + 1: where a failover has lost the last draw, that would be the same generation for two tokens.
local generation = string.format('%.0f', last < now and now or last + tonumber(ARGV[4]))
redis.call('SET', KEYS[2], generation, 'PX', 2592000000) -- 30 days
return generation
