-- Stores a token and removes the note of failure. If there is a newer token, or a tombstone of this generation or a newer one, it
-- stores nothing. In any case it releases the lock if the caller still holds it.
--
-- KEYS[1]  the token's entry, or its tombstone
-- KEYS[2]  the lock
-- KEYS[3]  the note of the last failure
-- ARGV[1]  the token's generation
-- ARGV[2]  the entry, which begins with the generation and a colon; a tombstone has an exclamation mark there
-- ARGV[3]  its life in milliseconds
-- ARGV[4]  the name of the lock's holder
-- result   1 if it was stored, 0 if not
-- retry    harmless: it stores the same again, or nothing if the token is outdated by then

local stored, newest, kind = 0, nil, nil
local there = redis.pcall('GET', KEYS[1])
if type(there) == 'string' then
  newest, kind = string.match(there, '^(%d+)([:!])')
end
local ahead = newest and tonumber(ARGV[1]) - tonumber(newest)
if not newest or ahead > 0 or ahead == 0 and kind == ':' then
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
  redis.call('DEL', KEYS[3])
  stored = 1
end
if redis.pcall('GET', KEYS[2]) == ARGV[4] then
  redis.call('DEL', KEYS[2])
end
return stored
