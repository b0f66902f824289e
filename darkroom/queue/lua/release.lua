-- Give a job back unharmed: the attempt does not count. A repeat of the same call changes nothing.
even_when_full()
local id, token, spent = unpack(ARGV)
local key = key_of(id)
local holder, released, status = unpack(
  redis.call('HMGET', key, 'dr_token', 'dr_released', 'status'))
if released == token then
  return 1
end
if holder ~= token or status ~= RQ_WORD.running then
  return 0
end
redis.call('HSET', key, 'dr_released', token)
redis.call('HINCRBY', key, 'dr_attempt', -1)
if spent ~= '' then
  redis.call('HSET', key, 'dr_spent', spent)
end
requeue(id)
count('released')
return 1
