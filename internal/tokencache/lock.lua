-- Tries to take a key's lock, and draws a generation with it.
--
-- A generation is greater than the fence, greater than any that the caller has seen, and never below Redis's clock in
-- microseconds. So it counts as new for everybody, even if Redis was flushed or its clock is behind.
--
-- KEYS[1]  the lock: its holder
-- KEYS[2]  the fence: the greatest generation so far
-- ARGV[1]  the caller's random name
-- ARGV[2]  the lease in milliseconds
-- ARGV[3]  the greatest generation that the caller has seen
-- ARGV[4]  a random number: the step from the last generation to this one if the clock is behind
-- result   the generation, or '' if another holds the lock
-- retry    within the lease: draws another generation and starts the lease again

-- No replica sets a lock without a TTL, or one longer than a lease. Such a lock is replaced.
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
-- No replica wrote a fence a day ahead of both the clock and the caller. The condition is not "last > ...", because every
-- comparison with "nan" is false, and tonumber accepts "nan".
if not (last <= math.max(now, seen) + 86400000000) then
  last = 0
end
last = math.max(last, seen)
-- Not last + 1: if a failover has lost the last draw, two tokens would get the same generation.
local generation = string.format('%.0f', last < now and now or last + tonumber(ARGV[4]))
redis.call('SET', KEYS[2], generation, 'PX', 2592000000) -- 30 days
return generation
