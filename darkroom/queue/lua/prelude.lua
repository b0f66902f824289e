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
--   darkroom:paused             models whose jobs wait until an operator resumes them; `*` for all
--   darkroom:waiting:<queue>    jobs never begun yet, by ticket: positions
--   darkroom:work:<queue>       jobs that wait for an engine, by their work in seconds
--   darkroom:owned:<queue>|<owner>      those of one owner, by ticket
--   darkroom:owned_work:<queue>|<owner> the same, by their work in seconds
--   darkroom:owners:<queue>     owners who have such jobs, by their next turn
--   darkroom:turns:<queue>      owners who have had their turn in this round, by their next one
--   darkroom:claimed:<queue>    jobs that an engine holds and has not begun
--   darkroom:credits            how often a queue was passed over by a higher priority, an owner's
--                               oldest job in it (`<queue>|oldest|<owner>`) by others of their own;
--                               and the round that the queue is in (`<queue>|round`)
--   darkroom:leases             claimed and running jobs, by the time at which their lease ends
--   darkroom:reaping            when it was last asked for ended leases, for how long none counts,
--                               and when an engine last died over jobs that are no suspects
--   darkroom:engine:<engine>    token -> job, of the jobs that this engine holds
--   darkroom:active:<owner>     the owner's queued and running jobs: quotas
--   darkroom:choices:<owner>    what the owner chose for later requests; choices.py reads and writes it
--   darkroom:batch:<batch>      jobs that were asked for together: their ids (`jobs`), how many they
--                               were (`size`), are there still (`kept`) and have not ended (`open`),
--                               `owner`, `created`, `idem`, and `grid`, which batches.py reads
--   darkroom:deadlines          queued jobs, by deadline
--   darkroom:expiries           ended jobs, by the time at which they are forgotten
--   darkroom:sizes              bytes that each of them takes; darkroom:kept_bytes is their sum
--   darkroom:idem:<hash>        idempotency key -> job, or batch, and fingerprint
--   darkroom:calls:<hash>       of equal calls that wait: job -> service that holds the connection, or ''
--   darkroom:left               jobs whose client went away, by the time at which they are canceled
--   darkroom:gone               jobs that were forgotten, by the time at which they were;
--                               darkroom:gone_owners has the owners of those that had one
--   darkroom:images             finished picture -> its job
--   darkroom:inputs:<owner>     input pictures that the owner sent, by the time of the last job
--   darkroom:file:<id>          owner -> JSON, of those who keep this picture as a file
--   darkroom:files:<owner>      files that the owner keeps, by ticket; darkroom:all_files those of all
--   darkroom:file_bytes         owner -> bytes that their files count as
--   darkroom:file_expiries      `<id>|<owner>` by the time at which it is let go of
--   darkroom:erasures           owners all of whose things are being removed -> up to which ticket and time
--   darkroom:url_secrets        what addresses are signed with
--   darkroom:loose_inputs       input pictures that something let go of: perhaps nobody has them now
--   darkroom:events:<job>       stream of events; the channel `darkroom:events` tells readers of each
--   darkroom:all_events         the last events of all jobs; darkroom:all_events:<owner> those of the
--                               jobs of one owner
--   darkroom:preview:<job>      the latest early picture of a running job
--   darkroom:bell:...           bounded lists that somebody may be blocking on
--   darkroom:counters           what /metrics shows
--   darkroom:requests:<key>     how many requests a key of the API may make now, and when that was so
--   darkroom:message:<message>  a webhook's message that was not delivered
--   darkroom:outbox             lanes with such messages, by when to look at them. A lane has those of
--                               one owner to one host (`<owner>|<host>`)
--   darkroom:outbox:due:<lane>  its messages that wait, by when to send them
--   darkroom:outbox:sent:<lane> those that a keeper is sending, by the time at which its lease ends
--   darkroom:outbox:of:<owner>  all of an owner's that are not given up, by the time of what they tell
--   darkroom:outbox:failed:<owner>      those that were given up, by the time at which they were
--   darkroom:webhook_secrets    what an owner's messages are signed with: JSON
--   darkroom:gpu:<owner>|<day>  milliseconds of devices' work of the jobs that the owner sent that day
--   darkroom:keys               keys of the API, by id: JSON, with a hash of the secret

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

