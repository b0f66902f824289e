-- Cancel queued jobs whose deadline has passed; returns their ids, at most 100.
-- Running ones are not listed here: their engine watches their deadline.
even_when_full()
local canceled = {}
local due = redis.call('ZRANGEBYSCORE', 'darkroom:deadlines', '-inf', unix(NOW), 'LIMIT', 0, 100)
for _, id in ipairs(due) do
  redis.call('ZREM', 'darkroom:deadlines', id)
  if is_ours(id) and redis.call('HGET', key_of(id), 'status') == RQ_WORD.queued then
    local engine = settle(id, 'canceled', ERROR.deadline)
    if engine then
      ring('engine:' .. engine)
    end
    canceled[#canceled + 1] = id
  end
end
return canceled
