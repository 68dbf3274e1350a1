-- Releases the lock, and leaves a note of failure for the other replicas.
--
-- KEYS[1]  the lock
-- KEYS[2]  the note of the last failure
-- ARGV[1]  the name of the lock's holder
-- ARGV[2]  the note
-- ARGV[3]  its life in milliseconds; 0: no note
-- result   1 if the caller held the lock; otherwise 0, and nothing has changed
-- retry    answers 0 and changes nothing

if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('DEL', KEYS[1])
if tonumber(ARGV[3]) > 0 then
  redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
end
return 1
