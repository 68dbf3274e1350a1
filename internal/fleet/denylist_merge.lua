-- Adds names that Redis has lost to the deny list. Names that are on it stay as they are.
--
-- It writes no changes: so all other replicas read the whole list.
--
-- KEYS[1]  sorted set: names by their end in milliseconds of Redis's clock; 0 is without end
-- KEYS[2]  string: the list's version; a later one is a greater number
-- ARGV     pairs of a name and its end
-- result   the number of names that were added
-- retry    harmless

local added = 0
for i = 1, #ARGV, 2 do
  added = added + redis.call('ZADD', KEYS[1], 'NX', ARGV[i + 1], ARGV[i])
end
if added > 0 then
  local t = redis.call('TIME')
  local last = tonumber(redis.call('GET', KEYS[2]) or '') or 0
  redis.call('SET', KEYS[2], string.format('%.0f', math.max(last + 1, t[1] * 1000000 + t[2])))
end
return added
