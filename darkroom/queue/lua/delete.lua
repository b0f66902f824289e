-- Remove a job, canceling it if need be. Returns the JSON of its images' records; nil: no such job.
local id, owner = unpack(ARGV)
if not is_ours(id, owner) then
  return false
end
even_when_full()
local status = redis.call('HGET', key_of(id), 'status')
if status == RQ_WORD.queued or status == RQ_WORD.running then
  local engine = settle(id, 'canceled', '')
  if engine then
    ring('engine:' .. engine)
  end
end
return forget(id)
