-- Reads the changes of the deny list since a version, or a page of the whole list.
--
-- The list is forked if the changes after the caller's version don't follow from that version: Redis has lost it in a failover, and
-- somebody has changed the older list since.
--
-- KEYS[1]  sorted set: names by their end in milliseconds of Redis's clock; 0 is without end
-- KEYS[2]  string: the list's version; a later one is a greater number
-- KEYS[3]  sorted set: the latest changes by their version, as 'version:the one before:end or -1:name'
-- ARGV[1]  the version that the caller knows; '' for none
-- ARGV[2]  the cursor of the page (ZSCAN's); '0' begins
-- ARGV[3]  the number of names of a page, roughly
-- result   {TIME, version} if the caller knows that version or a later one; '' if Redis has none
--          {TIME, version, {change, change, ...}} if the changes since then are all there
--          {TIME, version, {}, 'forked'} if they don't follow from it
--          {TIME, version, {}, cursor of the next page or '0', {name, end, name, end, ...}} otherwise
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
  local before = changes[1] and string.match(changes[1], '^[^:]*:([^:]*):')
  if before and before ~= known and (tonumber(before) or 0) < (tonumber(known) or 0) then
    return {redis.call('TIME'), version, {}, 'forked'}
  end
  if before == known and string.match(changes[#changes], '^([^:]*):') == version then
    return {redis.call('TIME'), version, changes}
  end
end
local page = redis.call('ZSCAN', KEYS[1], ARGV[2], 'COUNT', ARGV[3])
return {redis.call('TIME'), version, {}, page[1], page[2]}
