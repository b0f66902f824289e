-- Every queue: its name, how many jobs wait and run, how long the oldest that waits has, its workers,
-- its seconds of work and whether it is paused. What an engine holds and has not begun waits like the
-- rest.

local function accepted(id)
  return tonumber(id and redis.call('HGET', key_of(id), 'dr_created') or NOW) or NOW
end

-- What waits and what is left of what runs.
local function backlog_s(name, waiting, held, running)
  local indexed, known = redis.call('ZRANGE', 'darkroom:work:' .. name, 0, -1, 'WITHSCORES'), 0
  for i = 2, #indexed, 2 do
    known = known + tonumber(indexed[i])
  end
  local sum = known + math.max(waiting - #indexed / 2, 0) * UNKNOWN_WORK_S -- queued by RQ's tools
  for _, id in ipairs(held) do
    sum = sum + work_of(id)
  end
  for _, id in ipairs(running) do
    sum = sum + left_of(id)
  end
  return sum
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
  local waiting, running = redis.call('LLEN', 'rq:queue:' .. name), running_of(name)
  states[#states + 1] = {name, waiting + #held, #running, unix(NOW - since), workers,
    string.format('%.3f', backlog_s(name, waiting, held, running)), is_paused(name) and 1 or 0}
end
return states
