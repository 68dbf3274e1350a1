-- Publishes a token, unless a newer one is there, and releases the lock if the caller still holds it.
--
-- KEYS[1]  the token's entry
-- KEYS[2]  the lock
-- KEYS[3]  the note of the last failure
-- ARGV[1]  the token's generation
-- ARGV[2]  the entry, which begins with the generation and a colon
-- ARGV[3]  its life in milliseconds
-- ARGV[4]  the name of the lock's holder
-- result   1 if it was stored, 0 if a newer one was there
-- retry    harmless: it stores the same again, or nothing if a newer one has come meanwhile

local stored = 0
local there = redis.pcall('GET', KEYS[1])
local newer = type(there) == 'string' and tonumber(string.match(there, '^(%d+):'))
if not newer or newer <= tonumber(ARGV[1]) then
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
  redis.call('DEL', KEYS[3])
  stored = 1
end
if redis.pcall('GET', KEYS[2]) == ARGV[4] then
  redis.call('DEL', KEYS[2])
end
return stored
