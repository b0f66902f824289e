-- All that was noted is removed: forget which pictures the owner had sent by then, what was told of
-- their jobs, what they chose for later ones, and the note itself, unless it was made anew.
even_when_full()
local owner, noted = unpack(ARGV)
redis.call('ZREMRANGEBYSCORE', 'darkroom:inputs:' .. owner, '-inf', noted:match(' (.*)$'))
redis.call('DEL', 'darkroom:all_events:' .. owner, 'darkroom:choices:' .. owner)
local failed = 'darkroom:outbox:failed:' .. owner
for _, message in ipairs(redis.call('ZRANGE', failed, 0, -1)) do
  redis.call('DEL', message_key(message))
end
redis.call('DEL', failed)
if redis.call('HGET', 'darkroom:erasures', owner) == noted then
  redis.call('HDEL', 'darkroom:erasures', owner)
end
