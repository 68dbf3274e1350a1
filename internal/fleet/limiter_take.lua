-- Counts one request against a rate limit (GCRA).
--
-- redis_rate does the same, but under key names outside the fleet's prefix, and so outside an ACL that goes by it.
--
-- KEYS[1]  string: when the bucket is full again, in microseconds of Redis's clock. It is gone once the bucket is full.
-- ARGV[1]  microseconds in which one request is refilled
-- ARGV[2]  the burst
-- result   0 if the request passes, else the microseconds until one may pass
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
-- Not "full > fullest": no comparison holds for "nan", which is a number too. This script never wrote such a value. The
-- bucket counts as empty and refills from here.
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
