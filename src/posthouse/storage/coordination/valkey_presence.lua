-- The processes that share limits: one says that it lives, or that it leaves.
--
-- KEYS[1] the set of them, each with the moment it was heard of last. ARGV: the
-- process; the moment in seconds, or nothing for this server's; `leave` if it does.
-- Gives how many there are.

local now = tonumber(ARGV[2])
if not now then
  local time = redis.call('TIME')
  now = time[1] + time[2] / 1e6
end
if ARGV[3] == 'leave' then
  redis.call('ZREM', KEYS[1], ARGV[1])
else
  redis.call('ZADD', KEYS[1], string.format('%.6f', now), ARGV[1])
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.6f', now - DEAD))
-- Of before the clock was set back.
redis.call('ZREMRANGEBYSCORE', KEYS[1], string.format('%.6f', now + DEAD), '+inf')
redis.call('PEXPIRE', KEYS[1], DEAD * 1000)
return redis.call('ZCARD', KEYS[1])
