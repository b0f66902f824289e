-- Forget ended jobs whose time has passed, and those whose time would pass first while more are kept
-- than may be; at most 100. Their names stay for a while. Returns id and JSON of the images' records,
-- in turn.
even_when_full()

local function too_many()
  return redis.call('ZCARD', 'darkroom:expiries') > MAX_KEPT_JOBS
    or tonumber(redis.call('GET', 'darkroom:kept_bytes') or 0) > MAX_KEPT_MB * 2 ^ 20
end

-- Let names of forgotten jobs go, 200 at most.
local function let_go(ids)
  for _, id in ipairs(ids) do
    redis.call('ZREM', 'darkroom:gone', id)
    redis.call('HDEL', 'darkroom:gone_owners', id)
  end
end

local removed = {}
for _ = 1, 100 do
  local id, expires = unpack(redis.call('ZRANGE', 'darkroom:expiries', 0, 0, 'WITHSCORES'))
  if not id or (tonumber(expires) > NOW and not too_many()) then
    break
  end
  local owner = redis.call('HGET', key_of(id), 'dr_owner')
  if owner and owner ~= '' then
    redis.call('HSET', 'darkroom:gone_owners', id, owner)
  end
  removed[#removed + 1] = id
  removed[#removed + 1] = forget(id)
  redis.call('ZADD', 'darkroom:gone', NOW, id)
end
let_go(redis.call('ZRANGEBYSCORE', 'darkroom:gone', '-inf', NOW - TOMBSTONE_S, 'LIMIT', 0, 200))
local beyond = redis.call('ZCARD', 'darkroom:gone') - MAX_TOMBSTONES
if beyond > 0 then
  let_go(redis.call('ZRANGE', 'darkroom:gone', 0, math.min(beyond, 200) - 1))
end
return removed
