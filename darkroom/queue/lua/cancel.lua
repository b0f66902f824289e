-- End a queued or running job as canceled; the engine that runs it is told by its bell.
even_when_full()
local id, owner = unpack(ARGV)
local status = is_ours(id, owner) and redis.call('HGET', key_of(id), 'status')
if status == RQ_WORD.queued or status == RQ_WORD.running then
  local engine = settle(id, 'canceled', '')
  if engine then
    ring('engine:' .. engine)
  end
end
return view(id)
