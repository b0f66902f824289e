-- Forget ended jobs whose retention has passed, at most 100, but for a small tombstone.
-- Returns id and JSON of the images' records, in turn.
even_when_full()
local removed = {}
local due = redis.call('ZRANGEBYSCORE', 'darkroom:expiries', '-inf', unix(NOW), 'LIMIT', 0, 100)
for _, id in ipairs(due) do
  removed[#removed + 1] = id
  removed[#removed + 1] = forget(id)
  redis.call('SET', 'darkroom:gone:' .. id, 'expired', 'EX', TOMBSTONE_S)
end
return removed
