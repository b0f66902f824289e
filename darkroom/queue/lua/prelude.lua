-- What all scripts share; __init__.py puts this text, and above it the rules as constants, RQ_WORD
-- and ERROR, before each of them.
--
-- Keys with `rq:` are RQ's own and look as RQ 2.12 writes them; ours begin with `darkroom:`, and so
-- do our fields in RQ's job hash with `dr_`. Keys are made here, not declared: one Redis, no cluster.
--
--   darkroom:ticket             the number of the last job accepted
--   darkroom:jobs               all jobs, by ticket: listings
--   darkroom:queues             names of our queues
--   darkroom:served             names of queues that workers have served, with or without jobs
--   darkroom:waiting:<queue>    jobs never begun yet, by ticket: positions
--   darkroom:work:<queue>       jobs that wait for an engine, by their work in seconds
--   darkroom:claimed:<queue>    jobs that an engine holds and has not begun
--   darkroom:credits            how often a queue was passed over by a higher priority, its oldest job
--                               (`<queue>|oldest`) by others of its own
--   darkroom:leases             claimed and running jobs, by the time at which their lease ends
--   darkroom:reaping            when it was last asked for ended leases, for how long none counts,
--                               and when an engine last died over jobs that are no suspects
--   darkroom:engine:<engine>    token -> job, of the jobs that this engine holds
--   darkroom:active:<owner>     the owner's queued and running jobs: quotas
--   darkroom:deadlines          queued jobs, by deadline
--   darkroom:expiries           ended jobs, by the time at which they are forgotten
--   darkroom:sizes              bytes that each of them takes; darkroom:kept_bytes is their sum
--   darkroom:idem:<hash>        idempotency key -> job and fingerprint
--   darkroom:gone               jobs that were forgotten, by the time at which they were
--   darkroom:events:<job>       stream of events; the channel `darkroom:events` tells readers of each
--   darkroom:bell:...           bounded lists that somebody may be blocking on
--   darkroom:counters           what /metrics shows

-- Time: that of Redis alone, never a client's.

local time = redis.call('TIME')
local NOW_S, NOW = tonumber(time[1]), tonumber(time[1]) + tonumber(time[2]) / 1e6
local FAR = NOW_S + 10 * 365 * 86400 -- score that keeps RQ's own clean-up away

local function unix(seconds)
  return string.format('%.6f', seconds)
end

