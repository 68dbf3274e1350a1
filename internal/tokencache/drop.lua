-- Removes the token of a generation or an older one, never a newer. A generation that the fleet remembers as refused stays.
--
-- KEYS[1]  the token's entry
-- KEYS[2]  the refused generation
-- ARGV[1]  the generation
-- result   0, or the milliseconds for which the generation is still remembered as refused
-- retry    harmless

if redis.pcall('GET', KEYS[2]) == ARGV[1] then
  return redis.call('PTTL', KEYS[2])
end
local there = redis.pcall('GET', KEYS[1])
local generation = type(there) == 'string' and tonumber(string.match(there, '^(%d+):'))
if generation and generation <= tonumber(ARGV[1]) then
  redis.call('DEL', KEYS[1])
end
return 0