local function preview_key(id)
  return 'darkroom:preview:' .. id
end

local function batch_key(id)
  return 'darkroom:batch:' .. id
end

-- Whether it is a job of Darkroom's and, where an owner is given, that owner's.
local function is_ours(id, owner)
  return redis.call('HEXISTS', key_of(id), 'dr_created') == 1
    and (not owner or redis.call('HGET', key_of(id), 'dr_owner') == owner)
end

-- Whether there is such a batch and, where an owner is given, it is theirs.
local function is_batch(id, owner)
  local its_owner = redis.call('HGET', batch_key(id), 'owner')
  return its_owner and (not owner or owner == its_owner)
end

-- A full Redis refuses a script whose first write needs memory, and lets one pass that has written
-- already. What is accepted must be run to its end even then; only new jobs are refused.
local function even_when_full()
  redis.call('DEL', 'darkroom:nothing')
end

local function count(...)
  redis.call('HINCRBY', 'darkroom:counters', table.concat({...}, '|'), 1)
end

local function append(stream, most, kept_s, ...)
  redis.call('XADD', stream, 'MAXLEN', '~', most, '*', ...)
  redis.call('EXPIRE', stream, kept_s)
end

-- Let an event of a job follow those that it had, for all who may hear of it: by itself, among the
-- events of all jobs of its owner, and among those of all jobs there are.
local function emit(id, kind, data)
  local owner, news = redis.call('HGET', key_of(id), 'dr_owner') or '', id .. ' ' .. kind
  append('darkroom:events:' .. id, 256, RETENTION_S, 'event', kind, 'data', data)
  append('darkroom:all_events', MOST_EVENTS, EVENTS_S, 'event', kind, 'data', data, 'job', id)
  if owner ~= '' then
    append('darkroom:all_events:' .. owner, MOST_EVENTS, EVENTS_S,
      'event', kind, 'data', data, 'job', id)
    news = news .. ' ' .. owner
  end
  redis.call('PUBLISH', 'darkroom:events', news)
end

local function ring(bell, most)
  local key = 'darkroom:bell:' .. bell
  redis.call('LPUSH', key, '1')
  redis.call('LTRIM', key, 0, (most or 64) - 1)
  redis.call('EXPIRE', key, 60)
end

local paused -- as it was when this script asked first

-- Whether the jobs of a queue wait until an operator resumes it.
local function is_paused(queue)
  if not paused then
    paused = {}
    for _, model in ipairs(redis.call('SMEMBERS', 'darkroom:paused')) do
      paused[model] = true
    end
  end
  return paused['*'] or paused[queue:match('^(.*)%.')] or false
end

