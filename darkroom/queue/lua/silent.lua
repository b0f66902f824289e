-- Take workers that were forgotten off RQ's lists; returns how many.
local lists, gone, count = {'rq:workers'}, {}, 0
for _, queue in ipairs(redis.call('SUNION', 'darkroom:queues', 'darkroom:served')) do
  lists[#lists + 1] = 'rq:workers:' .. queue
end
for _, list in ipairs(lists) do
  for _, key in ipairs(redis.call('SMEMBERS', list)) do
    if redis.call('EXISTS', key) == 0 then
      redis.call('SREM', list, key)
      count = count + (gone[key] and 0 or 1)
      gone[key] = true
    end
  end
end
return count
