-- Write down what a job's request lacked until its model was known; refused to an engine that does
-- not hold it.
even_when_full()
local id, token, data = unpack(ARGV)
if redis.call('HGET', key_of(id), 'dr_token') ~= token then
  return 0
end
redis.call('HSET', key_of(id), 'data', data)
return 1
