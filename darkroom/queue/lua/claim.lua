-- Lease the next job of the given queues to an engine; it stays queued until it begins. The same
-- token gets the same job again.
local engine, token, min_wait_s, prefer_loaded_s, take_from_others, loaded_count, enough_count =
  unpack(ARGV, 1, 7)
local held = redis.call('HGET', 'darkroom:engine:' .. engine, token)
if held then
  return view(held)
end

local is_loaded, has_enough, queues = {}, {}, {}
for i = 8, 7 + loaded_count do
  is_loaded[ARGV[i]] = true
end
for i = 8 + loaded_count, 7 + loaded_count + enough_count do
  has_enough[ARGV[i]] = true
end
for i = 8 + loaded_count + enough_count, #ARGV do
  if not is_paused(ARGV[i]) then
    queues[#queues + 1] = ARGV[i]
  end
end

local WINDOW = 32 -- so many of an owner's oldest and of their shortest jobs are looked at in a queue
local MOST_OWNERS = 32 -- whose jobs are looked at, until one has a job that may be taken
local HEAD = 8 -- so many of a queue's oldest jobs are looked at, whosesoever they are
local STEP = {high = 0, normal = 1, low = 2}
local CREDIT = 8 -- so often a priority, or the oldest job of a queue, can be passed over
local LOOK_AHEAD_S = 0.1 -- a claim that did not begin for so long is one that its engine only holds

local function whole(text, longest)
  return plain(text, longest) and text:match('^%d+$')
end

-- A queued job of ours, as far as choosing needs to know it. Of anything else: nil, and a queued
-- stranger fails.
local function candidate(id, queue)
  local key = key_of(id)
  if redis.call('TYPE', key).ok ~= 'hash' then
    return nil
  end
  local status, created, queued, attempt, ticket, deadline, priority, model, owner, work, claimed,
    holder, rests = unpack(redis.call('HMGET', key, 'status', 'dr_created', 'dr_queued', 'dr_attempt',
      'dr_ticket', 'dr_deadline', 'dr_priority', 'dr_model', 'dr_owner', 'dr_work', 'dr_claimed',
      'dr_engine', 'dr_rests_until'))
  local size = redis.call('HSTRLEN', key, 'data')
  if status ~= RQ_WORD.queued then
    return nil
  end
  if size > 0 and size <= LONGEST_DATA and plain(created, 20) and plain(queued, 20)
    and whole(attempt, 6) and whole(ticket, 16) and (not deadline or plain(deadline, 20))
    and STEP[priority] and model and owner then
    return {id = id, queue = queue, model = model, owner = owner, priority = priority,
      since = tonumber(created), ticket = tonumber(ticket), attempt = tonumber(attempt),
      deadline = tonumber(deadline or 'inf'),
      work_s = math.max(plain(work, 20) or UNKNOWN_WORK_S, LEAST_WORK_S),
      rests_s = (plain(rests, 20) or NOW) - NOW, claimed = tonumber(claimed or 0),
      holder = holder or nil}
  end
  redis.call('HSET', key, 'origin', queue, 'dr_model', (model or ''):sub(1, 200),
    'dr_owner', owner or '')
  redis.call('HDEL', key, 'dr_token')
  settle(id, 'failed', ERROR.malformed)
  return nil
end

-- Whether the engine takes no job of this owner out of the queue.
local function is_passed_over(owner, queue)
  return has_enough[owner] and not queue:match('%.high$')
end

-- Whether a job is not to be taken now: its owner has enough, or it is younger than `min_wait_s`, and
-- left to others, or rests. No rest is longer than the longest: clocks are put back.
local function may_wait(job)
  return is_passed_over(job.owner, job.queue) or math.abs(NOW - job.since) < tonumber(min_wait_s)
    or (job.rests_s > 0 and job.rests_s <= LONGEST_REST * LEASE_S)
end

-- Look at jobs of a queue: what waits becomes part of `found`, all else is dropped. `owner`: under whom
-- they are listed, nil: in the queue itself. Returns how many were dropped.
local function look_at(ids, queue, owner, seen, found)
  local dropped = 0
  for _, id in ipairs(ids) do
    if seen[id] == nil then
      local job = candidate(id, queue)
      seen[id] = job and not job.holder and job or false
      found[#found + 1] = seen[id] or nil
    end
    if not seen[id] then
      redis.call('LREM', 'rq:queue:' .. queue, 1, id)
      unindex(id, queue, owner or '')
      dropped = dropped + 1
    elseif not owner and not is_indexed(id, queue, seen[id].owner) then
      even_when_full() -- RQ's own tools queued it, or an earlier version did
      index(id, queue)
    end
  end
  return dropped
end

local function has_next(owner, found)
  local has = false
  for _, job in ipairs(found) do
    has = has or (job.owner == owner and not may_wait(job))
  end
  return has
end

-- The jobs of a queue that come into question: the oldest, and the oldest and shortest of each owner,
-- in the order of their turns, up to one who has a job that may be taken.
local function waiting(queue)
  local list, found, seen = 'rq:queue:' .. queue, {}, {}
  repeat
    local dropped = look_at(redis.call('LRANGE', list, 0, HEAD - 1), queue, nil, seen, found)
  until dropped == 0 or #found > 0
  for _, owner in ipairs(redis.call('ZRANGE', 'darkroom:owners:' .. queue, 0, MOST_OWNERS - 1)) do
    local of_owner, dropped = queue .. '|' .. owner, 0
    local indexes = is_passed_over(owner, queue) and {} or {'darkroom:owned:', 'darkroom:owned_work:'}
    repeat
      dropped = 0
      for _, index_of in ipairs(indexes) do
        local ids = redis.call('ZRANGE', index_of .. of_owner, 0, WINDOW - 1)
        dropped = dropped + look_at(ids, queue, owner, seen, found)
      end
    until dropped == 0 or has_next(owner, found)
    if has_next(owner, found) then break end
  end
  if #found == 0 and redis.call('SCARD', 'darkroom:claimed:' .. queue) == 0 then
    redis.call('DEL', 'darkroom:waiting:' .. queue) -- RQ's own tools may have left some behind
  end
  return found
end

-- The jobs of a queue that other engines hold and have not begun.
local function held_by_others(queue)
  local found = {}
  for _, id in ipairs(redis.call('SMEMBERS', 'darkroom:claimed:' .. queue)) do
    local job = candidate(id, queue)
    if job and job.holder ~= engine and math.abs(NOW - job.claimed) >= LOOK_AHEAD_S then
      found[#found + 1] = job
    end
  end
  return found
end

-- Whether `a` goes before `b`, two jobs that wait. By priority, where each has a credit against the
-- higher ones that it was passed over by. Then by model: whose oldest job has waited longest, as if
-- longer where the model is in memory. Within a queue its owners take turns, weighted: jobs are counted,
-- not seconds, since those are estimates; within an engine its batcher counts seconds.
-- Within an owner the shorter first, with some regard for how long they have waited (both as
-- `benchmarks/scheduling.py` found best), but the oldest once it was passed over so often.
local function goes_before(a, b)
  if a.rank ~= b.rank then
    return a.rank < b.rank
  elseif a.credit ~= b.credit then
    return a.credit > b.credit
  elseif a.queue ~= b.queue then
    return a.queued_since < b.queued_since
  elseif a.turn ~= b.turn then
    return a.turn < b.turn
  elseif a.owner_since ~= b.owner_since then
    return a.owner_since < b.owner_since
  elseif a.is_due ~= b.is_due then
    return a.is_due
  elseif a.score ~= b.score then
    return a.score < b.score
  end
  return a.ticket < b.ticket
end

local function credit(of)
  return tonumber(redis.call('HGET', 'darkroom:credits', of) or 0)
end

local function oldest_credit(job)
  return job.queue .. '|oldest|' .. job.owner
end

-- Of jobs with the same name the oldest.
local function oldest_by(name_of, jobs)
  local oldest = {}
  for _, job in ipairs(jobs) do
    local known = oldest[name_of(job)]
    if not known or job.ticket < known.ticket then
      oldest[name_of(job)] = job
    end
  end
  return oldest
end

-- Note of each job what `goes_before` goes by.
local function weigh_up(jobs)
  local oldest = oldest_by(function(job) return job.queue end, jobs)
  local owned = oldest_by(oldest_credit, jobs)
  for queue, job in pairs(oldest) do
    job.over = credit(queue)
  end
  for name, job in pairs(owned) do
    job.passed, job.next_turn = credit(name), turn_of(job.owner, job.queue)
  end
  for _, job in ipairs(jobs) do
    local first, own = oldest[job.queue], owned[oldest_credit(job)]
    local waited = math.max(NOW - job.since, 0)
    job.credit = first.over
    job.rank = math.max(STEP[job.priority] - math.floor(first.over / CREDIT), 0)
    job.queued_since = first.since - (is_loaded[job.model] and prefer_loaded_s or 0)
    job.turn, job.owner_since = own.next_turn, own.ticket
    job.is_oldest = own.id == job.id
    job.is_due = job.is_oldest and own.passed >= CREDIT - 1
    job.score = job.work_s ^ AGEING / (waited + job.work_s)
  end
end

-- The next of these jobs.
local function next_of(jobs)
  local first
  weigh_up(jobs)
  for _, job in ipairs(jobs) do
    if not may_wait(job) and (not first or goes_before(job, first)) then
      first = job
    end
  end
  return first
end

local function all_of(list)
  local found = {}
  for _, queue in ipairs(queues) do
    for _, job in ipairs(list(queue)) do
      found[#found + 1] = job
    end
  end
  return found
end

-- Queues of a lower priority that this job was taken before get a credit, and so does its owner's
-- oldest job in its own queue; whoever was taken has spent theirs.
local function settle_credits(chosen, jobs)
  local passed = {}
  for _, job in ipairs(jobs) do
    passed[job.queue] = STEP[job.priority] > STEP[chosen.priority] or nil
  end
  for queue in pairs(passed) do
    redis.call('HINCRBY', 'darkroom:credits', queue, 1)
  end
  redis.call('HDEL', 'darkroom:credits', chosen.queue)
  if chosen.is_oldest then
    redis.call('HDEL', 'darkroom:credits', oldest_credit(chosen))
  else
    redis.call('HINCRBY', 'darkroom:credits', oldest_credit(chosen), 1)
  end
end

-- How many turns an owner has where others have one: as their key says now.
local function weight_of(owner)
  local readable, key = pcall(cjson.decode, redis.call('HGET', 'darkroom:keys', owner) or '')
  local limits = readable and type(key) == 'table' and key.limits
  return math.max(tonumber(type(limits) == 'table' and limits.weight or nil) or 1, 1)
end

-- A job that waited was taken: its owner has had this turn, and who has none left behind the round
-- that it belongs to need not be remembered.
local function spend_turn(job)
  local next_turn = job.turn + 1 / weight_of(job.owner)
  redis.call('HSET', 'darkroom:credits', job.queue .. '|round', job.turn)
  redis.call('ZADD', 'darkroom:turns:' .. job.queue, next_turn, job.owner)
  redis.call('ZADD', 'darkroom:owners:' .. job.queue, 'XX', next_turn, job.owner)
  redis.call('ZREMRANGEBYSCORE', 'darkroom:turns:' .. job.queue, '-inf', job.turn)
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

local function lease(job)
  local key = key_of(job.id)
  local before = take_back(job.id)
  if before then
    ring('engine:' .. before)
  end
  if redis.call('HEXISTS', key, 'dr_ended') == 1 then
    revive(job.id, job.queue)
  end
  redis.call('HSET', key, 'origin', job.queue, 'dr_token', token, 'dr_engine', engine,
    'dr_claimed', unix(NOW), 'dr_weight', weight_of(job.owner))
  redis.call('ZADD', 'darkroom:leases', unix(NOW + LEASE_S), job.id)
  redis.call('HSET', 'darkroom:engine:' .. engine, token, job.id)
  redis.call('SADD', 'darkroom:claimed:' .. job.queue, job.id)
end

local function claim(list)
  local jobs = all_of(list)
  local job = next_of(jobs)
  while job do
    redis.call('LREM', 'rq:queue:' .. job.queue, 1, job.id)
    unindex(job.id, job.queue, job.owner)
    if job.attempt >= MAX_ATTEMPTS then
      settle(job.id, 'failed', ERROR.poison)
    elseif job.deadline <= NOW then
      settle(job.id, 'canceled', ERROR.deadline)
    else
      settle_credits(job, jobs)
      if list == waiting then spend_turn(job) end
      lease(job)
      return view(job.id)
    end
    jobs = all_of(list)
    job = next_of(jobs)
  end
  return false
end

return claim(waiting) or (take_from_others == '1' and claim(held_by_others))
