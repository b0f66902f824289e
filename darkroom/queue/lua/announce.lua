-- Say that a worker lives; without another word it is forgotten after so many milliseconds. Returns
-- whether it has been told to drain.
even_when_full()
local key, ttl_ms, queues = unpack(ARGV)
redis.call('HSET', key, 'last_heartbeat', iso(), unpack(ARGV, 4 + queues))
redis.call('PEXPIRE', key, ttl_ms)
redis.call('SADD', 'rq:workers', key)
for i = 4, 3 + queues do
  redis.call('SADD', 'rq:workers:' .. ARGV[i], key)
  redis.call('SADD', 'darkroom:served', ARGV[i])
end
local birth, drain = unpack(redis.call('HMGET', key, 'birth', 'dr_drain'))
return drain == birth and 1 or 0 -- an order is for one process, not for the next of its name
