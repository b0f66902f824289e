-- Let a message that was given up be sent again, as if it was new. Returns its fields as they are now;
-- nil: the owner has no such message. A repeat changes nothing.
even_when_full()
local message, owner = unpack(ARGV)
local key = message_key(message)
local its_owner, lane = unpack(redis.call('HMGET', key, 'owner', 'lane'))
if its_owner ~= owner then
  return false
end
if redis.call('ZREM', 'darkroom:outbox:failed:' .. owner, message) == 1 then
  redis.call('PERSIST', key)
  redis.call('HSET', key, 'attempts', 0)
  redis.call('HDEL', key, 'failed')
  redis.call('ZADD', 'darkroom:outbox:of:' .. owner, redis.call('HGET', key, 'at'), message)
  send_in(message, lane, 0)
end
return redis.call('HGETALL', key)
