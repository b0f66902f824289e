-- What an owner has of what keys may have only so much of: jobs that are queued or running, of them those
-- that are queued, milliseconds of devices charged today, and in how many seconds the day (UTC) ends.
local owner = ARGV[1]
local active, queued = 0, 0
for _, id in ipairs(redis.call('SMEMBERS', 'darkroom:active:' .. owner)) do
  local status = redis.call('HGET', key_of(id), 'status')
  if status == RQ_WORD.queued then
    queued = queued + 1
  end
  if status == RQ_WORD.queued or status == RQ_WORD.running then
    active = active + 1
  end
end
return {active, queued, spent_ms(owner), (TODAY + 1) * DAY_S - NOW_S}
