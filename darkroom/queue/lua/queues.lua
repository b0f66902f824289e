-- Every queue: name, how many jobs wait and run, how long the head has waited, how many workers.
local states = {}
local names = redis.call('SMEMBERS', 'darkroom:queues')
table.sort(names)
for _, name in ipairs(names) do
  local first = redis.call('LINDEX', 'rq:queue:' .. name, 0)
  local since = first and tonumber(redis.call('HGET', key_of(first), 'dr_created') or NOW) or NOW
  local workers = 0
  for _, worker in ipairs(redis.call('SMEMBERS', 'rq:workers:' .. name)) do
    workers = workers + redis.call('EXISTS', worker)
  end
  states[#states + 1] = {name, redis.call('LLEN', 'rq:queue:' .. name),
    redis.call('ZCARD', 'rq:wip:' .. name), unix(NOW - since), workers}
end
return states
