-- Proves that Redis runs scripts and takes writes. A read-only Redis answers PING.
--
-- KEYS[1]  a key of its own, which lives for a second
-- result   status OK
-- retry    harmless

return redis.call('SET', KEYS[1], '1', 'PX', 1000)