-- A job as queue.py reads it: id, now, tombstone, position, fields and values, among them whether its
-- queue is paused. The position counts the jobs never begun yet with smaller tickets, so it only ever
-- falls: jobs given back go to the head of the list, but were counted out when they began first.
local function view(id)
  local fields = redis.call('HGETALL', key_of(id))
  if #fields == 0 then
    local owner = redis.call('HGET', 'darkroom:gone_owners', id)
    return {id, unix(NOW), redis.call('ZSCORE', 'darkroom:gone', id) or '', 0,
      owner and {'dr_owner', owner} or {}}
  end
  local queue = redis.call('HGET', key_of(id), 'origin')
  local rank = queue and redis.call('ZRANK', 'darkroom:waiting:' .. queue, id)
  if queue and is_paused(queue) then
    fields[#fields + 1] = 'dr_paused'
    fields[#fields + 1] = '1'
  end
  return {id, unix(NOW), '', rank or 0, fields}
end

-- The ids of the jobs of a batch, in order, also of those that are gone.
local function jobs_of(batch)
  local ids = {}
  for id in redis.call('HGET', batch_key(batch), 'jobs'):gmatch('%S+') do
    ids[#ids + 1] = id
  end
  return ids
end

-- A batch as batches.py reads it: id, now, fields, and of each job its id and fields.
local function view_batch(id)
  local rows = {}
  for i, job in ipairs(jobs_of(id)) do
    rows[i] = {job, redis.call('HMGET', key_of(job), 'status', 'dr_expires', 'dr_images', 'dr_error',
      'dr_warnings', 'dr_end_warnings')}
  end
  return {id, unix(NOW), redis.call('HMGET', batch_key(id), 'created', 'grid'), rows}
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
  redis.call('DEL', preview_key(id))
  ring('room:' .. engine, 1)
  return engine
end

-- The turn at which an owner is next in a queue: once in a round, or as often as their key weighs, and
-- whoever comes takes part in the present one. The least goes first.
local function turn_of(owner, queue)
  local round = tonumber(redis.call('HGET', 'darkroom:credits', queue .. '|round') or 0)
  return math.max(tonumber(redis.call('ZSCORE', 'darkroom:turns:' .. queue, owner) or 0), round)
end

-- Let a job that waits be no more found by its owner and work.
local function unindex(id, queue, owner)
  local of_owner = queue .. '|' .. owner
  redis.call('ZREM', 'darkroom:work:' .. queue, id)
  redis.call('ZREM', 'darkroom:owned_work:' .. of_owner, id)
  if redis.call('ZREM', 'darkroom:owned:' .. of_owner, id) == 1
    and redis.call('EXISTS', 'darkroom:owned:' .. of_owner) == 0 then
    redis.call('ZREM', 'darkroom:owners:' .. queue, owner)
    redis.call('HDEL', 'darkroom:credits', queue .. '|oldest|' .. owner)
  end
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

-- What an owner's jobs cost: each its estimated work when it is accepted, and once it has ended what it
-- took, both for the day on which it was accepted.

local TODAY = math.floor(NOW_S / DAY_S)

local function cost_key(owner, day)
  return 'darkroom:gpu:' .. owner .. '|' .. day
end

local function spent_ms(owner)
  return tonumber(redis.call('GET', cost_key(owner, TODAY)) or 0)
end

local function charge(id, owner, work_ms)
  local key = cost_key(owner, TODAY)
  redis.call('INCRBY', key, work_ms)
  redis.call('EXPIRE', key, 8 * DAY_S)
  redis.call('HSET', key_of(id), 'dr_charged', work_ms, 'dr_charged_on', TODAY)
end

-- Seconds of devices in what an engine told of a job; nil: it told none.
local function device_s(told)
  local readable, seconds = pcall(cjson.decode, told or '')
  local device = readable and type(seconds) == 'table' and tonumber(seconds.device)
  return device and device > 0 and device < 1e9 and device or nil
end

-- What a job took that is about to end, in all attempts; where no engine told, of its work what was done.
local function took_s(id, status, was)
  local timings, spent = texts(id, 'dr_timings', 'dr_spent')
  local done = status == 'succeeded' and work_of(id)
    or was == RQ_WORD.running and work_of(id) - left_of(id)
  return device_s(timings) or device_s(spent) or done or 0
end

-- Charge what a job took in place of what was expected.
local function correct_charge(id, status, owner, was)
  local charged, day = texts(id, 'dr_charged', 'dr_charged_on')
  if plain(charged, 15) and plain(day, 10) then
    local took_ms = string.format('%d', math.ceil(took_s(id, status, was) * 1000))
    local key = cost_key(owner, day)
    if redis.call('EXISTS', key) == 1 and redis.call('INCRBY', key, took_ms - charged) <= 0 then
      redis.call('DEL', key)
    end
    redis.call('HSET', key_of(id), 'dr_charged', took_ms)
  end
end

-- Note how many bytes an ended job takes, and its share of its batch.
local function weigh(id)
  local batch, bytes = redis.call('HGET', key_of(id), 'dr_batch'), 0
  local size = batch and redis.call('HGET', batch_key(batch), 'size')
  if size then
    bytes = math.floor(redis.call('MEMORY', 'USAGE', batch_key(batch), 'SAMPLES', 0) / size)
  end
  for _, key in ipairs({key_of(id), 'darkroom:events:' .. id}) do
    bytes = bytes + (redis.call('MEMORY', 'USAGE', key, 'SAMPLES', 0) or 0)
  end
  local before = redis.call('HGET', 'darkroom:sizes', id) or 0 -- RQ's tools can bring it back
  redis.call('HSET', 'darkroom:sizes', id, bytes)
  redis.call('INCRBY', 'darkroom:kept_bytes', bytes - before)
end

-- Note when to look at a lane again: when its next message is due or the next lease ends; never in the
-- past, so that lanes take turns.
local function look_again(lane)
  local due, leased = 'darkroom:outbox:due:' .. lane, 'darkroom:outbox:sent:' .. lane
  local next_due = tonumber(redis.call('ZRANGE', due, 0, 0, 'WITHSCORES')[2] or 1 / 0)
  local next_end = tonumber(redis.call('ZRANGE', leased, 0, 0, 'WITHSCORES')[2] or 1 / 0)
  local at = next_end
  if redis.call('ZCARD', leased) < MOST_TO_HOST then
    at = math.min(next_due, next_end)
  end
  if at < 1 / 0 then
    redis.call('ZADD', 'darkroom:outbox', unix(math.max(at, NOW)), lane)
  else
    redis.call('ZREM', 'darkroom:outbox', lane)
  end
end

-- Let a message be sent once so many seconds are over.
local function send_in(message, lane, seconds)
  redis.call('ZADD', 'darkroom:outbox:due:' .. lane, unix(NOW + seconds), message)
  look_again(lane)
  ring('outbox', 1)
end

local function message_key(message)
  return 'darkroom:message:' .. message
end

-- Send a message no more, and keep it for a while: its owner can have it sent again.
local function give_up(message, why)
  local key = message_key(message)
  local owner, lane = unpack(redis.call('HMGET', key, 'owner', 'lane'))
  local failed = 'darkroom:outbox:failed:' .. owner
  redis.call('HSET', key, 'why', why, 'failed', unix(NOW))
  redis.call('HDEL', key, 'token')
  redis.call('EXPIRE', key, RETENTION_S)
  redis.call('ZREM', 'darkroom:outbox:due:' .. lane, message)
  redis.call('ZREM', 'darkroom:outbox:sent:' .. lane, message)
  redis.call('ZREM', 'darkroom:outbox:of:' .. owner, message)
  redis.call('ZADD', failed, unix(NOW), message)
  redis.call('ZREMRANGEBYSCORE', failed, '-inf', unix(NOW - RETENTION_S))
  redis.call('EXPIRE', failed, RETENTION_S)
  for _, old in ipairs(redis.call('ZRANGE', failed, 0, -MOST_FAILED - 1)) do
    redis.call('DEL', message_key(old))
    redis.call('ZREM', failed, old)
  end
  look_again(lane)
  count('webhooks', 'failed')
end

-- Write a message about a job into the outbox, if its client wants to be told of this.
local function post(id, kind, status)
  local webhook, owner = unpack(redis.call('HMGET', key_of(id), 'dr_webhook', 'dr_owner'))
  local readable, wish = pcall(cjson.decode, webhook or '')
  if not readable or type(wish) ~= 'table' or type(wish.host) ~= 'string' then
    return -- there is none, or RQ's tools made something else of it
  end
  local wanted = false
  for _, event in ipairs(type(wish.events) == 'table' and wish.events or {}) do
    wanted = wanted or event == kind
  end
  if not wanted then
    return
  end
  local message = 'msg_' .. id:sub(5) .. '_' .. redis.call('HINCRBY', key_of(id), 'dr_messages', 1)
  local lane, all = owner .. '|' .. wish.host, 'darkroom:outbox:of:' .. owner
  redis.call('HSET', message_key(message), 'job', id, 'owner', owner, 'url', wish.url, 'lane', lane,
    'type', kind, 'status', status, 'at', unix(NOW), 'attempts', 0,
    'root', type(wish.prediction_root) == 'string' and wish.prediction_root or '')
  redis.call('ZADD', all, unix(NOW), message)
  send_in(message, lane, 0)
  if redis.call('ZCARD', all) > MOST_MESSAGES then
    give_up(redis.call('ZRANGE', all, 0, 0)[1], 'Too many messages wait to be sent.')
  end
end

-- End a job, once: the caller has made sure that it is queued or running.
-- `problem` is the JSON of a JobError, or ''.
local function settle(id, status, problem)
  local key = key_of(id)
  local engine = take_back(id)
  local queue, model, owner, was, batch, ttl_s = unpack(
    redis.call('HMGET', key, 'origin', 'dr_model', 'dr_owner', 'status', 'dr_batch', 'dr_ttl'))
  correct_charge(id, status, owner, was)
  if was == RQ_WORD.queued then
    redis.call('LREM', 'rq:queue:' .. queue, 0, id)
    unindex(id, queue, owner)
    redis.call('ZREM', 'darkroom:waiting:' .. queue, id)
    redis.call('ZREM', 'darkroom:deadlines', id)
  end
  redis.call('SREM', 'darkroom:active:' .. owner, id)
  local kept_s = status == 'canceled' and CANCELED_RETENTION_S or RETENTION_S
  kept_s = math.min(kept_s, plain(ttl_s, 10) or kept_s)
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
  if batch and is_batch(batch) and redis.call('HINCRBY', batch_key(batch), 'open', -1) <= 0 then
    redis.call('EXPIRE', batch_key(batch), kept_s + TOMBSTONE_S)
  end
  count('finished', model, status, code)
  emit(id, 'done', cjson.encode({status = status, code = code ~= '' and code or cjson.null}))
  redis.call('EXPIRE', 'darkroom:events:' .. id, math.min(3600, kept_s))
  post(id, 'job.' .. status, status)
  weigh(id)
  return engine
end

-- End a job as canceled, for an error if one is given, if it is queued or running; the engine that runs
-- it is told by its bell. Returns whether it did.
local function cancel(id, err)
  local status = redis.call('HGET', key_of(id), 'status')
  if status ~= RQ_WORD.queued and status ~= RQ_WORD.running then
    return false
  end
  local engine = settle(id, 'canceled', err or '')
  if engine then
    ring('engine:' .. engine)
  end
  return true
end

-- How many are left of the requests that a key may make in a minute, all of which may come at once and
-- come back evenly.
local function requests_left(id, per_minute)
  local left, at = unpack(redis.call('HMGET', 'darkroom:requests:' .. id, 'left', 'at'))
  local since = math.max(NOW - (tonumber(at) or 0), 0) -- the clock may be put back
  return math.min((tonumber(left) or per_minute) + since * per_minute / 60, per_minute)
end

local function leave_requests(id, left)
  redis.call('HSET', 'darkroom:requests:' .. id, 'left', unix(left), 'at', unix(NOW))
  redis.call('EXPIRE', 'darkroom:requests:' .. id, 61)
end

-- As request_rates.py reads it: whether they were taken, how many are left, and in how many seconds all
-- are there.
local function rate(is_taken, left, per_minute)
  return {is_taken and 1 or 0, unix(left), unix((per_minute - left) * 60 / per_minute)}
end

-- The jobs of a queue that run.
local function running_of(queue)
  local ids = {}
  for i, member in ipairs(redis.call('ZRANGE', 'rq:wip:' .. queue, 0, -1)) do
    ids[i] = member:match('^[^:]*')
  end
  return ids
end

-- Let a job that waits be found by its owner and work.
local function index(id, queue)
  local owner, ticket = texts(id, 'dr_owner', 'dr_ticket')
  owner = owner or ''
  local of_owner, work_s = queue .. '|' .. owner, work_of(id)
  redis.call('ZADD', 'darkroom:work:' .. queue, work_s, id)
  redis.call('ZADD', 'darkroom:owned_work:' .. of_owner, work_s, id)
  redis.call('ZADD', 'darkroom:owned:' .. of_owner, plain(ticket, 16) or 0, id)
  redis.call('ZADD', 'darkroom:owners:' .. queue, 'NX', turn_of(owner, queue), owner)
end

local function is_indexed(id, queue, owner)
  return redis.call('ZSCORE', 'darkroom:owned:' .. queue .. '|' .. owner, id)
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
  index(id, queue)
  ring('model:' .. model)
end

-- Let an idempotency key go that stands for this job or batch.
local function forget_idem(idem, id)
  if idem and redis.call('HGET', idem, 'job') == id then
    redis.call('DEL', idem)
  end
end

-- A batch ends with the last of its jobs.
local function forget_in_batch(batch)
  if is_batch(batch) and redis.call('HINCRBY', batch_key(batch), 'kept', -1) <= 0 then
    forget_idem(redis.call('HGET', batch_key(batch), 'idem'), batch)
    redis.call('DEL', batch_key(batch))
  end
end

-- Remove every trace of an ended job but its images; returns the JSON of their records, or ''.
local function forget(id)
  local queue, images, idem, batch, data = unpack(
    redis.call('HMGET', key_of(id), 'origin', 'dr_images', 'dr_idem', 'dr_batch', 'data'))
  for input in (data or ''):gmatch('file_' .. ('[0-9a-f]'):rep(64)) do
    redis.call('SADD', 'darkroom:loose_inputs', input)
  end
  for _, registry in ipairs(queue and {'finished', 'failed', 'canceled'} or {}) do
    redis.call('ZREM', 'rq:' .. registry .. ':' .. queue, id)
  end
  redis.call('ZREM', 'darkroom:jobs', id)
  redis.call('ZREM', 'darkroom:expiries', id)
  redis.call('DECRBY', 'darkroom:kept_bytes', redis.call('HGET', 'darkroom:sizes', id) or 0)
  redis.call('HDEL', 'darkroom:sizes', id)
  forget_idem(idem, id)
  if batch then
    forget_in_batch(batch)
  end
  local readable, records = pcall(cjson.decode, images or '')
  for _, record in ipairs(readable and type(records) == 'table' and records or {}) do
    if type(record) == 'table' and type(record.id) == 'string' then
      redis.call('HDEL', 'darkroom:images', record.id)
    end
  end
  redis.call('DEL', key_of(id), 'darkroom:events:' .. id)
  return images or ''
end

-- Let go of a file that an owner keeps; whether there was one.
local function drop_file(id, owner)
  local key = 'darkroom:file:' .. id
  local kept = redis.call('HGET', key, owner)
  if not kept then
    return false
  end
  redis.call('HDEL', key, owner)
  redis.call('ZREM', 'darkroom:files:' .. owner, id)
  redis.call('ZREM', 'darkroom:file_expiries', id .. '|' .. owner)
  redis.call('HINCRBY', 'darkroom:file_bytes', owner, -cjson.decode(kept).counted)
  if redis.call('EXISTS', 'darkroom:files:' .. owner) == 0 then
    redis.call('HDEL', 'darkroom:file_bytes', owner)
  end
  if redis.call('EXISTS', key) == 0 then
    redis.call('ZREM', 'darkroom:all_files', id)
    redis.call('SADD', 'darkroom:loose_inputs', id)
  end
  return true
end
