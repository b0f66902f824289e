-- Give a job back unharmed, begun or not: no attempt counts. A repeat of the same call changes
-- nothing.
even_when_full()
local id, token, spent = unpack(ARGV)
local key = key_of(id)
local holder, released, status = unpack(
  redis.call('HMGET', key, 'dr_token', 'dr_released', 'status'))
if released == token then
  return 1
end
if holder ~= token or (status ~= RQ_WORD.running and status ~= RQ_WORD.queued) then
  return 0
end
redis.call('HSET', key, 'dr_released', token)
if spent ~= '' then
  redis.call('HSET', key, 'dr_spent', spent)
end
requeue(id, false)
count('released')
return 1
