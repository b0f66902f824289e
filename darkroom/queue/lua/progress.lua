-- Note how far a job is; refused to an engine that does not hold it.
local id, token, progress = unpack(ARGV)
if redis.call('HGET', key_of(id), 'dr_token') ~= token then
  return 0
end
redis.call('HSET', key_of(id), 'dr_progress', progress)
emit(id, 'progress', progress)
return 1
