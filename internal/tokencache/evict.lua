-- Removes an entry that doesn't open, or a note, unless it has been replaced.
--
-- KEYS[1]  the entry or note
-- ARGV[1]  its value as it was read
-- result   how many were removed: 1 or 0
-- retry    harmless

if redis.pcall('GET', KEYS[1]) == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
return 0
