-- Accept a job, or the jobs of a batch, or say why not; all or nothing. A repeat of the same call changes
-- nothing. Without jobs: say whether so many would be accepted.
local owner, idem, fingerprint, max_active, max_queued, gpu_s, work_s, per_minute, batch, grid, size, call,
  service, is_repeat = unpack(ARGV, 1, 14)
local jobs_from = 15
local is_asked = #ARGV < jobs_from
local made = batch ~= '' and batch or ARGV[jobs_from] or ''
size, per_minute = tonumber(size), tonumber(per_minute)

local function as_told(id)
  return batch ~= '' and view_batch(id) or view(id)
end

if redis.call('EXISTS', batch ~= '' and batch_key(made) or key_of(made)) == 1 then
  return {'accepted', as_told(made)}
end

if idem ~= '' then
  local known, with = unpack(redis.call('HMGET', idem, 'job', 'fingerprint'))
  if known and (is_ours(known) or is_batch(known)) then
    if with ~= fingerprint or (batch ~= '') ~= (is_batch(known) ~= false) then
      return {'mismatch', known}
    end
    redis.call('ZREM', 'darkroom:left', known)
    return {'replayed', as_told(known)}
  end
end

-- The job of an equal call that was cut off, or whose service died, the oldest first. One that ended
-- long ago is of a call that nobody repeats any more.
local function cut_off()
  local calls = redis.call('HKEYS', call)
  table.sort(calls)
  for _, id in ipairs(calls) do
    local status, ended = texts(id, 'status', 'dr_ended')
    local waits = redis.call('HGET', call, id)
    local is_free = waits == ''
      or redis.call('PUBSUB', 'NUMSUB', 'darkroom:service:' .. waits)[2] == 0
    local is_fresh = not ended or NOW - (plain(ended, 20) or 0) < REPEATED_WITHIN_S
    if is_free and is_fresh and status ~= RQ_WORD.canceled and is_ours(id, owner) then
      return id
    end
  end
end

local found = is_repeat == '1' and cut_off()
if found then
  redis.call('ZREM', 'darkroom:left', found)
  redis.call('HSET', call, found, service)
  return {'replayed', view(found)}
end

