-- Say what came of sending a message: delivered, gone (its receiver wants no more of the job), failed (it
-- is given up), or again (in so many seconds). Refused to one who does not hold it; returns 1 or 0.
even_when_full()
local message, token, outcome, seconds, why = unpack(ARGV)
local key = message_key(message)
local holder, lane, owner, job = unpack(redis.call('HMGET', key, 'token', 'lane', 'owner', 'job'))
if holder ~= token then
  return 0
end
redis.call('HINCRBY', key, 'attempts', 1)
if outcome == 'delivered' then
  redis.call('ZREM', 'darkroom:outbox:sent:' .. lane, message)
  redis.call('ZREM', 'darkroom:outbox:of:' .. owner, message)
  redis.call('DEL', key)
  look_again(lane)
  count('webhooks', 'delivered')
elseif outcome == 'again' then
  redis.call('ZREM', 'darkroom:outbox:sent:' .. lane, message)
  redis.call('HDEL', key, 'token')
  redis.call('HSET', key, 'why', why)
  send_in(message, lane, tonumber(seconds))
  count('webhooks', 'repeated')
else
  give_up(message, why)
  if outcome == 'gone' and is_ours(job) then
    redis.call('HDEL', key_of(job), 'dr_webhook')
  end
end
return 1
