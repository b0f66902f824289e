-- Every queue that has jobs: its name, of each job that waits when it was accepted and its work, and of
-- each that runs what is left of it; times and work in seconds.

local rows = {}
for _, name in ipairs(redis.call('SMEMBERS', 'darkroom:queues')) do
  local waiting, running = {}, {}
  for _, ids in ipairs({redis.call('LRANGE', 'rq:queue:' .. name, 0, -1),
    redis.call('SMEMBERS', 'darkroom:claimed:' .. name)}) do
    for _, id in ipairs(ids) do
      local since, work = texts(id, 'dr_created', 'dr_work')
      if plain(since, 20) then
        waiting[#waiting + 1] = since
        waiting[#waiting + 1] = tostring(plain(work, 20) or UNKNOWN_WORK_S)
      end
    end
  end
  for i, id in ipairs(running_of(name)) do
    running[i] = tostring(left_of(id))
  end
  if #waiting + #running > 0 then
    rows[#rows + 1] = {name, waiting, running}
  end
end
return {unix(NOW), rows}
