-- Extend an engine's leases. Returns what it has lost, what was canceled, and which jobs it forgot:
-- those it holds here but did not name, twice, and neither claimed nor beat for half a lease. Twice,
-- because over a slow link a beat can be old when it comes, and know nothing of a newer claim.
even_when_full()
local engine = ARGV[1]
local lost, canceled, forgotten, named = {}, {}, {}, {}
for i = 2, #ARGV, 2 do
  local id, token = ARGV[i], ARGV[i + 1]
  local key = key_of(id)
  local holder, status, done = unpack(redis.call('HMGET', key, 'dr_token', 'status', 'dr_done'))
  named[token] = true
  if holder == token and (status == RQ_WORD.running or status == RQ_WORD.queued) then
    redis.call('ZADD', 'darkroom:leases', unix(NOW + LEASE_S), id)
    if status == RQ_WORD.running then
      redis.call('HSET', key, 'last_heartbeat', iso())
      redis.call('HSET', 'rq:execution:' .. id .. ':' .. token, 'last_heartbeat', unix(NOW))
    end
  elseif status == RQ_WORD.canceled then
    if holder == token then
      settle(id, 'canceled', '') -- by RQ's own tools, which leave the rest to us
    end
    canceled[#canceled + 1] = token
  elseif done ~= token then -- one whose `finish` lost its reply is neither
    lost[#lost + 1] = token
  end
end

local held = redis.call('HGETALL', 'darkroom:engine:' .. engine)
for i = 1, #held, 2 do
  local token, id = held[i], held[i + 1]
  local ends = redis.call('ZSCORE', 'darkroom:leases', id)
  if named[token] or tonumber(ends or 0) >= NOW + LEASE_S / 2 then
    -- in hand, or fresh
  elseif redis.call('HGET', key_of(id), 'dr_unnamed') ~= token then
    redis.call('HSET', key_of(id), 'dr_unnamed', token)
  else
    redis.call('HDEL', 'darkroom:engine:' .. engine, token)
    if redis.call('HGET', key_of(id), 'dr_token') == token then
      requeue(id, false)
      forgotten[#forgotten + 1] = id
    end
  end
end
return {lost, canceled, forgotten}
