-- Cancel jobs whose client went away and did not come again; returns their ids, at most 100.
even_when_full()
local canceled = {}
local due = redis.call('ZRANGEBYSCORE', 'darkroom:left', '-inf', unix(NOW), 'LIMIT', 0, 100)
for _, id in ipairs(due) do
  redis.call('ZREM', 'darkroom:left', id)
  local call, idem = texts(id, 'dr_call', 'dr_idem')
  if is_ours(id) and cancel(id, ERROR.left) then
    if call then
      redis.call('HDEL', call, id)
    end
    if idem and redis.call('HGET', idem, 'job') == id then -- who comes later gets another job
      redis.call('DEL', idem)
    end
    canceled[#canceled + 1] = id
  end
end
return canceled
