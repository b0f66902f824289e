-- Forget ended jobs whose time has passed, and those whose time would pass first while more are kept
-- than may be; at most 100. Their names stay for a while. Returns id and JSON of the images' records,
-- in turn.
even_when_full()

local function too_many()
  return redis.call('ZCARD', 'darkroom:expiries') > MAX_KEPT_JOBS
    or tonumber(redis.call('GET', 'darkroom:kept_bytes') or 0) > MAX_KEPT_MB * 2 ^ 20
end

local removed = {}
for _ = 1, 100 do
  local id, expires = unpack(redis.call('ZRANGE', 'darkroom:expiries', 0, 0, 'WITHSCORES'))
  if not id or (tonumber(expires) > NOW and not too_many()) then
    break
  end
  removed[#removed + 1] = id
  removed[#removed + 1] = forget(id)
  redis.call('ZADD', 'darkroom:gone', NOW, id)
end
redis.call('ZREMRANGEBYSCORE', 'darkroom:gone', '-inf', NOW - TOMBSTONE_S)
redis.call('ZREMRANGEBYRANK', 'darkroom:gone', 0, -MAX_TOMBSTONES - 1)
return removed
