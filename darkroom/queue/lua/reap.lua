-- Put jobs with an expired lease, or all of one dead engine, back at the head of their queues. The
-- attempt counts: a job that used up the last one fails. Returns seen and reaped; at most 100.
even_when_full()
local engine = ARGV[1]
local ids
if engine == '' then
  ids = redis.call('ZRANGEBYSCORE', 'darkroom:leases', '-inf', unix(NOW), 'LIMIT', 0, 100)
else
  ids = redis.call('HVALS', 'darkroom:engine:' .. engine)
  redis.call('DEL', 'darkroom:engine:' .. engine)
end

-- Newest first, so that the oldest ends up at the head.
local ticket, reaped = {}, 0
for _, id in ipairs(ids) do
  ticket[id] = tonumber(redis.call('HGET', key_of(id), 'dr_ticket') or 0)
end
table.sort(ids, function(a, b) return ticket[a] > ticket[b] end)

for _, id in ipairs(ids) do
  local status, attempt, holder = unpack(
    redis.call('HMGET', key_of(id), 'status', 'dr_attempt', 'dr_engine'))
  if engine ~= '' and holder ~= engine then
    -- somebody else's by now
  elseif status == RQ_WORD.canceled and is_ours(id) then
    settle(id, 'canceled', '') -- by RQ's own tools, which leave the rest to us
  elseif status ~= RQ_WORD.running then
    take_back(id)
  else
    reaped = reaped + 1
    count('reaped')
    if (tonumber(attempt) or 0) >= MAX_ATTEMPTS then
      settle(id, 'failed', ERROR.poison)
    else
      requeue(id)
    end
  end
end
return {engine == '' and #ids or 0, reaped}
