-- Reads what has changed in the deny list since a version, or a page of all of it.
--
-- KEYS[1]  sorted set: names by their end in milliseconds of Redis's clock; 0 is without end
-- KEYS[2]  string: the list's version; a later one is a greater number
-- KEYS[3]  sorted set: the latest changes by their version, as 'version:the one before:end or -1:name'
-- ARGV[1]  the version that the caller knows; '' for none
-- ARGV[2]  the rank at which the page begins
-- ARGV[3]  the rank at which it ends
-- result   {TIME, version} if the caller knows that one or a later one; version is '' when Redis has none
--          {TIME, version, {change, change, ...}} if the changes since then are all there
--          {TIME, version, {}, {name, end, name, end, ...}} otherwise
-- retry    harmless: it changes nothing

local version, known = redis.call('GET', KEYS[2]) or '', ARGV[1]
if version == known then
  return {redis.call('TIME'), version}
end
if known ~= '' then
  if not ((tonumber(version) or 0) > (tonumber(known) or 0)) then
    return {redis.call('TIME'), version}
  end
  local changes = redis.call('ZRANGEBYSCORE', KEYS[3], '(' .. known, '+inf')
  local first, last = changes[1], changes[#changes]
  if first and string.match(first, '^[^:]*:([^:]*):') == known and string.match(last, '^([^:]*):') == version then
    return {redis.call('TIME'), version, changes}
  end
end
return {redis.call('TIME'), version, {}, redis.call('ZRANGE', KEYS[1], ARGV[2], ARGV[3], 'WITHSCORES')}
