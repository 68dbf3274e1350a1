-- Replaces the token of a generation, an older one or none with a tombstone. A newer token stays. The tombstone makes save.lua
-- turn down such a token if it comes later. If a note says that the generation is refused, nothing changes.
--
-- KEYS[1]  the token's entry, or its tombstone
-- KEYS[2]  the note of the last refusal, which begins with its generation and a colon
-- ARGV[1]  the generation
-- ARGV[2]  the tombstone, which begins with the generation and an exclamation mark
-- ARGV[3]  the tombstone's life in milliseconds
-- result   {'', 0}, or {note, its PTTL} if the generation is refused: then nothing has changed
-- retry    harmless

local note = redis.pcall('GET', KEYS[2])
if type(note) == 'string' and string.match(note, '^(%d+):') == ARGV[1] then
  return {note, redis.call('PTTL', KEYS[2])}
end
local there = redis.pcall('GET', KEYS[1])
local generation = type(there) == 'string' and tonumber(string.match(there, '^(%d+)[:!]'))
if not generation or generation <= tonumber(ARGV[1]) then
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
end
return {'', 0}
