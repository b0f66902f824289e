-- Tell an event of a job; refused to an engine that does not hold it.
local id, token, kind, data, spent = unpack(ARGV)
if redis.call('HGET', key_of(id), 'dr_token') ~= token then
  return 0
end
if kind == 'progress' then
  redis.call('HSET', key_of(id), 'dr_progress', data)
end
if spent ~= '' then
  redis.call('HSET', key_of(id), 'dr_spent', spent)
end
emit(id, kind, data)
return 1
