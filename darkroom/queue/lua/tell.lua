-- Tell events of running jobs: of each the job, the token of its claim, kind and data, and seconds by
-- stage. Those of jobs that the engine does not hold are refused. Returns 1 or 0 for each.
local told = {}
for i = 1, #ARGV, 5 do
  local id, token, kind, data, spent = unpack(ARGV, i, i + 4)
  local holder, status = unpack(redis.call('HMGET', key_of(id), 'dr_token', 'status'))
  local runs = holder == token and status == RQ_WORD.running
  if runs then
    if kind == 'progress' then
      redis.call('HSET', key_of(id), 'dr_progress', data)
    end
    if spent ~= '' then
      redis.call('HSET', key_of(id), 'dr_spent', spent)
    end
    emit(id, kind, data)
  end
  told[#told + 1] = runs and 1 or 0
end
return told
