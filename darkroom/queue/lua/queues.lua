-- Every queue: name, how many jobs wait and run, how long the oldest that waits has, how many workers.
-- What an engine holds and has not begun waits like the rest.

local function accepted(id)
  return tonumber(id and redis.call('HGET', key_of(id), 'dr_created') or NOW) or NOW
end

local states = {}
local names = redis.call('SMEMBERS', 'darkroom:queues')
table.sort(names)
for _, name in ipairs(names) do
  local held = redis.call('SMEMBERS', 'darkroom:claimed:' .. name)
  local since = accepted(redis.call('LINDEX', 'rq:queue:' .. name, 0))
  for _, id in ipairs(held) do
    since = math.min(since, accepted(id))
  end
  local workers = 0
  for _, worker in ipairs(redis.call('SMEMBERS', 'rq:workers:' .. name)) do
    workers = workers + redis.call('EXISTS', worker)
  end
  states[#states + 1] = {name, redis.call('LLEN', 'rq:queue:' .. name) + #held,
    redis.call('ZCARD', 'rq:wip:' .. name), unix(NOW - since), workers}
end
return states
