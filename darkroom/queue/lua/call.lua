-- Note what became of the call that a client made for a job: 'answered', 'cut_off' by the service,
-- or 'left' by the client, who has so many seconds to come again.
even_when_full()
local id, what, come_back_s = unpack(ARGV)
local call, status = texts(id, 'dr_call', 'status')
if call and what == 'answered' then
  redis.call('HDEL', call, id)
elseif call then
  redis.call('HSET', call, id, '')
  redis.call('EXPIRE', call, 3600)
end
if what == 'left' and (status == RQ_WORD.queued or status == RQ_WORD.running) then
  redis.call('ZADD', 'darkroom:left', unix(NOW + tonumber(come_back_s)), id)
  redis.call('PUBLISH', 'darkroom:events', id .. ' left') -- who watches it reads it, and so keeps it
end
