-- Changes the deny list, drops denials that have ended, and gives the list a new version.
--
-- The version is Redis's time of the change. So after a flush it doesn't start again with one that a replica knows.
--
-- KEYS[1]  sorted set: names by their end in milliseconds of Redis's clock; 0 is without end
-- KEYS[2]  string: the list's version
-- ARGV     pairs of a name and its milliseconds from now; 0: without end, negative: take it off the list
-- result   the new version
-- retry    sets the same names again; a denial with an end then ends later by the time in between

local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], 1, now)
for i = 1, #ARGV, 2 do
  local ttl = tonumber(ARGV[i + 1])
  if ttl < 0 then
    redis.call('ZREM', KEYS[1], ARGV[i])
  elseif ttl == 0 then
    redis.call('ZADD', KEYS[1], 0, ARGV[i])
  else
    redis.call('ZADD', KEYS[1], string.format('%.0f', now + ttl), ARGV[i])
  end
end
local version = t[1] .. '.' .. t[2]
redis.call('SET', KEYS[2], version)
return version
