-- Lease messages that are due to one who sends them, `most` at most; `...` are owners of whom it sends
-- enough already. Of each lane no more than MOST_TO_HOST are sent at once, by all together. Returns of
-- each message: its name, fields, its job, and what to sign it with, or false.
even_when_full()
local token, most = ARGV[1], tonumber(ARGV[2])
local busy, taken = {}, {}
for i = 3, #ARGV do
  busy[ARGV[i]] = true
end

-- Whoever leased these has died, or takes too long.
local function take_back_from(lane)
  local leased = 'darkroom:outbox:sent:' .. lane
  for _, message in ipairs(redis.call('ZRANGEBYSCORE', leased, '-inf', unix(NOW))) do
    redis.call('ZREM', leased, message)
    redis.call('HDEL', message_key(message), 'token')
    redis.call('ZADD', 'darkroom:outbox:due:' .. lane, unix(NOW), message)
  end
end

local function take(message, lane)
  local key = message_key(message)
  redis.call('ZREM', 'darkroom:outbox:due:' .. lane, message)
  if redis.call('EXISTS', key) == 0 then
    return
  end
  redis.call('ZADD', 'darkroom:outbox:sent:' .. lane, unix(NOW + SENDING_S), message)
  redis.call('HSET', key, 'token', token)
  local job, owner = unpack(redis.call('HMGET', key, 'job', 'owner'))
  taken[#taken + 1] = {message, redis.call('HGETALL', key), view(job),
    redis.call('HGET', 'darkroom:webhook_secrets', owner)}
end

for _, lane in ipairs(redis.call('ZRANGEBYSCORE', 'darkroom:outbox', '-inf', unix(NOW), 'LIMIT', 0, 100)) do
  if #taken >= most then
    break
  end
  take_back_from(lane)
  if not busy[lane:match('^[^|]*')] then
    local room = MOST_TO_HOST - redis.call('ZCARD', 'darkroom:outbox:sent:' .. lane)
    room = math.max(math.min(room, most - #taken), 0)
    local due = redis.call('ZRANGEBYSCORE', 'darkroom:outbox:due:' .. lane, '-inf', unix(NOW),
      'LIMIT', 0, room)
    for _, message in ipairs(due) do
      take(message, lane)
    end
  end
  look_again(lane)
end
return taken
