-- Writes a deny list back that Redis has lost, in several calls. Until the last one the list stays as it is.
--
-- KEYS[1]  sorted set: names by their end in milliseconds of Redis's clock; 0 is without end
-- KEYS[2]  string: the list's version
-- KEYS[3]  sorted set: the latest changes, by their version
-- KEYS[4]  sorted set: what has been written back so far
-- ARGV[1]  the version of the list that is written back
-- ARGV[2]  'last' in the last call
-- ARGV     then pairs of a name and its end
-- result   1 if the list has been replaced, else 0: more is to come, or Redis has this version or a later one
-- retry    harmless

for i = 3, #ARGV, 2 do
  redis.call('ZADD', KEYS[4], ARGV[i + 1], ARGV[i])
end
redis.call('PEXPIRE', KEYS[4], 60000)
if ARGV[2] ~= 'last' then
  return 0
end
local version = tonumber(redis.call('GET', KEYS[2]) or '') or 0
if version >= tonumber(ARGV[1]) then
  redis.call('DEL', KEYS[4])
  return 0
end
if redis.call('EXISTS', KEYS[4]) == 1 then
  redis.call('PERSIST', KEYS[4])
  redis.call('RENAME', KEYS[4], KEYS[1])
else
  redis.call('DEL', KEYS[1])
end
redis.call('SET', KEYS[2], ARGV[1])
redis.call('DEL', KEYS[3])
return 1