-- Nothing may be written before the quotas and the room in the queue are known: a full Redis refuses
-- the first write, and so all jobs.
local active, stale = 'darkroom:active:' .. owner, {}
local most, most_queued = tonumber(max_active) or 1 / 0, tonumber(max_queued) or 1 / 0
if redis.call('SCARD', active) + size > math.min(most, most_queued) then
  local members, waiting = redis.call('SMEMBERS', active), 0
  for _, member in ipairs(members) do -- some may have been canceled by RQ's own tools
    local status = redis.call('HGET', key_of(member), 'status')
    if status == RQ_WORD.queued then
      waiting = waiting + 1
    elseif status ~= RQ_WORD.running then
      stale[#stale + 1] = member
    end
  end
  if #members - #stale + size > most then
    return {'too_many', #members - #stale}
  elseif waiting + size > most_queued then
    return {'too_many_queued', waiting}
  end
end

local queued = 0
for _, name in ipairs(redis.call('SMEMBERS', 'darkroom:queues')) do
  queued = queued + redis.call('LLEN', 'rq:queue:' .. name)
    + redis.call('SCARD', 'darkroom:claimed:' .. name)
end
if queued + size > MAX_QUEUED then
  return {'full', queued}
end

local left -- of the requests of this minute: one was taken before the body was read
if per_minute and size > 1 then
  left = requests_left(owner, per_minute) - (size - 1)
  if left < 0 then
    return {'rate_limited', rate(false, left + size - 1, per_minute)}
  end
end

local spent = spent_ms(owner)
if gpu_s ~= '' and spent + math.ceil(work_s * 1000) > gpu_s * 1000 then
  return {'over_budget', {spent, (TODAY + 1) * DAY_S - NOW_S, work_s}}
end

if is_asked then
  return {'room'}
end

local function accept(id, model, priority, deadline_s, data, description, warnings, tags, metadata,
    work_s, parent, webhook, ttl_s, preview)
  local key, queue = key_of(id), model .. '.' .. priority
  local ticket = redis.call('INCR', 'darkroom:ticket')
  redis.call('HSET', key, 'status', RQ_WORD.queued, 'created_at', iso(), 'enqueued_at', iso(),
    'origin', queue, 'data', data, 'description', description,
    'dr_created', unix(NOW), 'dr_queued', unix(NOW), 'dr_ticket', ticket, 'dr_attempt', 0,
    'dr_model', model, 'dr_priority', priority, 'dr_owner', owner,
    'dr_warnings', warnings, 'dr_tags', tags, 'dr_metadata', metadata)
  if work_s ~= '' then -- seconds that it is likely to take alone
    redis.call('HSET', key, 'dr_work', work_s)
  end
  charge(id, owner, string.format('%d', math.ceil(work_of(id) * 1000)))
  if parent ~= '' then
    redis.call('HSET', key, 'dr_parent', parent)
  end
  if webhook ~= '' then
    redis.call('HSET', key, 'dr_webhook', webhook)
  end
  if ttl_s ~= '' then
    redis.call('HSET', key, 'dr_ttl', ttl_s)
  end
  if preview ~= '' then -- after how many steps each to show one; 0: none
    redis.call('HSET', key, 'dr_preview', preview)
  end
  if batch ~= '' then
    redis.call('HSET', key, 'dr_batch', batch)
  elseif idem ~= '' then
    redis.call('HSET', key, 'dr_idem', idem)
  end
  if deadline_s ~= '' then
    local deadline = unix(NOW + tonumber(deadline_s))
    redis.call('HSET', key, 'dr_deadline', deadline)
    redis.call('ZADD', 'darkroom:deadlines', deadline, id)
  end
  redis.call('SADD', active, id)
  redis.call('SADD', 'rq:queues', 'rq:queue:' .. queue)
  redis.call('SADD', 'darkroom:queues', queue)
  redis.call('ZADD', 'darkroom:jobs', ticket, id)
  redis.call('ZADD', 'darkroom:waiting:' .. queue, ticket, id)
  redis.call('RPUSH', 'rq:queue:' .. queue, id)
  index(id, queue)
  count('submitted', model)
  emit(id, 'status', cjson.encode({status = 'queued'}))
  ring('model:' .. model)
end

local ids, inputs, at = {}, {}, jobs_from
for place = 1, size do
  accept(unpack(ARGV, at, at + 13))
  ids[place] = ARGV[at]
  local inputs_end = at + 14 + tonumber(ARGV[at + 14])
  for i = at + 15, inputs_end do
    inputs[#inputs + 1] = ARGV[i]
  end
  at = inputs_end + 1
end
for _, member in ipairs(stale) do
  redis.call('SREM', active, member)
end
if batch ~= '' then
  redis.call('HSET', batch_key(batch), 'owner', owner, 'created', unix(NOW), 'grid', grid, 'idem', idem,
    'jobs', table.concat(ids, ' '), 'size', size, 'kept', size, 'open', size)
end
if idem ~= '' then
  redis.call('HSET', idem, 'job', made, 'fingerprint', fingerprint)
  redis.call('EXPIRE', idem, 86400)
end
if call ~= '' then
  redis.call('HSET', key_of(made), 'dr_call', call)
  redis.call('HSET', call, made, service)
  redis.call('EXPIRE', call, 3600)
end
if #inputs > 0 then -- they have sent these pictures, or a job of theirs made them
  local sent, kept_s = 'darkroom:inputs:' .. owner, 2 * math.max(RETENTION_S, 3600)
  for _, input in ipairs(inputs) do
    redis.call('ZADD', sent, unix(NOW), input)
  end
  redis.call('ZREMRANGEBYSCORE', sent, '-inf', unix(NOW - kept_s))
  redis.call('EXPIRE', sent, kept_s)
end
if left then
  leave_requests(owner, left)
end
return {'accepted', as_told(made), left and rate(true, left, per_minute)}