-- The present moment as RQ writes it; the date after Hinnant's civil_from_days.
local function iso()
  local floor = math.floor
  local day = floor(NOW_S / 86400) + 719468
  local era = floor(day / 146097)
  local doe = day - era * 146097
  local yoe = floor((doe - floor(doe / 1460) + floor(doe / 36524) - floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + floor(yoe / 4) - floor(yoe / 100))
  local mp = floor((5 * doy + 2) / 153)
  local month = mp < 10 and mp + 3 or mp - 9
  local year = yoe + era * 400 + (month <= 2 and 1 or 0)
  local s = NOW_S % 86400
  return string.format('%04d-%02d-%02dT%02d:%02d:%02d.%06dZ', year, month,
    doy - floor((153 * mp + 2) / 5) + 1, floor(s / 3600), floor(s / 60) % 60, s % 60, time[2])
end

local function key_of(id)
  return 'rq:job:' .. id
end

-- Whether it is a job of Darkroom's and, where an owner is given, that owner's.
local function is_ours(id, owner)
  return redis.call('HEXISTS', key_of(id), 'dr_created') == 1
    and (not owner or redis.call('HGET', key_of(id), 'dr_owner') == owner)
end

-- A full Redis refuses a script whose first write needs memory, and lets one pass that has written
-- already. What is accepted must be run to its end even then; only new jobs are refused.
local function even_when_full()
  redis.call('DEL', 'darkroom:nothing')
end

local function count(...)
  redis.call('HINCRBY', 'darkroom:counters', table.concat({...}, '|'), 1)
end

local function emit(id, kind, data)
  local stream = 'darkroom:events:' .. id
  redis.call('XADD', stream, 'MAXLEN', '~', 256, '*', 'event', kind, 'data', data)
  redis.call('EXPIRE', stream, RETENTION_S)
  redis.call('PUBLISH', 'darkroom:events', id .. ' ' .. kind)
end

local function ring(bell, most)
  local key = 'darkroom:bell:' .. bell
  redis.call('LPUSH', key, '1')
  redis.call('LTRIM', key, 0, (most or 64) - 1)
  redis.call('EXPIRE', key, 60)
end

-- A job as queue.py reads it: id, now, tombstone, position, fields and values. The position counts
-- the jobs never begun yet with smaller tickets, so it only ever falls: jobs given back go to the
-- head of the list, but were counted out when they began first.
local function view(id)
  local fields = redis.call('HGETALL', key_of(id))
  if #fields == 0 then
    return {id, unix(NOW), redis.call('ZSCORE', 'darkroom:gone', id) or '', 0, fields}
  end
  local queue = redis.call('HGET', key_of(id), 'origin')
  local rank = queue and redis.call('ZRANK', 'darkroom:waiting:' .. queue, id)
  return {id, unix(NOW), '', rank or 0, fields}
end

-- Take a job from the engine that holds it, if one does; returns that engine.
local function take_back(id)
  local key = key_of(id)
  local queue, token, engine = unpack(redis.call('HMGET', key, 'origin', 'dr_token', 'dr_engine'))
  redis.call('ZREM', 'darkroom:leases', id)
  if not token or not engine then
    redis.call('HDEL', key, 'dr_token', 'dr_engine')
    return nil
  end
  redis.call('HDEL', 'darkroom:engine:' .. engine, token)
  redis.call('SREM', 'darkroom:claimed:' .. queue, id)
  redis.call('ZREM', 'rq:wip:' .. queue, id .. ':' .. token)
  redis.call('DEL', 'rq:execution:' .. id .. ':' .. token, 'rq:executions:' .. id)
  redis.call('HDEL', key, 'dr_token', 'dr_engine', 'dr_claimed')
  ring('room:' .. engine, 1)
  return engine
end

-- Note how many bytes an ended job takes.
local function weigh(id)
  local bytes = 0
  for _, key in ipairs({key_of(id), 'darkroom:events:' .. id}) do
    bytes = bytes + (redis.call('MEMORY', 'USAGE', key, 'SAMPLES', 0) or 0)
  end
  local before = redis.call('HGET', 'darkroom:sizes', id) or 0 -- RQ's tools can bring it back
  redis.call('HSET', 'darkroom:sizes', id, bytes)
  redis.call('INCRBY', 'darkroom:kept_bytes', bytes - before)
end

-- End a job, once: the caller has made sure that it is queued or running.
-- `problem` is the JSON of a JobError, or ''.
local function settle(id, status, problem)
  local key = key_of(id)
  local engine = take_back(id)
  local queue, model, owner, was = unpack(
    redis.call('HMGET', key, 'origin', 'dr_model', 'dr_owner', 'status'))
  if was == RQ_WORD.queued then
    redis.call('LREM', 'rq:queue:' .. queue, 0, id)
    redis.call('ZREM', 'darkroom:work:' .. queue, id)
    redis.call('ZREM', 'darkroom:waiting:' .. queue, id)
    redis.call('ZREM', 'darkroom:deadlines', id)
  end
  redis.call('SREM', 'darkroom:active:' .. owner, id)
  local kept_s = status == 'canceled' and CANCELED_RETENTION_S or RETENTION_S
  local expires, code = unix(NOW + kept_s), ''
  redis.call('HSET', key, 'status', RQ_WORD[status], 'ended_at', iso(), 'dr_ended', unix(NOW),
    'dr_expires', expires)
  if problem ~= '' then
    local why = cjson.decode(problem)
    code = why.code
    redis.call('HSET', key, 'dr_error', problem, 'exc_info', why.code .. ': ' .. why.message)
  end
  redis.call('ZADD', 'rq:' .. RQ_WORD[status] .. ':' .. queue, expires, id)
  redis.call('ZADD', 'darkroom:expiries', expires, id)
  redis.call('EXPIRE', key, kept_s + TOMBSTONE_S) -- should no keeper ever run
  count('finished', model, status, code)
  emit(id, 'done', cjson.encode({status = status, code = code ~= '' and code or cjson.null}))
  redis.call('EXPIRE', 'darkroom:events:' .. id, math.min(3600, kept_s))
  weigh(id)
  return engine
end

-- A number as Darkroom writes them: no sign, no exponent, no `inf`, which Lua and Python read apart.
local function plain(text, longest)
  return text and #text <= longest and text:match('^%d+%.?%d*$') and tonumber(text)
end

-- Fields of a job as text, those that it lacks as nil; a key that RQ's tools made something else of
-- has none.
local function texts(id, ...)
  local found, values = redis.pcall('HMGET', key_of(id), ...), {}
  for i = 1, select('#', ...) do
    values[i] = found[i] or nil
  end
  return unpack(values, 1, select('#', ...))
end

-- Seconds of work that a job was estimated to take alone.
local function work_of(id)
  return plain(texts(id, 'dr_work'), 20) or UNKNOWN_WORK_S
end

-- What is left of it, of a job that runs.
local function left_of(id)
  local readable, progress = pcall(cjson.decode, texts(id, 'dr_progress') or '')
  local ratio = readable and type(progress) == 'table' and tonumber(progress.ratio) or 0
  return work_of(id) * (1 - math.min(math.max(ratio, 0), 1))
end

-- The jobs of a queue that run.
local function running_of(queue)
  local ids = {}
  for i, member in ipairs(redis.call('ZRANGE', 'rq:wip:' .. queue, 0, -1)) do
    ids[i] = member:match('^[^:]*')
  end
  return ids
end

-- Let a queued job be found by its work.
local function index_by_work(id, queue)
  redis.call('ZADD', 'darkroom:work:' .. queue, work_of(id), id)
end

-- Put a job that an engine holds back at the head of its queue. If it had begun, all see that it
-- waits again, and unless its attempt is charged it counts for nothing.
local function requeue(id, charged)
  local key = key_of(id)
  take_back(id)
  local queue, model, deadline, status = unpack(
    redis.call('HMGET', key, 'origin', 'dr_model', 'dr_deadline', 'status'))
  if status == RQ_WORD.running then
    if not charged then
      redis.call('HINCRBY', key, 'dr_attempt', -1)
    end
    redis.call('HSET', key, 'status', RQ_WORD.queued, 'enqueued_at', iso(), 'dr_queued', unix(NOW))
    redis.call('HDEL', key, 'started_at', 'dr_started', 'worker_name', 'dr_progress')
    if deadline then
      redis.call('ZADD', 'darkroom:deadlines', deadline, id)
    end
    emit(id, 'status', cjson.encode({status = 'queued'}))
  end
  redis.call('LPUSH', 'rq:queue:' .. queue, id)
  index_by_work(id, queue)
  ring('model:' .. model)
end

-- Remove every trace of an ended job but its images; returns the JSON of their records, or ''.
local function forget(id)
  local queue, images, idem = unpack(
    redis.call('HMGET', key_of(id), 'origin', 'dr_images', 'dr_idem'))
  for _, registry in ipairs(queue and {'finished', 'failed', 'canceled'} or {}) do
    redis.call('ZREM', 'rq:' .. registry .. ':' .. queue, id)
  end
  redis.call('ZREM', 'darkroom:jobs', id)
  redis.call('ZREM', 'darkroom:expiries', id)
  redis.call('DECRBY', 'darkroom:kept_bytes', redis.call('HGET', 'darkroom:sizes', id) or 0)
  redis.call('HDEL', 'darkroom:sizes', id)
  if idem and redis.call('HGET', idem, 'job') == id then
    redis.call('DEL', idem)
  end
  redis.call('DEL', key_of(id), 'darkroom:events:' .. id)
  return images or ''
end
