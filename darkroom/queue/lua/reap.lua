-- Put jobs with an expired lease, or all of one dead engine, back at the head of their queues. What
-- had not begun is as if it had never been claimed. Of what ran, all are charged with the attempt,
-- or only those that are named by their tokens; one that used up its last fails. Returns seen and
-- reaped; at most 100.
even_when_full()

-- Whether an ended lease tells of a dead engine. Where nobody asked for half a lease, Redis may have
-- been away or stopped, or its clock have jumped: living engines then get a lease to beat in. It is
-- counted in half leases in which somebody asked, so that slow keepers get their turn as well.
local function engines_had_their_time()
  local asked, left = unpack(redis.call('HMGET', 'darkroom:reaping', 'asked', 'left'))
  local gap = NOW - (tonumber(asked) or NOW)
  left = tonumber(left) or 0
  if gap < 0 or gap > LEASE_S or (gap > LEASE_S / 2 and left == 0) then
    left = LEASE_S
  else
    left = math.max(left - math.min(gap, LEASE_S / 2), 0)
  end
  redis.call('HSET', 'darkroom:reaping', 'asked', unix(NOW), 'left', unix(left))
  return left == 0
end

-- No lease ends later than one of now: the clock was put back.
local function ended_leases()
  local latest = unix(NOW + LEASE_S)
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', 'darkroom:leases', '(' .. latest, '+inf')) do
    redis.call('ZADD', 'darkroom:leases', latest, id)
  end
  return redis.call('ZRANGEBYSCORE', 'darkroom:leases', '-inf', unix(NOW), 'LIMIT', 0, 100)
end

-- Let a job whose engines die even where it runs alone rest, each time for longer.
local function let_rest(id)
  local attempt, excused = unpack(redis.call('HMGET', key_of(id), 'dr_attempt', 'dr_excused'))
  local deaths = tonumber(attempt) + tonumber(excused or 0) - ALONE_AFTER
  redis.call('HSET', key_of(id), 'dr_died', unix(NOW))
  if deaths > 0 then
    local leases = math.min(2 ^ (deaths - 1), LONGEST_REST)
    redis.call('HSET', key_of(id), 'dr_rests_until', unix(NOW + leases * LEASE_S))
  end
end

-- Whether the death of an engine says little about the suspect that it was at work on: since that
-- one's last time, an engine died over jobs that nobody suspects. So often and no more, lest many
-- jobs that kill at once keep one another.
local function is_excused(id)
  local died, excused = unpack(redis.call('HMGET', key_of(id), 'dr_died', 'dr_excused'))
  local others = redis.call('HGET', 'darkroom:reaping', 'died')
  return died and others and tonumber(others) > tonumber(died)
    and tonumber(excused or 0) < EXCUSES
end

local engine, charge = ARGV[1], ARGV[2]
local ids, at_work = nil, {}
if engine == '' then
  ids = engines_had_their_time() and ended_leases() or {}
else
  ids = redis.call('HVALS', 'darkroom:engine:' .. engine)
  redis.call('DEL', 'darkroom:engine:' .. engine)
end
for i = 3, #ARGV do
  at_work[ARGV[i]] = true
end

-- Newest first, so that the oldest ends up at the head.
local ticket, reaped, unsuspected = {}, 0, false
for _, id in ipairs(ids) do
  ticket[id] = tonumber(redis.call('HGET', key_of(id), 'dr_ticket') or 0)
end
table.sort(ids, function(a, b) return ticket[a] > ticket[b] end)

for _, id in ipairs(ids) do
  local status, attempt, token, holder = unpack(
    redis.call('HMGET', key_of(id), 'status', 'dr_attempt', 'dr_token', 'dr_engine'))
  local charged = status == RQ_WORD.running and (charge == 'all' or at_work[token] == true)
  if engine ~= '' and holder ~= engine then
    -- somebody else's by now
  elseif status == RQ_WORD.canceled and is_ours(id) then
    settle(id, 'canceled', '') -- by RQ's own tools, which leave the rest to us
  elseif status ~= RQ_WORD.running and not (status == RQ_WORD.queued and token) then
    take_back(id)
  else
    reaped = reaped + 1
    count('reaped')
    attempt = tonumber(attempt) or 0
    if not charged then
      requeue(id, false)
    elseif attempt > ALONE_AFTER and is_excused(id) then
      redis.call('HINCRBY', key_of(id), 'dr_excused', 1)
      requeue(id, false)
      let_rest(id)
    elseif attempt >= MAX_ATTEMPTS then
      settle(id, 'failed', ERROR.poison)
    else
      requeue(id, true)
      let_rest(id)
    end
    unsuspected = unsuspected or (charged and attempt <= ALONE_AFTER)
  end
end
if unsuspected then
  redis.call('HSET', 'darkroom:reaping', 'died', unix(NOW))
end
return {engine == '' and #ids or 0, reaped}
