-- Announces a replica and reads who else is there.
--
-- KEYS[1]  sorted set: replicas by their last announcement in milliseconds of Redis's clock
-- ARGV[1]  the replica's entry
-- ARGV[2]  its previous entry, which it replaces; '' for none
-- ARGV[3]  milliseconds that an entry stays after its announcement
-- ARGV[4]  the largest number of entries to read, the latest first
-- ARGV[5]  the longest entry in bytes; a longer one reads as ''
-- result   {entry, milliseconds since its announcement, entry, milliseconds, ...}
-- retry    announces again

-- No replica wrote another type. It would make every announcement fail.
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'zset' and kind ~= 'none' then
  redis.call('DEL', KEYS[1])
end
local t = redis.call('TIME')
local now, keep = t[1] * 1000 + math.floor(t[2] / 1000), tonumber(ARGV[3])
redis.call('ZREM', KEYS[1], ARGV[2])
redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('(%.0f', now - keep + 1))
-- No replica announces itself in the future.
redis.call('ZREMRANGEBYSCORE', KEYS[1], string.format('(%.0f', now), '+inf')
redis.call('PEXPIRE', KEYS[1], ARGV[3])
local found = {}
for i, v in ipairs(redis.call('ZREVRANGE', KEYS[1], 0, ARGV[4] - 1, 'WITHSCORES')) do
  if i % 2 == 0 then
    found[i] = string.format('%.0f', now - v)
  else
    found[i] = #v <= tonumber(ARGV[5]) and v or ''
  end
end
return found
