-- Accept a job, or say why not; all or nothing. A repeat of the same call changes nothing.
local id, model, priority, owner, idem, fingerprint, max_active, deadline_s,
  data, description, warnings, tags, metadata, work_s = unpack(ARGV)
local key = key_of(id)
local queue = model .. '.' .. priority

if redis.call('EXISTS', key) == 1 then
  return {'accepted', view(id)}
end

if idem ~= '' then
  local known, with = unpack(redis.call('HMGET', idem, 'job', 'fingerprint'))
  if known and is_ours(known) then
    if with ~= fingerprint then
      return {'mismatch', known}
    end
    return {'replayed', view(known)}
  end
end

-- Nothing may be written before the quota and the room in the queue are known: a full Redis refuses
-- the first write, and so the whole job.
local active, stale = 'darkroom:active:' .. owner, {}
if max_active ~= '' and redis.call('SCARD', active) >= tonumber(max_active) then
  local members = redis.call('SMEMBERS', active)
  for _, member in ipairs(members) do -- some may have been canceled by RQ's own tools
    local status = redis.call('HGET', key_of(member), 'status')
    if status ~= RQ_WORD.queued and status ~= RQ_WORD.running then
      stale[#stale + 1] = member
    end
  end
  if #members - #stale >= tonumber(max_active) then
    return {'too_many', #members - #stale}
  end
end

local queued = 0
for _, name in ipairs(redis.call('SMEMBERS', 'darkroom:queues')) do
  queued = queued + redis.call('LLEN', 'rq:queue:' .. name)
    + redis.call('SCARD', 'darkroom:claimed:' .. name)
end
if queued >= MAX_QUEUED then
  return {'full', queued}
end

if data == '' then -- it was only asked whether there is room
  return {'room'}
end

local ticket = redis.call('INCR', 'darkroom:ticket')
redis.call('HSET', key, 'status', RQ_WORD.queued, 'created_at', iso(), 'enqueued_at', iso(),
  'origin', queue, 'data', data, 'description', description,
  'dr_created', unix(NOW), 'dr_queued', unix(NOW), 'dr_ticket', ticket, 'dr_attempt', 0,
  'dr_model', model, 'dr_priority', priority, 'dr_owner', owner,
  'dr_warnings', warnings, 'dr_tags', tags, 'dr_metadata', metadata)
if work_s ~= '' then -- seconds that it is likely to take alone
  redis.call('HSET', key, 'dr_work', work_s)
end
if deadline_s ~= '' then
  local deadline = unix(NOW + tonumber(deadline_s))
  redis.call('HSET', key, 'dr_deadline', deadline)
  redis.call('ZADD', 'darkroom:deadlines', deadline, id)
end
for _, member in ipairs(stale) do
  redis.call('SREM', active, member)
end
redis.call('SADD', active, id)
redis.call('SADD', 'rq:queues', 'rq:queue:' .. queue)
redis.call('SADD', 'darkroom:queues', queue)
redis.call('ZADD', 'darkroom:jobs', ticket, id)
redis.call('ZADD', 'darkroom:waiting:' .. queue, ticket, id)
redis.call('RPUSH', 'rq:queue:' .. queue, id)
index_by_work(id, queue)
if idem ~= '' then
  redis.call('HSET', key, 'dr_idem', idem)
  redis.call('HSET', idem, 'job', id, 'fingerprint', fingerprint)
  redis.call('EXPIRE', idem, 86400)
end
count('submitted', model)
emit(id, 'status', cjson.encode({status = 'queued'}))
ring('model:' .. model)
return {'accepted', view(id)}
