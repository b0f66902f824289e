-- Fail the jobs of a queue that have waited for `patience_s` while no worker serves it; the caller
-- has made sure that its model is none any more. Returns their ids, at most 100.
even_when_full()
local queue, patience_s = unpack(ARGV)
for _, worker in ipairs(redis.call('SMEMBERS', 'rq:workers:' .. queue)) do
  if redis.call('EXISTS', worker) == 1 then
    return {}
  end
end
local failed = {}
for _, id in ipairs(redis.call('LRANGE', 'rq:queue:' .. queue, 0, 99)) do
  local status, queued = unpack(redis.call('HMGET', key_of(id), 'status', 'dr_queued'))
  local waited = NOW - (tonumber(queued) or 0)
  if status == RQ_WORD.queued and is_ours(id) and waited >= tonumber(patience_s) then
    settle(id, 'failed', ERROR.abandoned)
    failed[#failed + 1] = id
  end
end
return failed
