-- Reads the deny list, unless the caller has it already.
--
-- KEYS[1]  sorted set: names by their end in milliseconds of Redis's clock; 0 is without end
-- KEYS[2]  string: the list's version
-- ARGV[1]  the version that the caller knows; '' for none
-- result   {TIME, version} if that is the list's version, which is '' when Redis has none
--          {TIME, version, {name, end, name, end, ...}} otherwise
-- retry    harmless: it changes nothing

local version = redis.call('GET', KEYS[2]) or ''
if version == ARGV[1] then
  return {redis.call('TIME'), version}
end
return {redis.call('TIME'), version, redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')}
