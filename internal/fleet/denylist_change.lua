-- Changes one name of the deny list, drops denials that have ended, and gives the list a new version.
--
-- The version is Redis's time of the change in microseconds, or the last version plus one if the clock is behind that.
--
-- KEYS[1]  sorted set: names by their end in milliseconds of Redis's clock; 0 is without end
-- KEYS[2]  string: the list's version
-- KEYS[3]  sorted set: the latest changes by their version, as 'version:the one before:end or -1:name'
-- ARGV[1]  the name
-- ARGV[2]  how long to deny the name, in milliseconds; 0: without end; negative: take it off the list
-- ARGV[3]  the number of changes to keep
-- ARGV[4]  the largest number of names; 0: any
-- ARGV[5]  the end of the denial in milliseconds, in place of ARGV[2]; a later end stays; 0: ARGV[2] counts
-- result   the new version, or '' if the list is full
-- retry    sets the same name again; if ARGV[2] counts, the denial ends later by the time in between

local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local micros = t[1] * 1000000 + t[2]
local before = redis.call('GET', KEYS[2]) or ''
local last = tonumber(before) or 0
-- No replica wrote a version a day ahead of the clock. The condition is not "last > ...", because every comparison with "nan" is
-- false, and tonumber accepts "nan".
if not (last <= micros + 86400000000) then
  last = 0
end
local version = string.format('%.0f', math.max(math.floor(last) + 1, micros))

redis.call('ZREMRANGEBYSCORE', KEYS[1], 1, now)
local name, ttl, till = ARGV[1], tonumber(ARGV[2]), '0'
local most, own, there = tonumber(ARGV[4]), tonumber(ARGV[5]), redis.call('ZSCORE', KEYS[1], name)
if most > 0 and not there and redis.call('ZCARD', KEYS[1]) >= most then
  return ''
end
if ttl < 0 then
  redis.call('ZREM', KEYS[1], name)
  till = '-1'
else
  if own > 0 then
    till = string.format('%.0f', math.max(own, tonumber(there or '0')))
  elseif ttl > 0 then
    till = string.format('%.0f', now + ttl)
  end
  redis.call('ZADD', KEYS[1], till, name)
end
redis.call('SET', KEYS[2], version)
redis.call('ZADD', KEYS[3], version, version .. ':' .. before .. ':' .. till .. ':' .. name)
redis.call('ZREMRANGEBYRANK', KEYS[3], 0, -1 - ARGV[3])
return version
