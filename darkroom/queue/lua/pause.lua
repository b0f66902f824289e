-- Let the queues of a model, or of all (`*`), wait or go on. Going on with all ends every pause. Returns
-- what is paused then.
even_when_full()
local verb, model = unpack(ARGV)
if verb == 'pause' then
  redis.call('SADD', 'darkroom:paused', model)
else
  redis.call(unpack(model == '*' and {'DEL', 'darkroom:paused'} or {'SREM', 'darkroom:paused', model}))
  for _, queue in ipairs(redis.call('SMEMBERS', 'darkroom:queues')) do
    ring('model:' .. queue:match('^(.*)%.'))
  end
end
return redis.call('SMEMBERS', 'darkroom:paused')
