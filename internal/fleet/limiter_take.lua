-- Counts one request against a rate limit (GCRA).
--
-- The library redis_rate does the same, but its keys' names don't begin with the fleet's prefix, so an ACL by prefix would refuse it.
--
-- KEYS[1]  string: when the bucket is full again, in microseconds of Redis's clock. It expires at that time.
-- ARGV[1]  microseconds in which one request is refilled
-- ARGV[2]  the burst
-- result   0 if the request passes, else the microseconds until one can pass; then nothing is counted
-- retry    counts the request twice

local every, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]

local function store(full)
  redis.call('SET', KEYS[1], string.format('%.0f', full), 'PX', math.ceil((full - now) / 1000))
end

local full = redis.pcall('GET', KEYS[1])
full = type(full) == 'string' and tonumber(full) or now
local fullest = now + every * burst
-- This script never wrote a later time. The bucket counts as empty and refills from now. The condition is not "full > fullest",
-- because every comparison with "nan" is false, and tonumber accepts "nan".
if not (full <= fullest) then
  full = fullest
  store(full)
end
full = math.max(full, now) + every
local wait = full - every * burst - now
if wait > 0 then
  return math.ceil(wait)
end
store(full)
return 0
