-- Lease the next job of the given queues to an engine. The same token gets the same job again.
local engine, worker, token, min_wait_s, age_limit_s = unpack(ARGV, 1, 5)
local held = redis.call('HGET', 'darkroom:engine:' .. engine, token)
if held then
  return view(held)
end

-- A number as Darkroom writes them: no sign, no exponent, no `inf`, which Lua and Python read apart.
local function plain(text, longest)
  return text and #text <= longest and text:match('^%d+%.?%d*$') and tonumber(text)
end

local function whole(text, longest)
  return plain(text, longest) and text:match('^%d+$')
end

-- When a queued job of ours was accepted. Of anything else: nil, and a queued stranger fails.
local function accepted(id, queue)
  local key = key_of(id)
  if redis.call('TYPE', key).ok ~= 'hash' then
    return nil
  end
  local status, created, queued, attempt, ticket, deadline, priority, model, owner = unpack(
    redis.call('HMGET', key, 'status', 'dr_created', 'dr_queued', 'dr_attempt', 'dr_ticket',
      'dr_deadline', 'dr_priority', 'dr_model', 'dr_owner'))
  local size = redis.call('HSTRLEN', key, 'data')
  if status ~= RQ_WORD.queued then
    return nil
  end
  if size > 0 and size <= LONGEST_DATA and plain(created, 20) and plain(queued, 20)
    and whole(attempt, 6) and whole(ticket, 16) and (not deadline or plain(deadline, 20))
    and (priority == 'high' or priority == 'normal' or priority == 'low') and model and owner then
    return tonumber(created)
  end
  redis.call('HSET', key, 'origin', queue, 'dr_model', (model or ''):sub(1, 200),
    'dr_owner', owner or '')
  redis.call('HDEL', key, 'dr_token')
  settle(id, 'failed', ERROR.malformed)
  return nil
end

-- The first job of a queue, once all that is no queued job has been dropped from before it.
local function head(queue)
  local list = 'rq:queue:' .. queue
  local id = redis.call('LINDEX', list, 0)
  while id do
    local since = accepted(id, queue)
    if since then
      return {id = id, queue = queue, since = since}
    end
    redis.call('LREM', list, 1, id)
    id = redis.call('LINDEX', list, 0)
  end
  redis.call('DEL', 'darkroom:waiting:' .. queue) -- RQ's own tools may have left some behind
end

-- The oldest of the heads that waited too long, else the first that is not to be left to others.
local function choose()
  local oldest, first
  for i = 6, #ARGV do
    local job = head(ARGV[i])
    if job and NOW - job.since > tonumber(age_limit_s) then
      oldest = (oldest and oldest.since <= job.since) and oldest or job
    elseif job and math.abs(NOW - job.since) >= tonumber(min_wait_s) then -- clocks are put back
      first = first or job
    end
  end
  return oldest or first
end

-- RQ's tools can queue an ended job again: take back what its end left behind.
local function revive(id, queue)
  redis.call('HDEL', key_of(id), 'dr_ended', 'dr_expires', 'dr_error', 'dr_done', 'dr_images',
    'dr_timings', 'dr_spent', 'ended_at', 'exc_info')
  redis.call('PERSIST', key_of(id))
  redis.call('ZREM', 'darkroom:expiries', id)
  for _, word in pairs(RQ_WORD) do
    redis.call('ZREM', 'rq:' .. word .. ':' .. queue, id)
  end
  redis.call('SADD', 'darkroom:active:' .. redis.call('HGET', key_of(id), 'dr_owner'), id)
end

local function lease(id, queue)
  local key, member = key_of(id), id .. ':' .. token
  if redis.call('HEXISTS', key, 'dr_ended') == 1 then
    revive(id, queue)
  end
  redis.call('ZREM', 'darkroom:waiting:' .. queue, id)
  redis.call('ZREM', 'darkroom:deadlines', id)
  local attempt = redis.call('HINCRBY', key, 'dr_attempt', 1)
  redis.call('HSET', key, 'status', RQ_WORD.running, 'started_at', iso(), 'last_heartbeat', iso(),
    'origin', queue, 'worker_name', worker, 'dr_started', unix(NOW), 'dr_token', token, 'dr_engine', engine)
  redis.call('ZADD', 'darkroom:leases', unix(NOW + LEASE_S), id)
  redis.call('HSET', 'darkroom:engine:' .. engine, token, id)
  redis.call('ZADD', 'rq:wip:' .. queue, FAR, member)
  redis.call('ZADD', 'rq:executions:' .. id, FAR, token)
  redis.call('HSET', 'rq:execution:' .. member, 'id', token, 'worker_name', worker,
    'created_at', unix(NOW), 'last_heartbeat', unix(NOW))
  emit(id, 'status', cjson.encode({status = 'running', attempt = attempt}))
end

local job = choose()
while job do
  local key = key_of(job.id)
  local attempt, deadline = unpack(redis.call('HMGET', key, 'dr_attempt', 'dr_deadline'))
  redis.call('LPOP', 'rq:queue:' .. job.queue)
  if tonumber(attempt) >= MAX_ATTEMPTS then
    settle(job.id, 'failed', ERROR.poison)
  elseif deadline and tonumber(deadline) <= NOW then
    settle(job.id, 'canceled', ERROR.deadline)
  else
    lease(job.id, job.queue)
    return view(job.id)
  end
  job = choose()
end
return false
