-- Tries to take a key's lock, and draws a generation with it.
--
-- A generation is greater than any before it and never below Redis's clock in microseconds. So a flushed Redis doesn't
-- start again at one.
--
-- KEYS[1]  the lock: its holder
-- KEYS[2]  the fence: the greatest generation so far
-- ARGV[1]  the name of who tries
-- ARGV[2]  the lease in milliseconds
-- ARGV[3]  how many leases a lock may have left; no replica sets a longer one
-- result   the generation, or '' if another holds the lock
-- retry    answers '' while the first try's lease runs: release the lock before

-- No replica sets a lock without an end, or one this long. Replace it.
local left = redis.call('PTTL', KEYS[1])
if left == -1 or left > ARGV[2] * ARGV[3] then
  redis.call('DEL', KEYS[1])
end
if not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then
  return ''
end
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local last = redis.pcall('GET', KEYS[2])
last = type(last) == 'string' and tonumber(last) or 0
-- A fence a day ahead of the clock isn't ours. Not "last > ...": no comparison holds for "nan", which is a number too.
if not (last <= now + 86400000000) then
  last = 0
end
local generation = string.format('%.0f', math.max(last + 1, now))
redis.call('SET', KEYS[2], generation, 'PX', 2592000000) -- 30 days
return generation
