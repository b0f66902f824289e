-- Say that a worker lives; without another word it is forgotten after so many milliseconds.
even_when_full()
local key, ttl_ms, queues = unpack(ARGV)
redis.call('HSET', key, 'last_heartbeat', iso(), unpack(ARGV, 4 + queues))
redis.call('PEXPIRE', key, ttl_ms)
redis.call('SADD', 'rq:workers', key)
for i = 4, 3 + queues do
  redis.call('SADD', 'rq:workers:' .. ARGV[i], key)
  redis.call('SADD', 'darkroom:served', ARGV[i])
end
