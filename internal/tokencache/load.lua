-- Reads everything that is kept for a key. A part that isn't a string, which no replica wrote, reads as ''.
--
-- KEYS[1]  the token's entry, or its tombstone
-- KEYS[2]  the lock
-- KEYS[3]  the note of the last failure
-- KEYS[4]  the note of the last refusal
-- result   {TIME, entry, its PTTL, the lock's PTTL, note, its PTTL, note, its PTTL}
-- retry    harmless: it changes nothing

local function get(name)
  local v = redis.pcall('GET', name)
  if type(v) == 'string' then
    return v
  end
  return ''
end

return {
  redis.call('TIME'),
  get(KEYS[1]), redis.call('PTTL', KEYS[1]),
  redis.call('PTTL', KEYS[2]),
  get(KEYS[3]), redis.call('PTTL', KEYS[3]),
  get(KEYS[4]), redis.call('PTTL', KEYS[4]),
}
