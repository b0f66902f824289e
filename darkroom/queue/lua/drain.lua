-- Tell a worker to drain, which it hears when it next says that it lives. Returns what it announced;
-- nil: no such worker lives. A repeat changes nothing.
local key = ARGV[1]
local info, birth, seen = unpack(redis.call('HMGET', key, 'dr_info', 'birth', 'last_heartbeat'))
if not info or not birth then
  return false
end
even_when_full()
redis.call('HSET', key, 'dr_drain', birth)
return {info, seen}
