-- Checks that Redis runs scripts and accepts writes. PING isn't enough: a read-only Redis answers it.
--
-- KEYS[1]  a key for probes alone; it expires after a second
-- result   status OK
-- retry    harmless

return redis.call('SET', KEYS[1], '1', 'PX', 1000)
